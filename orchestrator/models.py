"""Trained systems as artifacts: made when missing, continued when begun, loaded when there."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from tensorboardX import SummaryWriter
from torch import Tensor, distributed, nn

from nets.collapse import COLLAPSED, DIVERSE
from nets.layers import rank, workers
from nets.metrics import ensemble
from nets.sampling import decode, prior
from nets.systems import SYSTEMS, build
from nets.training import Rows, System, fit, restore, state, validate
from nets.vae import VAE, VAEConfig
from nets.vaegan import Discriminator, Encoder, Generator, VAEGANConfig
from orchestrator import datasets, report
from orchestrator.config import DatasetConfig, TrainConfig
from orchestrator.errors import RequestError
from orchestrator.store import Store, digest, versions

GENERATED = 100  # states that a model is judged by, as in the 2021 paper
FAITHFUL = 0.15  # validation L_RC; independent directions have 2/3
KEPT = 16  # of them, stored for pictures
REPORT_STEPS = 50
PAGE_SHARE = 200  # times as long between two pages as one takes to draw
EVENTS = "events"  # of TensorBoard, beside the artifact's own files

Network = TypeVar("Network", bound=nn.Module)
Tell = Callable[[int, dict[str, float]], None]
"""Steps done, and the mean losses since it was called before."""


@dataclass
class Course:
    """How far a training has come: steps done, losses on the way, and states generated on the way."""

    done: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    pictures: dict[int, Tensor] = field(default_factory=dict)


def make(
    config: TrainConfig,
    store: Store,
    device: torch.device | str = "cpu",
    tell: Tell = lambda done, losses: None,
    page: bool = False,
) -> tuple[str, dict[str, Any]]:
    """Name and card of a system, trained unless it is in the store, from its checkpoint if it was begun.

    Its random numbers are seeded by its request, so it is the same wherever and whenever it is made.  Called by all
    workers of a group, they share each batch, and the first of them writes.

    Args:
        page: with a report and events for TensorBoard, both written as training goes.

    Raises:
        DivergedError: a loss is not finite; the checkpoint before it is kept.
        RequestError: the checkpoint or the parent is damaged or of another architecture.
    """
    name = config.name
    if (card := store.card("models", name)) is not None:
        return name, card
    started = time.monotonic()
    system, course = begin(config, store, device)
    seed = int(digest(config.request), 16)
    spins = _resident(datasets.read(config.dataset.name, store), system.device)
    record = recorder(system, config, course, store, page) if rank() == 0 else None

    def reached(done: int, losses: dict[str, float]) -> None:
        if record:
            record(done, losses)
        tell(done, losses)

    fit(system, spins[: config.kept], config.batch, range(course.done, config.steps), seed, reached, REPORT_STEPS)
    if record:
        validation = validate(system, spins[config.kept :], config.batch, seed)
        _commit(system, config, course, validation, spins, time.monotonic() - started, store, page)
    if workers() > 1:
        distributed.barrier()
    card = store.card("models", name)
    if card is None:
        raise RequestError(f"{name}: the first worker wrote it elsewhere than {store.root}; expected a shared store")
    return name, card


def begin(config: TrainConfig, store: Store, device: torch.device | str = "cpu") -> tuple[System, Course]:
    """A system with the weights to go on from: of its checkpoint, else of its parent, else random.

    Raises:
        RequestError: the checkpoint or the parent is damaged or of another architecture.
    """
    torch.manual_seed(int(digest(config.request), 16))
    system = build(config.system, config.dataset.hamiltonian, device)
    course = resume(system, config.name, store)
    if config.parent and not course.done:
        for part, network in system.networks.items():
            fill(network, config.parent, f"{part}.safetensors", store)
    return system, course


def _resident(spins: datasets.Spins, device: torch.device) -> Rows:
    """On a GPU where there is room for them, else read from their files as they are asked for."""
    bytes_needed = 4 * 3 * len(spins) * spins.L**2
    if device.type == "cuda" and 2 * bytes_needed < torch.cuda.mem_get_info(device)[0]:
        return spins.tensor().to(device)
    return spins


def recorder(system: System, config: TrainConfig, course: Course, store: Store, page: bool) -> Tell:
    """What the first worker does with the losses: keep them, show them, and save all that training goes on from."""
    folder = store.folder("models", config.name)
    events = SummaryWriter(f"{folder}/{EVENTS}", purge_step=course.done) if page and store.local else None
    codes = prior(report.SHOWN, config.system.latent, config.seed)
    saved = paged = time.monotonic()
    page_seconds = 0.0

    def record(done: int, losses: dict[str, float]) -> None:
        nonlocal saved, paged, page_seconds
        course.done = done
        course.history.append({"step": done, **losses})
        pictured = page and ((done // REPORT_STEPS).bit_count() == 1 or done == config.steps)  # as the steps double
        if pictured:
            course.pictures[done] = _generate(system, codes)
        if events:
            for key, value in losses.items():
                events.add_scalar(key, value, done)
            if pictured:
                events.add_image("generated", report.strip(course.pictures[done].numpy()), done, dataformats="HWC")
            if done == config.steps:
                events.close()
        if done < config.steps and time.monotonic() - saved >= config.checkpoint_seconds:
            save_checkpoint(system, course, config.name, store)
            saved = time.monotonic()
            if page and saved - paged >= PAGE_SHARE * page_seconds:
                for file, content in report.training(config, course.history, course.pictures, {}, {}).items():
                    store.write_file(f"models/{config.name}/{file}", content)
                paged = time.monotonic()
                page_seconds = paged - saved

    return record


def _generate(system: System, codes: np.ndarray) -> Tensor:
    system.mode(training=False)
    return decode(system.networks[system.decoder], torch.from_numpy(codes).to(system.device)).cpu().contiguous()  # type: ignore[arg-type]


def _checkpoint(name: str) -> str:
    return f"models/{name}/checkpoint.safetensors"


def save_checkpoint(system: System, course: Course, name: str, store: Store) -> None:
    """Networks, optimizers, position, losses and pictures so far, in place of the checkpoint before."""
    tensors = state(system) | {f"pictures.{step}": spins for step, spins in course.pictures.items()}
    metadata = {"step": str(course.done), "history": json.dumps(course.history)}
    store.write_file(_checkpoint(name), save_tensors(tensors, metadata))


def resume(system: System, name: str, store: Store) -> Course:
    """The course so far of the checkpoint, which is put into ``system``; a new one where there is none.

    Raises:
        RequestError: the checkpoint is damaged or of another architecture.
    """
    path = f"{store.path}/{_checkpoint(name)}"
    if not store.fs.exists(path):
        return Course()
    content = store.fs.cat_file(path)
    try:
        tensors = load_tensors(content)
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size])["__metadata__"]
        pictures = {int(key.split(".")[1]): tensors.pop(key) for key in list(tensors) if key.startswith("pictures.")}
        restore(system, tensors)
        return Course(int(metadata["step"]), json.loads(metadata["history"]), dict(sorted(pictures.items())))
    except (SafetensorError, KeyError, RuntimeError, ValueError) as error:
        raise RequestError(f"{path}: not a checkpoint of this model: {str(error).splitlines()[0]}") from None


def _commit(
    system: System,
    config: TrainConfig,
    course: Course,
    validation: dict[str, float],
    spins: Rows,
    seconds: float,
    store: Store,
    page: bool,
) -> None:
    name, hamiltonian = config.name, config.dataset.hamiltonian
    generated = _generate(system, prior(GENERATED, config.system.latent, config.seed))
    data = ensemble(spins[torch.arange(min(GENERATED, len(spins)))].cpu(), hamiltonian)
    figures = ensemble(generated, hamiltonian)
    figures |= {"data_kspace_mse": data["kspace_mse"], "diversity": figures["kspace_mse"] / data["kspace_mse"]}
    figures |= {f"validation_{key}": value for key, value in validation.items()}
    files = {
        f"{part}.safetensors": save_tensors(
            {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
        )
        for part, network in system.networks.items()
    }
    files["generated.float32"] = generated[:KEPT].numpy().tobytes()
    if page:
        files |= report.training(config, course.history, course.pictures, figures, data)
    card = {
        "kind": "model",
        "config": config.request,
        "parents": [f"datasets/{config.dataset.name}", *([f"models/{config.parent}"] if config.parent else [])],
        "figures": figures,
        "history": course.history,
        "seconds": round(seconds, 2),
        "versions": versions(),
    }
    store.commit("models", name, card, files)
    with contextlib.suppress(FileNotFoundError):  # another trial may have made the same stage
        store.fs.rm_file(f"{store.path}/{_checkpoint(name)}")


def collapsed(card: dict[str, Any]) -> bool:
    return card["figures"]["diversity"] < COLLAPSED


def load(name: str, store: Store) -> VAE | Generator:
    """A model from the store that decodes, in evaluation mode; nothing is unpickled.

    Raises:
        RequestError: it is missing, damaged, or of another architecture than its card says.
    """
    config = _card(name, store)["config"]["model"]
    if SYSTEMS[config["name"]] is VAEConfig:
        return fill(VAE(VAEConfig(**config)), name, "vae.safetensors", store).requires_grad_(False)
    return fill(Generator(VAEGANConfig(**config)), name, "generator.safetensors", store).requires_grad_(False)


def has(name: str, part: str, store: Store) -> bool:
    """Whether a stored model has an "encoder" or a "discriminator"."""
    files = _card(name, store)["files"]
    return f"{part}.safetensors" in files or (part == "encoder" and "vae.safetensors" in files)


def encoder(name: str, store: Store) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Of a stored model, in evaluation mode: spins to means and log-variances.

    Raises:
        RequestError: the model has none, or its file is damaged.
    """
    card = _card(name, store)
    config = card["config"]["model"]
    if isinstance(model := load(name, store), VAE):
        return model.encode
    if not has(name, "encoder", store):
        raise RequestError(f"{name}: has no encoder; expected a vae or a hybrid")
    return fill(Encoder(VAEGANConfig(**config)), name, "encoder.safetensors", store).requires_grad_(False)


