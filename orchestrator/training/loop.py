"""One training as an artifact: made when missing, continued when begun."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as save_tensors
from tensorboardX import SummaryWriter
from torch import distributed

from nets.layers import rank, workers
from nets.metrics import ensemble
from nets.sampling import generate, prior
from nets.system import Labels, System, build
from nets.training import Data, Rows, TrainingState, checkpoint, fit, restore_checkpoint, validate
from orchestrator.data import shards
from orchestrator.errors import RequestError
from orchestrator.store import Store, versions
from orchestrator.training.page import training_page
from orchestrator.training.request import TrainConfig
from orchestrator.training.trained import load_weights
from physics.render import COLUMNS, strip

GENERATED = 100  # states that a model is judged by, as in the 2021 paper
KEPT = 16  # of them, stored for pictures
REPORT_STEPS = 50
PAGE_SHARE = 200  # times as long between two pages as one takes to draw
EVENTS = "events"  # of TensorBoard, beside the artifact's own files

Log = Callable[[int, dict[str, float]], None]
"""Steps done, and the mean losses since it was called before."""


def make(
    config: TrainConfig,
    store: Store,
    device: torch.device | str = "cpu",
    log: Log = lambda done, losses: None,
    page: bool = False,
) -> tuple[str, dict[str, Any]]:
    """Name and card of a system, trained unless it is in the store, from its checkpoint if it was begun.

    Its random numbers are seeded by its request, so it is the same wherever and whenever it is made.  Called by all
    workers of a group, they share each batch, and the first of them writes.

    Args:
        page: with a page and events for TensorBoard, both written as training goes.

    Raises:
        DivergedError: a loss is not finite; the checkpoint before it is kept.
        RequestError: the checkpoint or the parent is damaged or of another architecture.
    """
    name = config.name
    if (card := store.card("models", name)) is not None:
        return name, card
    started = time.monotonic()
    system, progress = begin(config, store, device)
    data = _data(config, store, system.device)
    record = Recorder(system, config, progress, data.labels, store, page) if rank() == 0 else None

    def reached(done: int, losses: dict[str, float]) -> None:
        if record:
            record(done, losses)
        log(done, losses)

    seed = config.random_seed
    left = range(progress.done, config.steps)
    fit(system, data.part(slice(config.kept)), config.batch, left, seed, reached, REPORT_STEPS)
    if record:
        validation = validate(system, data.part(slice(config.kept, None)), config.batch, seed)
        _commit(system, config, progress, validation, data, time.monotonic() - started, store, page)
    if workers() > 1:
        distributed.barrier()
    card = store.card("models", name)
    if card is None:
        raise RequestError(f"{name}: the first worker wrote it elsewhere than {store.root}; expected a shared store")
    return name, card


def begin(config: TrainConfig, store: Store, device: torch.device | str = "cpu") -> tuple[System, TrainingState]:
    """A system with the weights to go on from: of its checkpoint, else of its parent, else random.

    Raises:
        RequestError: the checkpoint or the parent is damaged or of another architecture.
    """
    torch.manual_seed(config.random_seed)
    system = build(config.system, config.dataset.hamiltonian, device)
    progress = resume(system, config.name, store)
    if config.parent and not progress.done:
        for part, network in system.networks.items():
            load_weights(network, config.parent, f"{part}.safetensors", store)
    return system, progress


def _data(config: TrainConfig, store: Store, device: torch.device) -> Data:
    """Labels in memory; spins on a GPU where there is room for them, else read as they are asked for."""
    spins: Rows = shards.read(config.dataset.name, store)
    wanted = config.system.labels
    columns = shards.columns(config.dataset.name, store, wanted) if wanted else {}
    labels = {name: torch.from_numpy(values) for name, values in columns.items()}
    assert isinstance(spins, shards.Spins)
    if device.type == "cuda" and 8 * np.prod(spins.shape) < torch.cuda.mem_get_info(device)[0]:
        spins = spins.tensor().to(device)
    return Data(spins, labels)


class Recorder:
    """What the first worker does with the losses: keep them, show them, and save all that training goes on from."""

    def __init__(
        self, system: System, config: TrainConfig, progress: TrainingState, labels: Labels, store: Store, page: bool
    ):
        self.system, self.config, self.progress, self.store, self.page = system, config, progress, store, page
        self.labels = labels
        folder = store.folder("models", config.name)
        self.events = SummaryWriter(f"{folder}/{EVENTS}", purge_step=progress.done) if page and store.local else None
        self.codes = prior(COLUMNS, config.system.latent, config.seed)
        self.saved = self.paged = time.monotonic()
        self.page_seconds = 0.0

    def __call__(self, done: int, losses: dict[str, float]) -> None:
        steps, progress = self.config.steps, self.progress
        progress.done = done
        progress.history.append({"step": done, **losses})
        pictured = self.page and ((done // REPORT_STEPS).bit_count() == 1 or done == steps)  # as the steps double
        if pictured:
            progress.pictures[done] = generate(self.system, self.codes, self.labels)
        if self.events:
            self._write_events(done, losses, pictured)
        if done < steps and time.monotonic() - self.saved >= self.config.checkpoint_seconds:
            save_checkpoint(self.system, progress, self.config.name, self.store)
            self.saved = time.monotonic()
            if self.page and self.saved - self.paged >= PAGE_SHARE * self.page_seconds:
                files = training_page(self.config, progress.history, progress.pictures, {}, {})
                for file, content in files.items():
                    self.store.write_file(f"models/{self.config.name}/{file}", content)
                self.paged = time.monotonic()
                self.page_seconds = self.paged - self.saved

    def _write_events(self, done: int, losses: dict[str, float], pictured: bool) -> None:
        assert self.events is not None
        for key, value in losses.items():
            self.events.add_scalar(key, value, done)
        if pictured:
            states = strip(self.progress.pictures[done].numpy(), self.system.model)
            self.events.add_image("generated", states, done, dataformats="HWC")
        if done == self.config.steps:
            self.events.close()


def _checkpoint(name: str) -> str:
    return f"models/{name}/checkpoint.safetensors"


def save_checkpoint(system: System, progress: TrainingState, name: str, store: Store) -> None:
    """In place of the checkpoint before."""
    store.write_file(_checkpoint(name), checkpoint(system, progress))


def resume(system: System, name: str, store: Store) -> TrainingState:
    """The state of the checkpoint, which is put into ``system``; a new one where there is none.

    Raises:
        RequestError: the checkpoint is damaged or of another architecture.
    """
    path = f"{store.path}/{_checkpoint(name)}"
    if not store.fs.exists(path):
        return TrainingState()
    try:
        return restore_checkpoint(system, store.fs.cat_file(path))
    except ValueError as error:
        raise RequestError(f"{path}: not a checkpoint of this model: {error}") from None


def _commit(
    system: System,
    config: TrainConfig,
    progress: TrainingState,
    validation: dict[str, float],
    data: Data,
    seconds: float,
    store: Store,
    page: bool,
) -> None:
    name, model = config.name, config.dataset.hamiltonian
    codes = prior(GENERATED, config.system.latent, config.seed)
    generated = generate(system, codes, data.labels)
    real = ensemble(data.spins[torch.arange(min(GENERATED, len(data)))].cpu(), model)
    figures = ensemble(generated, model)
    figures |= {"data_kspace_mse": real["kspace_mse"], "diversity": figures["kspace_mse"] / real["kspace_mse"]}
    figures |= {f"validation_{key}": value for key, value in validation.items()}
    files = {
        f"{part}.safetensors": save_tensors(
            {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
        )
        for part, network in system.networks.items()
    }
    files["generated.float32"] = generated[:KEPT].numpy().tobytes()
    if page:
        files |= training_page(config, progress.history, progress.pictures, figures, real)
    card = {
        "kind": "model",
        "config": config.recipe(),
        "parents": [f"datasets/{config.dataset.name}", *([f"models/{config.parent}"] if config.parent else [])],
        "figures": figures,
        "history": progress.history,
        "seconds": round(seconds, 2),
        "versions": versions(),
    }
    store.commit("models", name, card, files)
    with contextlib.suppress(FileNotFoundError):  # another trial may have made the same stage
        store.fs.rm_file(f"{store.path}/{_checkpoint(name)}")
