"""Sweeps: Ray Tune and Optuna over trial programs, every training an artifact of the store.

The store is the truth and Tune's own state is disposable: a sweep given again runs the same trials, whose finished
trainings are found at once.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import optuna
import pandas as pd
import torch
from ray import tune
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from nets.metrics import ensemble
from nets.training import DivergedError
from orchestrator.cluster import RETRIES, connect, cpus, gpus
from orchestrator.console import log, on_interrupt, progress
from orchestrator.data import shards
from orchestrator.data.run import make as make_data
from orchestrator.data.run import make_here
from orchestrator.data.run import plan as plan_data
from orchestrator.errors import FailedError
from orchestrator.store import Store, versions
from orchestrator.sweeps.page import sweep_page
from orchestrator.sweeps.program import Finished
from orchestrator.sweeps.request import Range, SweepConfig, Trial
from orchestrator.training import loop
from orchestrator.training.request import Resources, TrainConfig
from orchestrator.training.run import run_distributed
from orchestrator.training.trained import generated, model_card

DATA_COMPARED = 1000  # configurations of each data set that the stages are held against

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


def follow(trial: Trial, visit: Callable[[TrainConfig], dict[str, Any] | None]) -> list[str]:
    """Names of the trainings of a trial in the order made, up to the first that ``visit`` has no card for.

    Args:
        visit: a training to its card: one that trains what is missing, or one that only looks.
    """
    program = trial.program.trainings(trial.training)
    names: list[str] = []
    try:
        training = next(program)
        while (card := visit(training)) is not None:
            names.append(training.name)
            training = program.send(card)
    except StopIteration:
        pass
    return names


def plan(config: SweepConfig, store: Store) -> list[str]:
    """What a sweep finds and what it would make, line by line."""
    grid = list(config.grid())
    datasets = {trial.training.dataset.name: trial.training.dataset for trial in grid}
    lines = [line for dataset in datasets.values() for line in plan_data(dataset, store)]
    steps = 0
    for trial in grid:
        found = len(follow(trial, lambda training: store.card("models", training.name)))
        total = trial.program.length(trial.training)
        most = trial.program.max_steps(trial.training)
        steps += most - most // total * found
        lines.append(f"trial {_label(trial)}: {found} of at most {total} trainings found")
    if grid:
        lines.append(f"to train: at most {steps} steps of batch {config.batch}")
    else:
        lines.append(
            f"{config.trials} points drawn by {config.search} from {', '.join(config.space)}, {config.seeds} seeds: "
            f"trials of at most {config.trial.length(config)} trainings; missing data are made in the trial"
        )
    metric, mode = config.objective
    return [
        *lines,
        f"metric: {metric}, to be {'small' if mode == 'min' else 'large'}",
        f"resources of a trial: {config.resources}",
        f"result: sweeps/{config.name}",
    ]


def _label(trial: Trial) -> str:
    return ", ".join(f"{key} = {value}" for key, value in trial.point.items())


def run(config: SweepConfig, store: Store, actors: int | None = None) -> tuple[str, dict[str, Any]]:
    """Name and card of a sweep, made if it is not in the store.

    Raises:
        FailedError: a trial failed; what the others made is kept, and the same command goes on from there.
    """
    name = config.name
    if (card := store.card("sweeps", name)) is not None:
        log(f"found sweeps/{name}")
        return name, card
    least, _ = config.resources.workers
    connect(least * config.resources.cpus, least * config.resources.gpus)
    for dataset in {trial.training.dataset.name: trial.training.dataset for trial in config.grid()}.values():
        make_data(dataset, store, actors)
    with on_interrupt(lambda: f"every training that the sweep {name} has finished, and the checkpoints of the others"):
        trials = [(trial, stages) for trial, stages in _tune(config, store) if stages]
    if not trials:
        raise FailedError(f"{name}: every trial diverged in its first training")
    return name, _commit(config, store, trials)


def _stages(trial: Trial, names: list[str], store: Store) -> pd.DataFrame:
    """A row for each training of a trial."""
    rows = []
    for order, name in enumerate(names):
        card = model_card(name, store)
        losses = {f"train_{key}": value for key, value in card["history"][-1].items() if key != "step"}
        columns = trial.program.columns(card)
        rows.append({**trial.point, "order": order, **columns, **losses, **card["figures"], "model": name})
    return pd.DataFrame(rows)


def _work(
    trial: Trial,
    metric: str,
    worst: float,
    store: Store,
    device: torch.device,
    report: Callable[[dict[str, Any]], None],
) -> None:
    """All trainings of a trial, to the last or to one that diverges; each is reported as it ends."""
    make_here(trial.training.dataset, store)
    names: list[str] = []

    def visit(training: TrainConfig) -> dict[str, Any]:
        name, card = loop.make(training, store, device)
        names.append(name)
        value = trial.program.report(_stages(trial, names, store)).get(metric, np.nan)
        value = float(value) if np.isfinite(value) else worst
        report({"stage": name, "stages": list(names), "value": value, "energy": card["figures"]["energy_mean"]})
        return card

    try:
        follow(trial, visit)
    except DivergedError as error:
        report({"stage": str(error), "stages": names, "value": worst, "diverged": str(error)})


def _search(config: SweepConfig) -> tuple[int, dict[str, Any], Any]:
    """How many trials, the space that Tune takes them from, and what proposes points of a continuous one."""
    grid = list(config.grid())
    if grid:
        return len(grid), {"number": tune.grid_search(list(range(len(grid))))}, None
    assert config.trials is not None
    space = {key: _distribution(values) for key, values in config.space.items()}
    space["number"] = optuna.distributions.CategoricalDistribution(list(range(config.seeds)))
    search = OptunaSearch(
        space, metric="value", mode=config.objective[1], sampler=SAMPLERS[config.search](seed=config.seed)
    )
    # A batch is told together, so what is proposed does not depend on which trial ends first.
    limited = ConcurrencyLimiter(search, max_concurrent=min(config.proposed, config.trials), batch=True)
    return config.trials, {}, limited


def _trial(config: SweepConfig, parameters: dict[str, Any]) -> Trial:
    point = dict(parameters)
    number = int(point.pop("number"))
    return config.at(point, number) if point else list(config.grid())[number]


def _distribution(values: Range) -> optuna.distributions.BaseDistribution:
    if values.values is not None:
        return optuna.distributions.CategoricalDistribution(values.values)
    kind = next(name for name in RANGES if getattr(values, name) is not None)
    return RANGES[kind](*getattr(values, kind))


def concurrent_trials(resources: Resources) -> int:
    """How many trials with workers of their own fit on the whole cluster side by side, at least one."""
    _, most = resources.workers
    room = cpus() // (most * resources.cpus)
    return max(1, int(min(room, gpus() // (most * resources.gpus)) if resources.gpus else room))


def _trainable(config: SweepConfig, store: Store) -> Callable[[dict[str, Any]], None]:
    resources = config.resources
    metric, mode = config.objective
    worst = 1e30 if mode == "min" else -1e30

    def trainable(parameters: dict[str, Any]) -> None:
        work = partial(_work, _trial(config, parameters), metric, worst, store)
        if resources.workers[1] > 1:
            os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "1e6"  # trials wait for each other's devices
            for stage in run_distributed(work, resources):
                tune.report(stage)
        else:
            torch.set_num_threads(max(1, int(resources.cpus)))
            work(torch.device("cuda" if resources.gpus else "cpu"), tune.report)

    return trainable


def _tune(config: SweepConfig, store: Store) -> list[tuple[Trial, list[str]]]:
    """Every trial with its trainings, in an order that does not depend on which ended first."""
    resources = config.resources
    nested = resources.workers[1] > 1
    total, space, search = _search(config)
    # A nested trainer's workers hold the devices; the trial that waits for them holds none, but Tune wants something.
    held = {"cpu": 0, "memory": 1} if nested else {"cpu": resources.cpus, "gpu": resources.gpus}
    side_by_side = concurrent_trials(resources) if nested and search is None else None
    log(f"sweep {config.name}: {total} trials of at most {config.trial.length(config)} trainings")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # it would end with half of the trials as if with all
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its banner ignores verbose=0
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with progress() as bar, tempfile.TemporaryDirectory(prefix="orch-tune-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(_trainable(config, store), held),
            param_space=space,
            tune_config=tune.TuneConfig(
                search_alg=search, num_samples=total if search else 1, max_concurrent_trials=side_by_side
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                verbose=0,
                callbacks=[_Watcher(bar, total)],
                failure_config=tune.FailureConfig(max_failures=RETRIES),
            ),
        )
        return _finished(config, list(tuner.fit()))


def _finished(config: SweepConfig, results: list[Any]) -> list[tuple[Trial, list[str]]]:
    trials: dict[str, tuple[Trial, list[str]]] = {}
    failed = []
    for result in results:
        trial = _trial(config, result.config)
        if result.error is not None:
            failed.append(f"trial {_label(trial)}: {str(result.error).strip().splitlines()[-1]}")
            continue
        if "diverged" in result.metrics:
            log(f"trial {_label(trial)}: {result.metrics['diverged']}; it ends after {len(result.metrics['stages'])}")
        key = str([str(trial.point[part]) for part in sorted(trial.point)])
        trials[key] = trial, result.metrics["stages"]
    if failed:
        raise FailedError("\n".join([*failed, f"{config.name}: the same command goes on from what is finished"]))
    return [trials[key] for key in sorted(trials)]


class _Watcher(tune.Callback):
    """Moves the bar as trainings are reported."""

    def __init__(self, bar: Any, trials: int):
        self.bar, self.stages = bar, 0
        self.task = bar.add_task("trials", total=trials, note="")

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks for a restore that is never made; a bar does not pickle

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        self.stages += 1
        note = f"training {self.stages}: {result.get('stage', '')}, energy {result.get('energy', 0):.4f}"
        self.bar.update(self.task, note=note)

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.bar.update(self.task, advance=1)


def _commit(config: SweepConfig, store: Store, trials: list[tuple[Trial, list[str]]]) -> dict[str, Any]:
    tables, summary = [], []
    for number, (trial, names) in enumerate(trials):
        stages = _stages(trial, names, store)
        tables.append(pd.concat({number: stages}, names=["trial"]).reset_index(level=0))
        summary.append({"trial": number, **trial.point, **trial.program.report(stages)})
    frame = pd.concat(tables, ignore_index=True)
    datasets = {trial.training.dataset.name: trial.training.dataset for trial, _ in trials}
    data = {
        name: ensemble(shards.read(name, store)[:DATA_COMPARED].tensor(), dataset.hamiltonian)
        for name, dataset in datasets.items()
    }
    pictures = {model: generated(model, store) for model in frame["model"]}
    finished = Finished(frame, pd.DataFrame(summary), data, pictures, config.dataset.hamiltonian)
    parquet = io.BytesIO()
    frame.to_parquet(parquet, index=False)
    metric, mode = config.objective
    ordered = finished.summary.sort_values(metric, ascending=mode == "min", na_position="last")
    card = {
        "kind": "sweep",
        "config": config.model_dump(mode="json"),
        "parents": [*(f"datasets/{name}" for name in data), *(f"models/{model}" for model in frame["model"])],
        "figures": {
            "metric": metric,
            "mode": mode,
            "best": ordered.replace({np.nan: None}).to_dict("records")[0],
            "data": data,
            "summary": finished.summary.replace({np.nan: None}).to_dict("records"),
        },
        "versions": versions(),
    }
    files = {"stages.parquet": parquet.getvalue(), **sweep_page(config, finished)}
    return store.commit("sweeps", config.name, card, files)
