"""One training as an artifact: made when missing, continued when begun."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as save_tensors
from tensorboardX import SummaryWriter
from torch import Tensor

from nets.layers import decided, keep_waiting, rank
from nets.metrics import active_units, diversity_error, ensemble, prior_reconstruction
from nets.sampling import generate, prior
from nets.system import Labels, System, build
from nets.training import (
    Data,
    Rows,
    TrainingState,
    checkpoint,
    checkpoint_step,
    fit,
    restore_checkpoint,
    validate,
)
from orchestrator.data import shards
from orchestrator.lease import Lease, lease
from orchestrator.page import Origin, drawn, origin, request_file
from orchestrator.store import Store
from orchestrator.training.page import training_page
from orchestrator.training.reference import above_linear, reference
from orchestrator.training.request import TrainConfig
from orchestrator.training.trained import load_weights
from physics.render import COLUMNS, strip

GENERATED = 400  # states that a model is judged by
KEPT = 16  # of them, stored for pictures
REPORT_STEPS = 25
PAGE_SHARE = 200  # times as long between two pages as one takes to draw
CHECKPOINT_SHARE = 20  # times as long between two checkpoints as one takes to write
FIRST_CHECKPOINT_SECONDS = 1.0
EVENTS = "events"  # of TensorBoard


def make(
    config: TrainConfig, store: Store, device: torch.device | str = "cpu", page: bool = False
) -> tuple[str, dict[str, Any]]:
    """Name and card of a system, trained unless it is in the store, from its checkpoint if it was begun.

    Its random numbers are seeded by its request, so it is the same wherever and whenever it is made.  Called by all
    workers of a group, they share each batch; the first of them holds the lease, decides, and writes.

    Args:
        page: with a page and events for TensorBoard, both written as training goes.

    Raises:
        DivergedError: a loss is not finite; the checkpoint before it is kept.
        RequestError: the parent is damaged or of another architecture.
    """
    name = config.name
    first = rank() == 0
    with lease(store, "models", name, keep_waiting, _parents(config)) if first else contextlib.nullcontext() as held:
        if (card := decided(lambda: store.card("models", name))) is not None:
            return name, card
        return name, _train(config, store, device, held, page)


def _train(
    config: TrainConfig, store: Store, device: torch.device | str, held: Lease | None, page: bool
) -> dict[str, Any]:
    started = time.monotonic()
    system, progress = begin(config, store, device, held)
    data = _data(config, store, system.device)
    record = Recorder(system, config, progress, data.labels, store, held, page) if held else None

    def reached(done: int, losses: dict[str, float]) -> None:
        decided(lambda: record(done, losses) if record else None)

    def finished() -> dict[str, Any]:
        assert record is not None
        record.picture()
        validation = validate(system, data.part(slice(config.kept, None)), config.batch, seed)
        return _commit(system, config, progress, validation, data, time.monotonic() - started, store, record)

    seed = config.random_seed
    left = range(progress.done, config.steps)
    try:
        kept, past = data.part(slice(config.kept)), [*progress.history]
        fit(system, kept, config.batch, left, seed, reached, REPORT_STEPS, config.augment, config.schedule, past)
        return decided(finished)
    finally:
        if record:
            record.close()


def begin(
    config: TrainConfig, store: Store, device: torch.device | str = "cpu", held: Lease | None = None
) -> tuple[System, TrainingState]:
    """A system with the weights to go on from: of its checkpoint, else of its parent, else random.

    A damaged checkpoint is set aside.

    Raises:
        RequestError: the parent is damaged or of another architecture.
    """

    def built() -> System:
        torch.manual_seed(config.random_seed)
        return build(config.system, config.dataset.hamiltonian, device)

    system, progress = built(), TrainingState()
    content = decided(lambda: store.read_file(_checkpoint(config.name, store)))
    if content is not None:
        try:
            progress = restore_checkpoint(system, content)
        except ValueError as error:
            system = built()
            if held is not None:
                aside = store.set_aside(_checkpoint(config.name, store))
                held.say(f"{aside}: not a checkpoint of this model: {error}; training starts again")
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
        self,
        system: System,
        config: TrainConfig,
        progress: TrainingState,
        labels: Labels,
        store: Store,
        held: Lease,
        page: bool,
    ):
        self.system, self.config, self.progress, self.store = system, config, progress, store
        self.labels, self.held, self.page = labels, held, page
        self.work = store.work("models", config.name)
        folder = f"{store.path}/{self.work}/{EVENTS}"
        self.events = SummaryWriter(folder, purge_step=progress.done) if page and store.local else None
        self.codes = prior(COLUMNS, config.system.latent, config.seed)
        self.begun = self.saved = self.paged = time.monotonic()
        self.page_seconds = self.saved_in = 0.0

    def __call__(self, done: int, losses: dict[str, float]) -> None:
        steps, progress = self.config.steps, self.progress
        progress.done = done
        progress.history.append({"step": done, **losses})
        self.held.report(done, steps, "steps", ", ".join(f"{key} {value:.4g}" for key, value in losses.items()))
        if self.events:
            for key, value in losses.items():
                self.events.add_scalar(key, value, done)
        if (done // REPORT_STEPS).bit_count() == 1:  # as the steps double
            self.picture()
        if done < steps and (begun := time.monotonic()) - self.saved >= self._pause():
            self.store.write_file(_checkpoint(self.config.name, self.store), checkpoint(self.system, progress))
            self.saved = time.monotonic()
            self.saved_in = self.saved - begun
            if self.page and self.saved - self.paged >= PAGE_SHARE * self.page_seconds:
                self._write_page()
                self.paged = time.monotonic()
                self.page_seconds = self.paged - self.saved

    def _pause(self) -> float:
        """Seconds between checkpoints: at first as long as this try has taken, so that every try gains something.

        Never less than ``CHECKPOINT_SHARE`` times what the last took to write: those of large networks have gigabytes.
        """
        asked = min(self.config.checkpoint_seconds, self.saved - self.begun + FIRST_CHECKPOINT_SECONDS)
        return max(asked, CHECKPOINT_SHARE * self.saved_in)

    def _write_page(self) -> None:
        origin = training_origin(self.config, self.store)._replace(root="../../..")
        draw = partial(training_page, self.config, self.progress.history, self.progress.pictures, {}, {}, origin)
        for file, content in drawn(draw, self.config).items():
            self.store.write_file(f"{self.work}/{file}", content)

    def picture(self) -> None:
        """Keep generated states of this step, if there is a page for them."""
        done, pictures = self.progress.done, self.progress.pictures
        if not self.page or done in pictures:
            return
        pictures[done] = generate(self.system, self.codes, self.labels)
        if self.events:
            states = strip(pictures[done].numpy(), self.system.model)
            self.events.add_image("generated", states, done, dataformats="HWC")

    def close(self) -> None:
        if self.events:
            self.events.close()

    def written_events(self) -> dict[str, bytes]:
        """Files for TensorBoard of this try and those before, which become the artifact's."""
        self.close()
        files = {f"{EVENTS}/{file}" for file in self.store.entries(f"{self.work}/{EVENTS}")}
        return {file: self.store.read_file(f"{self.work}/{file}") or b"" for file in sorted(files)}


