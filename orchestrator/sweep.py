"""Sweeps: Ray Tune and Optuna over collapse scans, every stage an artifact of the store.

The store is the truth and Tune's own state is disposable: a sweep given again runs the same trials, whose finished
stages are found at once.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import optuna
import pandas as pd
import torch
from ray import tune
from ray.tune.search import ConcurrencyLimiter, SearchAlgorithm, Searcher
from ray.tune.search.optuna import OptunaSearch

from nets.collapse import Bracket, beta_ladder, bracket, scan
from nets.metrics import ensemble
from nets.training import DivergedError
from orchestrator import anneal, datasets, models, report, train
from orchestrator.cluster import connect, groups
from orchestrator.config import Range, SweepConfig, TrainConfig
from orchestrator.console import progress, say
from orchestrator.errors import RequestError
from orchestrator.store import Store, digest, versions

RANGES = {
    "uniform": optuna.distributions.FloatDistribution,
    "log_uniform": lambda low, high: optuna.distributions.FloatDistribution(low, high, log=True),
    "integer": optuna.distributions.IntDistribution,
}

SAMPLERS = {
    "tpe": optuna.samplers.TPESampler,
    "qmc": partial(optuna.samplers.QMCSampler, warn_independent_sampling=False),
    "random": optuna.samplers.RandomSampler,
}


@dataclass(frozen=True)
class Trial:
    """A point of the space, a seed, and the chain of stages made there."""

    point: dict[str, Any]
    seed: int
    stages: list[str]


def sweep_name(config: SweepConfig) -> str:
    return f"{config.name}-{digest(config.model_dump(mode='json', exclude={'name', 'resources'}))}"


def stage_count(config: SweepConfig) -> int:
    """Stages of a trial at most."""
    ladder = beta_ladder(config.scan.beta, config.scan.beta_start)
    return len(ladder) + sum(gamma > 0 for gamma in config.scan.gammas) + config.scan.refine


def follow(config: SweepConfig, seed: int, visit: Callable[[TrainConfig], dict[str, Any] | None]) -> list[str]:
    """Names of the stages of a collapse scan in the order made, up to the first that ``visit`` has no card for.

    Args:
        visit: a stage's training to its card: one that trains what is missing, or one that only looks.
    """
    chain = scan(config.scan.beta, config.scan.beta_start, config.scan.gammas, config.scan.refine)
    names: list[str] = []
    stage = next(chain)
    while True:
        training = config.stage(seed, stage, None if stage.parent is None else names[stage.parent])
        card = visit(training)
        if card is None:
            return names
        names.append(training.name)
        try:
            stage = chain.send(models.collapsed(card))
        except StopIteration:
            return names


def plan(config: SweepConfig, store: Store) -> list[str]:
    """What a sweep finds and what it would make, line by line."""
    done, wanted = anneal.missing(config.dataset, store)
    rows = sum(entry["rows"] for entry in done)
    dataset = config.dataset
    updates = sum(map(len, wanted)) * anneal.spin_updates(dataset)
    lines = [
        f"data set {dataset.name}: {rows} of {dataset.configurations} configurations found, "
        f"{sum(map(len, wanted))} to anneal ({updates:.2g} spin updates, about {3e-9 * updates:.0f} s of CPU)"
    ]
    points = config.points()
    if points is None:
        lines.append(
            f"{config.trials} points drawn by {config.sampler} from {', '.join(config.space)}, seeds "
            f"{list(config.seeds)}: {config.trials} trials of about {stage_count(config)} stages"
        )
    else:
        steps = 0
        for point in points:
            for seed in config.seeds:
                at = config.at(point)
                found = len(follow(at, seed, lambda training: store.card("models", training.name)))
                total = stage_count(at)
                left = total - found
                steps += at.training.steps * left + (found == 0) * (at.training.warmup_steps - at.training.steps)
                label = ", ".join(f"{key} = {value}" for key, value in point.items())
                lines.append(f"trial {label or 'as given'}, seed {seed}: {found} of at most {total} stages found")
        lines.append(f"to train: at most {steps} steps of batch {config.training.batch}")
    return [
        *lines,
        f"resources of a trial: {config.resources}",
        f"result: sweeps/{sweep_name(config)}",
    ]


def run(config: SweepConfig, store: Store, actors: int | None = None) -> tuple[str, dict[str, Any]]:
    """Name and card of a sweep, made if it is not in the store."""
    name = sweep_name(config)
    if (card := store.card("sweeps", name)) is not None:
        say(f"found sweeps/{name}")
        return name, card
    least, _ = config.resources.workers
    connect(least * config.resources.cpus, least * config.resources.gpus)
    anneal.make(config.dataset, store, actors)
    trials = [trial for trial in _tune(config, store) if trial.stages]
    if not trials:
        raise RequestError(f"{name}: every trial diverged in its first stage")
    return name, _commit(config, store, name, trials)


def _chain(
    config: SweepConfig, seed: int, store: Store, device: torch.device, tell: Callable[[dict[str, Any]], None]
) -> None:
    """All stages of a trial, to the last or to one that diverges; ``tell`` hears of each as it ends."""
    names: list[str] = []

    def visit(training: TrainConfig) -> dict[str, Any]:
        name, card = models.make(training, store, device)
        names.append(name)
        gap = critical([store_card(store, stage) for stage in names])
        figures = {key: card["figures"][key] for key in ("energy_mean", "kspace_mse")}
        tell({"stage": name, "stages": list(names), "gamma_c": gap.critical if gap else 1e30, **figures})
        return card

    try:
        follow(config, seed, visit)
    except DivergedError as error:
        tell({"stage": str(error), "stages": names, "gamma_c": 1e30, "diverged": str(error)})


def _search(config: SweepConfig) -> tuple[int, Searcher | SearchAlgorithm]:
    """How many trials, and what proposes them."""
    points = config.points()
    if points is None:
        assert config.trials is not None
        space = {key: _distribution(values) for key, values in config.space.items()}
        space["seed"] = optuna.distributions.CategoricalDistribution(config.seeds)
        sampler = SAMPLERS[config.sampler](seed=config.dataset.seed)
        search = OptunaSearch(space, metric="gamma_c", mode="min", sampler=sampler)
        # A batch is told together, so what is proposed does not depend on which trial ends first.
        side_by_side = min(config.batch, config.trials)
        return config.trials, ConcurrencyLimiter(search, max_concurrent=side_by_side, batch=True)
    grid = [{**point, "seed": seed} for point in points for seed in config.seeds]
    space = {
        key: optuna.distributions.CategoricalDistribution(list(dict.fromkeys(point[key] for point in grid)))
        for key in grid[0]
    }
    return len(grid), OptunaSearch(space, metric="gamma_c", mode="min", points_to_evaluate=grid)


def _tune(config: SweepConfig, store: Store) -> list[Trial]:
    resources = config.resources
    nested = resources.workers[1] > 1

    def trainable(parameters: dict[str, Any]) -> None:
        point = {key: value for key, value in parameters.items() if key != "seed"}
        work = partial(_chain, config.at(point), int(parameters["seed"]), store)
        if nested:
            os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "1e6"  # trials wait for each other's devices
            for stage in train.together(work, resources):
                tune.report(stage)
        else:
            torch.set_num_threads(max(1, int(resources.cpus)))
            work(torch.device("cuda" if resources.gpus else "cpu"), tune.report)

    total, search = _search(config)
    # A nested trainer's workers hold the devices; the trial that waits for them holds none, but Tune wants something.
    held = {"cpu": 0, "memory": 1} if nested else {"cpu": resources.cpus, "gpu": resources.gpus}
    side_by_side = groups(resources) if nested and config.points() is not None else None
    say(f"sweep {sweep_name(config)}: {total} trials of up to {stage_count(config)} stages")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its banner ignores verbose=0
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with progress() as bar, tempfile.TemporaryDirectory(prefix="orch-tune-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(trainable, held),
            tune_config=tune.TuneConfig(search_alg=search, num_samples=total, max_concurrent_trials=side_by_side),
            run_config=tune.RunConfig(
                storage_path=scratch,
                verbose=0,
                callbacks=[_Watcher(bar, total)],
                failure_config=tune.FailureConfig(max_failures=3),
            ),
        )
        results = tuner.fit()
    finished: dict[str, Trial] = {}
    for result in results:
        if result.error is not None:
            raise RuntimeError(f"trial {result.config} failed: {result.error}")
        parameters, stages = dict(result.config), result.metrics["stages"]
        if "diverged" in result.metrics:
            say(f"trial {parameters}: {result.metrics['diverged']}; it ends after {len(stages)} stages")
        key = repr(sorted(parameters.items()))
        seed = int(parameters.pop("seed"))
        finished[key] = Trial(parameters, seed, stages)
    order = lambda trial: ([str(trial.point[key]) for key in sorted(trial.point)], trial.seed)  # noqa: E731
    return sorted(finished.values(), key=order)


def _distribution(values: Range) -> optuna.distributions.BaseDistribution:
    if values.values is not None:
        return optuna.distributions.CategoricalDistribution(values.values)
    kind = next(name for name in RANGES if getattr(values, name) is not None)
    return RANGES[kind](*getattr(values, kind))


class _Watcher(tune.Callback):
    """Moves the bar as stages are reported."""

    def __init__(self, bar: Any, trials: int):
        self.bar, self.stages = bar, 0
        self.task = bar.add_task("trials", total=trials, note="")

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks for a restore that is never made; a bar does not pickle

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        self.stages += 1
        note = f"stage {self.stages}: {result.get('stage', '')}, energy {result.get('energy_mean', 0):.4f}"
        self.bar.update(self.task, note=note)

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.bar.update(self.task, advance=1)


def store_card(store: Store, name: str) -> dict[str, Any]:
    card = store.card("models", name)
    if card is None:
        raise RequestError(f"{store.root}: model {name} is gone")
    return card


def critical(cards: list[dict[str, Any]]) -> Bracket | None:
    """The bracket of gamma_c of a chain, from the stages at its final beta."""
    final = [card for card in cards if weights(card)["beta"] == weights(cards[-1])["beta"]]
    return bracket([weights(card)["gamma"] for card in final], [models.collapsed(card) for card in final])


def weights(card: dict[str, Any]) -> dict[str, float]:
    """beta and gamma of a stage."""
    return {key: card["config"]["model"][key] for key in ("beta", "gamma")}


def table(config: SweepConfig, store: Store, trials: list[Trial]) -> pd.DataFrame:
    """A row a stage: the trial's point and seed, beta, gamma, figures, and whether it had collapsed."""
    rows = []
    for number, trial in enumerate(trials):
        for order, stage in enumerate(trial.stages):
            card = store_card(store, stage)
            rows.append(
                {
                    "trial": number,
                    **trial.point,
                    "seed": trial.seed,
                    "order": order,
                    **weights(card),
                    **{f"train_{key}": value for key, value in card["history"][-1].items() if key != "step"},
                    **card["figures"],
                    "collapsed": models.collapsed(card),
                    "model": stage,
                }
            )
    return pd.DataFrame(rows)


