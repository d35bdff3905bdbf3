"""One trial of a sweep, where it runs: its trainings one after another, each told to Tune as it ends."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import torch
from ray import tune

from nets.training import DivergedError
from orchestrator.cluster import check_shared
from orchestrator.data.run import make_here
from orchestrator.store import Store
from orchestrator.sweeps.program import Card
from orchestrator.sweeps.request import SweepConfig, Trial
from orchestrator.training import loop
from orchestrator.training.request import TrainConfig
from orchestrator.training.run import outcome, run_distributed


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


def reached(trial: Trial, find: Callable[[TrainConfig], Card | None], store: Store) -> tuple[int, int]:
    """How many trainings of a trial ``find`` has cards of, and at which step the next one is."""
    made, following = follow(trial, find)
    return len(made), loop.steps_done(following, store) if following else 0


def label(trial: Trial) -> str:
    return ", ".join(f"{key} = {value}" for key, value in trial.point.items())


def table(trial: Trial, made: list[tuple[str, Card]]) -> pd.DataFrame:
    """A row for each training of a trial."""
    rows = []
    for order, (name, card) in enumerate(made):
        losses = {f"train_{key}": value for key, value in card["history"][-1].items() if key != "step"}
        columns = trial.program.columns(card)
        rows.append({**trial.point, "order": order, **columns, **losses, **card["figures"], "model": name})
    return pd.DataFrame(rows)


def measured(trial: Trial, stages: pd.DataFrame, config: SweepConfig) -> list[float]:
    """The metrics of a sweep after some trainings of a trial; NaN where they do not say yet."""
    report = trial.program.report(stages)
    return [
        value if math.isfinite(value := float(report.get(key, math.nan))) else math.nan for key in config.objectives
    ]


class Reporter:
    """Tells Tune of the trainings of a trial, as they end."""

    def __init__(self, trial: Trial, config: SweepConfig):
        self.trial, self.config = trial, config
        self.made: list[tuple[str, Card]] = []
        self._lock, self._over = threading.Lock(), False

    def __call__(self, name: str, card: Card) -> None:
        self.made.append((name, card))
        self._report(measured(self.trial, table(self.trial, self.made), self.config))

    def end(self, cause: str) -> None:
        """The trial ends before its last training."""
        self._report([math.nan] * len(self.config.objectives), ended=cause)

    def _report(self, values: list[float], **more: Any) -> None:
        with self._lock:
            if not self._over:
                self._over = "ended" in more
                tune.report({"stages": [name for name, _ in self.made], "values": values, **more})


def run_trial(trial: Trial, config: SweepConfig, store: Store) -> None:
    """All trainings of a trial: to the last, to one that diverges, or to the time limit."""
    check_shared(store)
    report = Reporter(trial, config)
    nested = config.resources.workers[1] > 1
    work = partial(_in_workers if nested else _in_this_process, trial, config, store, report)
    if config.time_limit is None:
        return work()
    failed: list[Exception] = []

    def kept() -> None:
        try:
            work()
        except Exception as error:
            failed.append(error)

    working = threading.Thread(target=kept, daemon=True)  # which ends with its process, however it hangs
    working.start()
    working.join(config.time_limit)
    if failed:
        raise failed[0]
    if working.is_alive():
        report.end(f"not done within the time limit of {config.time_limit:g} s")


def _in_this_process(trial: Trial, config: SweepConfig, store: Store, report: Reporter) -> None:
    torch.set_num_threads(max(1, int(config.resources.cpus)))
    device = "cuda" if config.resources.gpus else "cpu"

    def visit(training: TrainConfig) -> Card:
        name, card = loop.make(training, store, device)
        report(name, card)
        return card

    make_here(trial.training.dataset, store)
    try:
        follow(trial, visit)
    except DivergedError as error:
        report.end(str(error))


def _in_workers(trial: Trial, config: SweepConfig, store: Store, report: Reporter) -> None:
    """By a group of workers, which is followed in the store."""
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "1e6"  # trials wait for each other's devices
    cards: dict[str, Card] = {}

    def found(training: TrainConfig) -> Card | None:
        if training.name not in cards and (card := store.card("models", training.name)) is not None:
            cards[training.name] = card
        return cards.get(training.name)

    def work(device: torch.device) -> None:
        make_here(trial.training.dataset, store)
        follow(trial, lambda training: loop.make(training, store, device)[1])

    look, farther = partial(follow, trial, found), partial(reached, trial, found, store)
    next_training: TrainConfig | None = trial.training
    for trained, next_training in run_distributed(work, store, config.resources, look, farther):  # noqa: B007
        for name, card in trained[len(report.made) :]:
            report(name, card)
    if next_training is not None:
        failure = outcome(next_training, store)
        if not isinstance(failure.__cause__, DivergedError):
            raise failure
        report.end(str(failure))
