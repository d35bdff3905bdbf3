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
from orchestrator import anneal, models
from orchestrator.cluster import connect
from orchestrator.config import Resources, TrainConfig
from orchestrator.console import progress, say
from orchestrator.errors import RequestError
from orchestrator.store import Store

FAILURES = 3  # of workers, before a run gives up

Work = Callable[[torch.device, Callable[[Any], None]], None]
"""What each worker does, given its device and, to tell others how far it has come, a function."""


def together(work: Work, resources: Resources) -> Iterator[Any]:
    """Run ``work`` in workers of Ray Train, and yield what the first of them tells, as it tells it.

    A worker that dies is replaced and the group starts ``work`` again, so that has to go on from what it has stored.

    Raises:
        DivergedError, RequestError: raised by ``work``, which is then not tried again.
    """
    here = NodeAffinitySchedulingStrategy(get_runtime_context().get_node_id(), soft=False)  # to live as long as this
    told = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})

    def loop() -> None:
        torch.set_num_threads(max(1, int(resources.cpus)))
        tell = told.put if rank() == 0 else lambda message: None
        try:
            work(get_device(), tell)
        except (DivergedError, RequestError) as error:
            tell(error)

    (least, most), gpus = resources.workers, resources.gpus
    scaling = ScalingConfig(
        num_workers=least if least == most else (least, most),
        use_gpu=gpus > 0,
        resources_per_worker={"CPU": resources.cpus, **({"GPU": gpus} if gpus else {})},
    )
    failed: list[Exception] = []
    with tempfile.TemporaryDirectory(prefix="orch-train-") as scratch:
        run_config = RunConfig(storage_path=scratch, failure_config=FailureConfig(max_failures=FAILURES))
        trainer = TorchTrainer(loop, scaling_config=scaling, run_config=run_config)

        def fit() -> None:
            try:
                trainer.fit()
            except Exception as error:
                failed.append(error)

        training = threading.Thread(target=fit, daemon=True)  # which an interrupt does not wait for
        training.start()
        while training.is_alive() or not told.empty():
            try:
                message = told.get(timeout=0.5)
            except Empty:
                continue
            if isinstance(message, Exception):
                failed.append(message)
            else:
                yield message
    told.shutdown()
    if failed:
        raise failed[0]


def _make(config: TrainConfig, store: Store, device: torch.device, tell: Callable[[Any], None]) -> None:
    models.make(config, store, device, lambda done, losses: tell((done, losses)), page=True)


def run(config: TrainConfig, store: Store) -> tuple[str, dict[str, Any]]:
    """Name and card of a trained system, trained unless it is in the store.

    The losses are the same with any number of workers, to rounding.

    Raises:
        RequestError: a parent or checkpoint that does not fit, a cluster too small, or a loss that is not finite.
    """
    name = config.name
    if (card := store.card("models", name)) is not None:
        say(f"found models/{name}")
        return name, card
    if config.parent and store.card("models", config.parent) is None:
        raise RequestError(f"parent: no model {config.parent} in {store.root}")
    begun = models.begin(config, store)[1].done
    resources = config.resources
    connect(resources.workers[0] * resources.cpus, resources.workers[0] * resources.gpus)
    anneal.make(config.dataset, store)
    say(f"training {name}: steps {begun} to {config.steps}, batch {config.batch}, {resources}")
    with progress() as bar:
        task = bar.add_task("steps", total=config.steps, completed=begun, note="")
        try:
            for done, losses in together(partial(_make, config, store), resources):
                note = ", ".join(f"{key} {value:.4g}" for key, value in losses.items())
                bar.update(task, completed=done, note=note)
        except DivergedError as error:
            raise RequestError(f"{name}: {error}; the checkpoint before it is kept") from None
    card = store.card("models", name)
    if card is None:
        raise RequestError(f"{name}: no worker wrote it to {store.root}; expected a store that every node shares")
    return name, card
