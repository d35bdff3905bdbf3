"""Training under Ray Train: any number of workers, from a command or from a sweep's trial."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from ray import get_runtime_context
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nets.layers import rank
from nets.training import DivergedError
from orchestrator.cluster import RETRIES, connect
from orchestrator.console import log, on_interrupt, progress
from orchestrator.data.run import make as make_data
from orchestrator.data.run import plan as plan_data
from orchestrator.errors import RequestError
from orchestrator.store import Store
from orchestrator.training import loop
from orchestrator.training.request import Resources, TrainConfig

Work = Callable[[torch.device, Callable[[Any], None]], None]
"""What each worker does, given its device and a function that reports how far it has come."""


def run_distributed(work: Work, resources: Resources) -> Iterator[Any]:
    """Run ``work`` in workers of Ray Train, and yield what the first of them reports, as it reports it.

    A worker that dies is replaced and the group starts ``work`` again, so that has to go on from what it has stored.

    Raises:
        DivergedError, RequestError: raised by ``work``, which is then not tried again.
    """
    here = NodeAffinitySchedulingStrategy(get_runtime_context().get_node_id(), soft=False)  # to live as long as this
    reports = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})

    def worker() -> None:
        torch.set_num_threads(max(1, int(resources.cpus)))
        report = reports.put if rank() == 0 else lambda message: None
        try:
            work(get_device(), report)
        except (DivergedError, RequestError) as error:
            report(error)

    (least, most), gpus = resources.workers, resources.gpus
    scaling = ScalingConfig(
        num_workers=least if least == most else (least, most),
        use_gpu=gpus > 0,
        resources_per_worker={"CPU": resources.cpus, **({"GPU": gpus} if gpus else {})},
    )
    failed: list[Exception] = []
    with tempfile.TemporaryDirectory(prefix="orch-train-") as scratch:
        run_config = RunConfig(storage_path=scratch, failure_config=FailureConfig(max_failures=RETRIES))
        trainer = TorchTrainer(worker, scaling_config=scaling, run_config=run_config)

        def fit() -> None:
            try:
                trainer.fit()
            except Exception as error:
                failed.append(error)

        training = threading.Thread(target=fit, daemon=True)  # which an interrupt does not wait for
        training.start()
        while training.is_alive() or not reports.empty():
            try:
                message = reports.get(timeout=0.5)
            except Empty:
                continue
            if isinstance(message, Exception):
                failed.append(message)
            else:
                yield message
    reports.shutdown()
    if failed:
        raise failed[0]


def _make(config: TrainConfig, store: Store, device: torch.device, report: Callable[[Any], None]) -> None:
    loop.make(config, store, device, lambda done, losses: report((done, losses)), page=True)


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
        RequestError: a parent or checkpoint that does not fit, a cluster too small, or a loss that is not finite.
    """
    name = config.name
    if (card := store.card("models", name)) is not None:
        log(f"found models/{name}")
        return name, card
    if config.parent and store.card("models", config.parent) is None:
        raise RequestError(f"parent: no model {config.parent} in {store.root}")
    done = loop.begin(config, store)[1].done
    resources = config.resources
    connect(resources.workers[0] * resources.cpus, resources.workers[0] * resources.gpus)
    make_data(config.dataset, store)
    log(f"training {name}: steps {done} to {config.steps}, batch {config.batch}, {resources}")
    kept = on_interrupt(lambda: f"the last checkpoint of {name}, at most step {done} of {config.steps}")
    with kept, progress() as bar:
        task = bar.add_task("steps", total=config.steps, completed=done, note="")
        try:
            for done, losses in run_distributed(partial(_make, config, store), resources):
                note = ", ".join(f"{key} {value:.4g}" for key, value in losses.items())
                bar.update(task, completed=done, note=note)
        except DivergedError as error:
            raise RequestError(f"{name}: {error}; the checkpoint before it is kept") from None
    card = store.card("models", name)
    if card is None:
        raise RequestError(f"{name}: no worker wrote it to {store.root}; expected a store that every node shares")
    return name, card
