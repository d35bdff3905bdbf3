"""Training under Ray Train: any number of workers, from a command or from a sweep's trial."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import torch
from ray.exceptions import RayActorError
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError, WorkerGroupError
from ray.train.torch import TorchTrainer, get_device

from nets.training import DivergedError
from orchestrator.cluster import RETRIES, check_shared, connect
from orchestrator.console import counted, log, on_interrupt
from orchestrator.data.run import make as make_data
from orchestrator.data.run import plan as plan_data
from orchestrator.errors import FailedError, RequestError
from orchestrator.files import in_a_line
from orchestrator.lease import newest_try
from orchestrator.store import Store
from orchestrator.training import loop
from orchestrator.training.request import Resources, TrainConfig

LOOK_SECONDS = 1.0

Work = Callable[[torch.device], Any]
"""What each worker does, given its device; what it makes and how far it has come, it writes to the store."""

T = TypeVar("T")


def run_distributed(
    work: Work, store: Store, resources: Resources, look: Callable[[], T], reached: Callable[[], Any]
) -> Iterator[T]:
    """Run ``work`` in workers of Ray Train, and yield what ``look`` sees in the store, every second and at the end.

    A worker that dies is replaced and the group starts ``work`` again, so that has to go on from what it has stored.
    The same holds for Ray Train's controller.  What ``work`` raises by itself it has left in its record.

    Args:
        reached: how far ``work`` has come in the store; deaths before it went farther do not count.

    Raises:
        FailedError: workers, or the controller, died too often without coming farther.
    """

    def worker() -> None:
        torch.set_num_threads(max(1, int(resources.cpus)))
        with contextlib.suppress(DivergedError, RequestError, FailedError, OSError):
            check_shared(store)
            work(get_device())

    failed: list[Exception] = []

    def fit() -> None:
        deaths, before = 0, reached()
        while True:
            try:
                with tempfile.TemporaryDirectory(prefix="orch-train-") as scratch:
                    _trainer(worker, resources, scratch).fit()
                return
            except (RayActorError, TrainingFailedError) as error:
                of_workers, now = isinstance(error, WorkerGroupError), reached()
                deaths = (RETRIES + 1 if of_workers else deaths + 1) if now == before else 0
                before = now
                if deaths > RETRIES:
                    raise
                who = "workers of Ray Train died; they are" if of_workers else "the controller of Ray Train died; it is"
                log(f"{who} started again")

    def kept() -> None:
        try:
            fit()
        except Exception as error:
            failed.append(error)

    training = threading.Thread(target=kept, daemon=True)  # which an interrupt does not wait for
    training.start()
    while training.is_alive():
        training.join(LOOK_SECONDS)
        yield look()
    if failed:
        raise FailedError(
            f"workers of Ray Train died {RETRIES + 1} times without coming farther: {in_a_line(failed[0])}"
        )


def _trainer(worker: Callable[[], None], resources: Resources, scratch: str) -> TorchTrainer:
    (least, most), gpus = resources.workers, resources.gpus
    return TorchTrainer(
        worker,
        scaling_config=ScalingConfig(
            num_workers=least if least == most else (least, most),
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": resources.cpus, **({"GPU": gpus} if gpus else {})},
        ),
        run_config=RunConfig(storage_path=scratch, failure_config=FailureConfig(max_failures=RETRIES)),
    )


def plan(config: TrainConfig, store: Store) -> list[str]:
    """What is found and what would be made, line by line."""
    found = store.card("models", config.name) is not None
    return [
        *plan_data(config.dataset, store),
        f"model {config.name}: {'found' if found else 'to train'}, {config.steps} steps of batch {config.batch}",
        f"resources: {config.resources}",
    ]


def run(config: TrainConfig, store: Store) -> tuple[str, dict[str, Any]]:
    """Name and card of a trained system, trained unless it is in the store.

    The losses are the same with any number of workers, to rounding.

    Raises:
        RequestError: there is no such parent, or the machine is too small.
        FailedError: a loss is not finite, the parent does not fit, the disk is full, or workers died too often.
    """
    name = config.name
    if (card := store.card("models", name)) is not None:
        log(f"found models/{name}")
        return name, card
    if config.parent and store.card("models", config.parent) is None:
        raise RequestError(f"parent: no model {config.parent} in {store.root}")
    connect(config.resources.workers[0] * config.resources.cpus, config.resources.workers[0] * config.resources.gpus)
    make_data(config.dataset, store)
    card = _trained(config, store)
    if card is None:
        raise outcome(config, store)
    return name, card


def _trained(config: TrainConfig, store: Store) -> dict[str, Any] | None:
    """The card, once the training has ended, and what a person sees until then; None if it failed."""
    name, done = config.name, loop.steps_done(config, store)
    log(f"training {name}: steps {done} to {config.steps}, batch {config.batch}, {config.resources}")
    before, _ = newest_try(store, "models", name)
    tries, said = 0, 0
    kept = on_interrupt(lambda: f"the last checkpoint of {name}, at most step {done} of {config.steps}")
    with kept, counted("steps", done=done, total=config.steps) as show:
        work = partial(loop.make, config, store, page=True)
        look = partial(newest_try, store, "models", name)
        reached = partial(loop.steps_done, config, store)
        for number, record in run_distributed(work, store, config.resources, look, reached):
            if number <= before:
                continue
            if number > max(tries, before + 1):
                log(f"{name}: a worker died; try {number - before} goes on from the last checkpoint")
            tries, done = number, record.get("done", done)
            show(done, config.steps, record.get("note", ""))
            for text in record.get("said", [])[said:]:
                log(text)
                said += 1
    card = store.card("models", name)
    for text in (card or {}).get("said", [])[said:]:
        log(text)
    return card


def outcome(config: TrainConfig, store: Store) -> FailedError:
    """Why a training has no card, from the record of its last try."""
    _, record = newest_try(store, "models", config.name)
    if record.get("error") == DivergedError.__name__:
        failed = FailedError(f"{config.name}: {record['cause']}; the checkpoint before it is kept")
        failed.__cause__ = DivergedError(record["cause"])
        return failed
    if record.get("cause"):
        return FailedError(f"{config.name}: {record['cause']}")
    return FailedError(f"{config.name}: no worker wrote it to {store.root}; expected a store that every node shares")
