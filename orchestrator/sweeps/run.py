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
from orchestrator.cluster import RETRIES, connect
from orchestrator.console import log, on_interrupt, progress
from orchestrator.data import shards, spectrum
from orchestrator.data.request import DatasetConfig
from orchestrator.data.run import make as make_data
from orchestrator.data.run import make_here
from orchestrator.data.run import plan as plan_data
from orchestrator.errors import FailedError
from orchestrator.lease import Lease, made
from orchestrator.page import drawn, origin
from orchestrator.store import Store
from orchestrator.sweeps.collapsed_state import compare
from orchestrator.sweeps.page import sweep_page
from orchestrator.sweeps.program import Card, Finished
from orchestrator.sweeps.request import Range, SweepConfig, Trial
from orchestrator.training import loop
from orchestrator.training.request import TrainConfig
from orchestrator.training.run import outcome, run_distributed
from orchestrator.training.trained import generated, model_card

TRIAL_BYTES = 600 * 2**20  # of a trial that waits for its workers, with Ray Train's controller
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


def follow(
    trial: Trial, visit: Callable[[TrainConfig], Card | None]
) -> tuple[list[tuple[str, Card]], TrainConfig | None]:
    """Names and cards of the trainings of a trial in the order made, and the first that ``visit`` has no card for.

    Args:
        visit: a training to its card: one that trains what is missing, or one that only looks.
    """
    program = trial.program.trainings(trial.training)
    made: list[tuple[str, Card]] = []
    try:
        training = next(program)
        while (card := visit(training)) is not None:
            made.append((training.name, card))
            training = program.send(card)
    except StopIteration:
        return made, None
    return made, training


def plan(config: SweepConfig, store: Store) -> list[str]:
    """What a sweep finds and what it would make, line by line."""
    grid = list(config.grid())
    datasets = {trial.training.dataset.name: trial.training.dataset for trial in grid}
    lines = [line for dataset in datasets.values() for line in plan_data(dataset, store)]
    steps = 0
    for trial in grid:
        found = len(follow(trial, lambda training: store.card("models", training.name))[0])
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
    datasets = {trial.training.dataset.name: trial.training.dataset for trial in config.grid()}
    parents = sorted(f"datasets/{name}" for name in datasets)
    make = partial(_run, config, list(datasets.values()), store, actors)
    return made(store, "sweeps", config.name, make, parents)


def _run(config: SweepConfig, datasets: list[DatasetConfig], store: Store, actors: int | None, held: Lease) -> None:
    name = config.name
    least, _ = config.resources.workers
    connect(least * config.resources.cpus, least * config.resources.gpus)
    for dataset in datasets:
        make_data(dataset, store, actors)
    with on_interrupt(lambda: f"every training that the sweep {name} has finished, and the checkpoints of the others"):
        trials = [(trial, stages) for trial, stages in _tune(config, store, held) if stages]
    if not trials:
        raise FailedError(f"{name}: every trial diverged in its first training")
    _commit(config, store, trials)


def _stages(trial: Trial, made: list[tuple[str, Card]]) -> pd.DataFrame:
    """A row for each training of a trial."""
    rows = []
    for order, (name, card) in enumerate(made):
        losses = {f"train_{key}": value for key, value in card["history"][-1].items() if key != "step"}
        columns = trial.program.columns(card)
        rows.append({**trial.point, "order": order, **columns, **losses, **card["figures"], "model": name})
    return pd.DataFrame(rows)


class _Reporter:
    """Tells Tune of the trainings of a trial, as they end."""

    def __init__(self, trial: Trial, config: SweepConfig):
        self.trial, (self.metric, mode) = trial, config.objective
        self.worst = 1e30 if mode == "min" else -1e30
        self.made: list[tuple[str, Card]] = []

    def __call__(self, name: str, card: Card) -> None:
        self.made.append((name, card))
        value = float(self.trial.program.report(_stages(self.trial, self.made)).get(self.metric, np.nan))
        self._report(name, value if np.isfinite(value) else self.worst, energy=card["figures"]["energy_mean"])

    def diverged(self, cause: str) -> None:
        self._report(cause, self.worst, diverged=cause)

    def _report(self, stage: str, value: float, **more: Any) -> None:
        tune.report({"stage": stage, "stages": [name for name, _ in self.made], "value": value, **more})


def _in_this_process(trial: Trial, config: SweepConfig, store: Store) -> None:
    """All trainings of a trial, to the last or to one that diverges."""
    torch.set_num_threads(max(1, int(config.resources.cpus)))
    device = "cuda" if config.resources.gpus else "cpu"
    report = _Reporter(trial, config)

    def visit(training: TrainConfig) -> Card:
        name, card = loop.make(training, store, device)
        report(name, card)
        return card

    make_here(trial.training.dataset, store)
    try:
        follow(trial, visit)
    except DivergedError as error:
        report.diverged(str(error))


def _in_workers(trial: Trial, config: SweepConfig, store: Store) -> None:
    """The same by a group of workers, which is followed in the store."""
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "1e6"  # trials wait for each other's devices
    report = _Reporter(trial, config)
    cards: dict[str, Card] = {}

    def found(training: TrainConfig) -> Card | None:
        if training.name not in cards and (card := store.card("models", training.name)) is not None:
            cards[training.name] = card
        return cards.get(training.name)

    def work(device: torch.device) -> None:
        make_here(trial.training.dataset, store)
        follow(trial, lambda training: loop.make(training, store, device)[1])

    next_training: TrainConfig | None = trial.training
    for trained, next_training in run_distributed(work, config.resources, lambda: follow(trial, found)):  # noqa: B007
        for name, card in trained[len(report.made) :]:
            report(name, card)
    if next_training is not None:
        failure = outcome(next_training, store)
        if not isinstance(failure.__cause__, DivergedError):
            raise failure
        report.diverged(str(failure))


