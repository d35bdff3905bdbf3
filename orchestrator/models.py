"""Stages of a scan as artifacts: trained when missing, loaded when there."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from nets.collapse import COLLAPSED, DIVERSE, Stage
from nets.metrics import ensemble
from nets.sampling import decode, prior
from nets.training import Training, train, validate
from nets.vae import VAE, WIDTHS, VAEConfig
from nets.vaegan import Generator, VAEGANConfig
from orchestrator.config import DatasetConfig, SweepConfig
from orchestrator.datasets import Spins
from orchestrator.errors import RequestError
from orchestrator.store import Store, digest, versions
from physics.hamiltonian import Hamiltonian

GENERATED = 100  # states that a stage is judged by, as in the 2021 paper
FAITHFUL = 0.15  # validation L_RC; independent directions have 2/3
KEPT = 16  # of them, stored for pictures


def stage_request(config: SweepConfig, seed: int, stage: Stage, parent: str | None) -> dict[str, Any]:
    """All that makes a stage; its hash names the artifact."""
    training = config.training
    return {
        "dataset": config.dataset.name,
        "model": config.model.on(config.dataset.L).model_dump(mode="json"),
        "training": training.model_dump(mode="json", exclude={"warmup_steps", "steps"}),
        "steps": training.warmup_steps if stage.parent is None else training.steps,
        "beta": stage.beta,
        "gamma": stage.gamma,
        "seed": seed,
        "parent": parent,
    }


def stage_name(request: dict[str, Any]) -> str:
    return f"evae-b{request['beta']:g}-g{request['gamma']:g}-s{request['seed']}-{digest(request)}"


def make_stage(
    request: dict[str, Any], spins: Tensor | Spins, hamiltonian: Hamiltonian, store: Store
) -> tuple[str, dict[str, Any]]:
    """Name and card of a stage, trained on ``spins`` from its parent's weights unless it is in the store.

    Its random numbers are seeded by its request, so it is the same wherever and whenever it is made.
    """
    name = stage_name(request)
    if (card := store.card("models", name)) is not None:
        return name, card
    started = time.monotonic()
    seed = int(digest(request), 16) % 2**32
    training = Training(**request["training"])
    if request["parent"] is None:
        torch.manual_seed(seed)
        model = VAE(VAEConfig(**request["model"]))
    else:
        parent = load(request["parent"], store)
        assert isinstance(parent, VAE)
        model = parent
    device = spins.device if isinstance(spins, Tensor) else torch.device("cpu")
    model.to(device)
    held = training.split(len(spins))
    history = train(
        model,
        spins[:held],
        hamiltonian,
        training,
        request["beta"],
        request["gamma"],
        request["steps"],
        seed,
    )
    validation = validate(model, spins[held:], hamiltonian, training.batch, seed)
    codes = torch.from_numpy(prior(GENERATED, model.latent_dim, request["seed"])).to(device)
    generated = decode(model, codes).cpu()
    data = ensemble(spins[torch.arange(GENERATED)].cpu(), hamiltonian)
    figures = ensemble(generated, hamiltonian)
    weights = {key: value.cpu().contiguous() for key, value in model.state_dict().items()}
    card = store.commit(
        "models",
        name,
        {
            "kind": "model",
            "config": request,
            "parents": [
                f"datasets/{request['dataset']}",
                *([f"models/{request['parent']}"] if request["parent"] else []),
            ],
            "figures": {
                **figures,
                **{f"validation_{key}": value for key, value in validation.items()},
                "data_kspace_mse": data["kspace_mse"],
                "diversity": figures["kspace_mse"] / data["kspace_mse"],
            },
            "history": history,
            "seconds": round(time.monotonic() - started, 2),
            "versions": versions(),
        },
        {
            "weights.safetensors": save_tensors(weights),
            "generated.float32": generated[:KEPT].numpy().tobytes(),
        },
    )
    return name, card


def collapsed(card: dict[str, Any]) -> bool:
    return card["figures"]["diversity"] < COLLAPSED


def load(name: str, store: Store) -> VAE | Generator:
    """A model from the store that decodes, in evaluation mode; nothing is unpickled.

    Raises:
        RequestError: it is missing, damaged, or of another architecture than its card says.
    """
    card = store.card("models", name)
    if card is None:
        raise RequestError(f"{store.root}: no model {name}")
    config = card["config"]["model"]
    model: VAE | Generator
    if config["name"] in WIDTHS:
        model, file = VAE(VAEConfig(**config)), "weights.safetensors"
    else:
        model, file = Generator(VAEGANConfig(**config)), "generator.safetensors"
    fill(model, name, file, store)
    return model.eval()


def fill(network: torch.nn.Module, name: str, file: str, store: Store) -> None:
    """Weights of a stored model into a network.

    Raises:
        RequestError: the file is missing, damaged, or of another architecture.
    """
    content = store.read("models", name, file)
    try:
        network.load_state_dict(load_tensors(content))
    except Exception as error:  # safetensors and torch each have several of their own
        raise RequestError(f"models/{name}: {file} does not fit the card: {str(error).splitlines()[0]}") from None


def generated(name: str, store: Store) -> np.ndarray:
    """The stored states of a stage, ``(KEPT, 3, L, L)``."""
    card = store.card("models", name)
    assert card is not None
    L = card["config"]["model"]["L"]
    return np.frombuffer(store.read("models", name, "generated.float32"), np.float32).reshape(-1, 3, L, L)


def dataset_config(name: str, store: Store) -> DatasetConfig:
    """The data set that a model was trained on."""
    card = store.card("models", name)
    data = store.card("datasets", card["config"]["dataset"]) if card else None
    if data is None:
        raise RequestError(f"{store.root}: the data set of model {name} is missing")
    return DatasetConfig(**data["config"])


def best(store: Store) -> str | None:
    """The model to search: of those that make diverse states, one that still reconstructs, lowest in energy.

    Past the point where the Hamiltonian loss wins over the reconstruction, codes no longer stand for states of the
    data; such models are taken only when there is no other.  None if no model is diverse.
    """

    def rank(entry: tuple[str, dict[str, float]]) -> tuple[bool, float]:
        return entry[1]["validation_reconstruction"] > FAITHFUL, entry[1]["energy_mean"]

    cards = ((name, card) for _, name, card in store.cards("models") if card["config"].get("gamma"))
    fit = [(name, card["figures"]) for name, card in cards if card["figures"]["diversity"] >= DIVERSE]
    return min(fit, key=rank)[0] if fit else None