def discriminator(name: str, store: Store) -> Discriminator:
    """Of a stored model, in evaluation mode.

    Raises:
        RequestError: the model has none, or its file is damaged.
    """
    card = _card(name, store)
    if not has(name, "discriminator", store):
        raise RequestError(f"{name}: has no discriminator; expected a gan or a hybrid")
    network = Discriminator(VAEGANConfig(**card["config"]["model"]))
    return fill(network, name, "discriminator.safetensors", store).requires_grad_(False)


def _card(name: str, store: Store) -> dict[str, Any]:
    card = store.card("models", name)
    if card is None:
        raise RequestError(f"{store.root}: no model {name}")
    return card


def fill(network: Network, name: str, file: str, store: Store) -> Network:
    """A network with the weights of a stored model, in evaluation mode.

    Raises:
        RequestError: the file is missing, damaged, or of another architecture.
    """
    content = store.read("models", name, file)
    try:
        network.load_state_dict(load_tensors(content))
    except Exception as error:  # safetensors and torch each have several of their own
        raise RequestError(f"models/{name}: {file} does not fit the card: {str(error).splitlines()[0]}") from None
    return network.eval()


def generated(name: str, store: Store) -> np.ndarray:
    """The stored states of a model, ``(KEPT, 3, L, L)``."""
    content = store.read("models", name, "generated.float32")
    L = lattice(name, store)
    return np.frombuffer(content, np.float32).reshape(-1, 3, L, L)