def _search(config: SweepConfig) -> tuple[int, dict[str, Any], Any]:
    """How many trials, the space that Tune takes them from, and what proposes points of a continuous one."""
    if (points := config.points()) is not None:
        number = config.seeds * len(points)
        return number, {"number": tune.grid_search(list(range(number)))}, None
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
    if (points := config.points()) is not None:
        return config.at(points[number // config.seeds], number % config.seeds)
    return config.at(point, number)


def _distribution(values: Range) -> optuna.distributions.BaseDistribution:
    if values.values is not None:
        return optuna.distributions.CategoricalDistribution(values.values)
    kind = next(name for name in RANGES if getattr(values, name) is not None)
    return RANGES[kind](*getattr(values, kind))


def _tune(config: SweepConfig, store: Store, held: Lease) -> list[tuple[Trial, list[str]]]:
    """Every trial with its trainings, in an order that does not depend on which ended first."""
    resources = config.resources
    nested = resources.workers[1] > 1
    total, space, search = _search(config)
    # The workers of a group hold the devices; the trial that waits for them holds memory alone.
    needed = {"cpu": 0, "memory": TRIAL_BYTES} if nested else {"cpu": resources.cpus, "gpu": resources.gpus}

    def trainable(parameters: dict[str, Any]) -> None:
        (_in_workers if nested else _in_this_process)(_trial(config, parameters), config, store)

    log(f"sweep {config.name}: {total} trials of at most {config.trial.length(config)} trainings")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # it would end with half of the trials as if with all
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its banner ignores verbose=0
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with progress() as bar, tempfile.TemporaryDirectory(prefix="orch-tune-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(trainable, needed),
            param_space=space,
            tune_config=tune.TuneConfig(search_alg=search, num_samples=total if search else 1),
            run_config=tune.RunConfig(
                storage_path=scratch,
                verbose=0,
                callbacks=[_Watcher(bar, total, held)],
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

    def __init__(self, bar: Any, trials: int, held: Lease):
        self.bar, self.trials, self.held = bar, trials, held
        self.stages = self.done = 0
        self.task = bar.add_task("trials", total=trials, note="")

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks for a restore that is never made; a bar does not pickle

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        self.stages += 1
        note = f"training {self.stages}: {result.get('stage', '')}, energy {result.get('energy', 0):.4f}"
        self.bar.update(self.task, note=note)
        self.held.report(self.done, self.trials, "trials", note)
        self.held.needs(*(f"models/{name}" for name in result.get("stages", ())))

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self.done += 1
        self.bar.update(self.task, completed=self.done)
        self.held.report(self.done, self.trials, "trials")


def _data_figures(dataset: DatasetConfig, store: Store) -> dict[str, float]:
    """What the stages of a sweep are held against."""
    figures = ensemble(shards.read(dataset.name, store)[:DATA_COMPARED].tensor(), dataset.hamiltonian)
    return figures | spectrum.figures(spectrum.read(dataset, store))


def _commit(config: SweepConfig, store: Store, trials: list[tuple[Trial, list[str]]]) -> None:
    tables, summary = [], []
    for number, (trial, names) in enumerate(trials):
        stages = _stages(trial, [(name, model_card(name, store)) for name in names])
        tables.append(pd.concat({number: stages}, names=["trial"]).reset_index(level=0))
        summary.append({"trial": number, **trial.point, **trial.program.report(stages)})
    frame = pd.concat(tables, ignore_index=True)
    datasets = {trial.training.dataset.name: trial.training.dataset for trial, _ in trials}
    data = {name: _data_figures(dataset, store) for name, dataset in datasets.items()}
    pictures = {model: generated(model, store) for model in frame["model"]}
    table = pd.DataFrame(summary)
    collapsed = compare(frame, [trial.training for trial, _ in trials], pictures, config.resources.cpus, store)
    pooled = config.trial.pooled(table)
    finished = Finished(frame, table, pooled, data, pictures, config.dataset.hamiltonian, collapsed.sections)
    parquet = io.BytesIO()
    frame.to_parquet(parquet, index=False)
    metric, mode = config.objective
    ordered = finished.summary.sort_values(metric, ascending=mode == "min", na_position="last")
    parents = [*(f"datasets/{name}" for name in data), *(f"models/{model}" for model in frame["model"])]
    parents += collapsed.parents
    card = {
        "kind": "sweep",
        "config": config.model_dump(mode="json"),
        "given": config.given(),
        "parents": parents,
        "figures": {
            "metric": metric,
            "mode": mode,
            "best": ordered.replace({np.nan: None}).to_dict("records")[0],
            "data": data,
            "summary": finished.summary.replace({np.nan: None}).to_dict("records"),
            "pooled": finished.pooled.replace({np.nan: None}).to_dict("records"),
            "collapsed": collapsed.rows,
        },
    }
    source = origin(store, "sweeps", config.name, config, "orch sweep --space", parents)
    files = {"stages.parquet": parquet.getvalue(), **drawn(lambda: sweep_page(config, finished, source), config)}
    store.commit("sweeps", config.name, card, files)