def thresholds(frame: pd.DataFrame) -> pd.DataFrame:
    """A row a trial: gamma_c with its bracket, the fall of the k-space MSE within a decade, the collapsed energy."""
    rows = []
    for number, chain in frame.groupby("trial"):
        beta = chain.sort_values("order")["beta"].iloc[-1]
        final = chain[chain["beta"] == beta].sort_values("gamma")
        gap = bracket(final["gamma"].tolist(), final["collapsed"].tolist())
        fallen = final[final["collapsed"] & (final["gamma"] >= (gap.upper if gap else np.inf))]
        rows.append(
            {
                "trial": number,
                "beta": beta,
                "seed": chain["seed"].iloc[0],
                "gamma_c": gap.critical if gap else np.nan,
                "gamma_lower": gap.lower if gap else np.nan,
                "gamma_upper": gap.upper if gap else np.nan,
                "mse_fall_in_a_decade": _fall(final["gamma"].to_numpy(), final["kspace_mse"].to_numpy()),
                "collapsed_energy": fallen["energy_mean"].min() if len(fallen) else np.nan,
            }
        )
    return pd.DataFrame(rows)


def _fall(gammas: np.ndarray, mse: np.ndarray) -> float:
    """Largest ratio by which the k-space MSE falls between two gammas at most a decade apart."""
    ratios = [
        mse[i] / max(mse[j], 1e-12)
        for i in range(len(gammas))
        for j in range(i + 1, len(gammas))
        if gammas[i] > 0 and gammas[j] <= 10.0001 * gammas[i]
    ]
    return float(max(ratios, default=1.0))


def _commit(config: SweepConfig, store: Store, name: str, trials: list[Trial]) -> dict[str, Any]:
    frame = table(config, store, trials)
    summary = thresholds(frame)
    spins = datasets.read(config.dataset.name, store)[:1000].tensor()
    data = ensemble(spins, config.dataset.hamiltonian)
    parquet = io.BytesIO()
    frame.to_parquet(parquet, index=False)
    pictures = {stage: models.generated(stage, store) for trial in trials for stage in trial.stages}
    files = report.sweep(name, config, frame, summary, data, pictures, spins.numpy())
    return store.commit(
        "sweeps",
        name,
        {
            "kind": "sweep",
            "config": config.model_dump(mode="json"),
            "parents": [f"datasets/{config.dataset.name}", *(f"models/{m}" for m in frame["model"])],
            "figures": {"data": data, "thresholds": summary.replace({np.nan: None}).to_dict("records")},
            "versions": versions(),
        },
        {"stages.parquet": parquet.getvalue(), **files},
    )