def label(name: str, store: Store) -> str:
    """The system of a stored model with the weights of its losses."""
    config = _card(name, store)["config"]["model"]
    return SYSTEMS[config["name"]](**config).label


def lattice(name: str, store: Store) -> int:
    """L of a stored model."""
    return _card(name, store)["config"]["model"]["L"]


def dataset_config(name: str, store: Store) -> DatasetConfig:
    """The data set that a model was trained on."""
    data = store.card("datasets", _card(name, store)["config"]["dataset"])
    if data is None:
        raise RequestError(f"{store.root}: the data set of model {name} is missing")
    return DatasetConfig(**data["config"])


def best(store: Store) -> str | None:
    """The model to search: of those that make diverse states, one that still reconstructs, lowest in energy.

    Past the point where the Hamiltonian loss wins over the reconstruction, codes no longer stand for states of the
    data; such models are taken only when there is no other.  None if no model is diverse.
    """

    def rank(entry: tuple[str, dict[str, float]]) -> tuple[bool, float]:
        return entry[1].get("validation_reconstruction", math.inf) > FAITHFUL, entry[1]["energy_mean"]

    cards = store.cards("models")
    fit = [(name, card["figures"]) for _, name, card in cards if card["figures"]["diversity"] >= DIVERSE]
    return min(fit, key=rank)[0] if fit else None