def _checkpoint(name: str, store: Store) -> str:
    return f"{store.work('models', name)}/checkpoint.safetensors"


def steps_done(config: TrainConfig, store: Store) -> int:
    """Of the checkpoint; 0 if there is none that can be read."""
    content = store.read_file(_checkpoint(config.name, store))
    return checkpoint_step(content) if content else 0


def training_origin(config: TrainConfig, store: Store) -> Origin:
    return origin(store, "models", config.name, config, "orch train --config", _parents(config))


def _parents(config: TrainConfig) -> list[str]:
    return [f"datasets/{config.dataset.name}", *([f"models/{config.parent}"] if config.parent else [])]


def _commit(
    system: System,
    config: TrainConfig,
    progress: TrainingState,
    validation: dict[str, float],
    data: Data,
    seconds: float,
    store: Store,
    record: Recorder,
) -> dict[str, Any]:
    model = config.dataset.hamiltonian
    generated = generate(system, prior(GENERATED, config.system.latent, config.seed), data.labels)
    real = ensemble(data.spins[torch.arange(min(GENERATED, len(data)))].cpu(), model)
    figures = ensemble(generated, model)
    figures |= {f"data_{key}": real[key] for key in ("kspace_mse", "energy_mean", "energy_std")}
    error = diversity_error(model.structure_factor(generated))
    for key, value in (("diversity", figures["kspace_mse"]), ("diversity_error", error)):
        figures[key] = value / real["kspace_mse"]
    held_out, filling = data.part(slice(config.kept, None)), model.filling(config.dataset.L)
    if system.settings.encoder:
        figures["active_units"] = active_units(_posterior_means(system, held_out, config))
    compared = held_out.spins[torch.arange(min(GENERATED, len(held_out)))].cpu()
    figures["prior_reconstruction"] = prior_reconstruction(generated, compared, filling)
    figures |= {f"validation_{key}": value for key, value in validation.items()}
    figures |= reference(config, validation, store)
    files = {
        f"{part}.safetensors": save_tensors(
            {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
        )
        for part, network in system.networks.items()
    }
    files["generated.float32"] = generated[:KEPT].numpy().tobytes()
    if record.page:
        origin = training_origin(config, store)
        draw = partial(training_page, config, progress.history, progress.pictures, figures, real, origin)
        files |= drawn(draw, config) | record.written_events()
    else:
        files |= request_file(config)
    card = {
        "kind": "model",
        "config": config.recipe(),
        "given": config.given(),
        "parents": _parents(config),
        "figures": figures,
        "history": progress.history,
        "seconds": round(seconds, 2),
        "device": device_name(system.device),
        "said": [*record.held.record.get("said", []), *above_linear(figures)],
    }
    return store.commit("models", config.name, card, files)


@torch.no_grad()
def _posterior_means(system: System, data: Data, config: TrainConfig) -> Tensor:
    encoder: Any = system.networks[str(system.settings.encoder)]
    rows = torch.arange(len(data)).split(config.batch)
    return torch.cat([encoder.encode(data.rows(part, system.device).spins)[0].cpu() for part in rows])


def device_name(device: torch.device) -> str:
    """The kind of processor that decides the last bits."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
