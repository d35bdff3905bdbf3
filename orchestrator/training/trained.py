"""Trained systems from the store, for whoever samples, searches or looks into them; nothing is unpickled."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache, cached_property
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load as load_tensors
from torch import nn

from nets.collapse import DIVERSE
from nets.system import Labels, confined
from orchestrator.console import log
from orchestrator.data import shards
from orchestrator.data.request import DatasetConfig, of_card
from orchestrator.errors import RequestError
from orchestrator.store import Store
from orchestrator.training.request import kept, system_of
from physics.model import SpinModel

Network = TypeVar("Network", bound=nn.Module)


class TrainedModel:
    """A model of the store; each of its networks is loaded when it is asked for, in evaluation mode.

    Args:
        device: of networks and labels.

    Raises:
        RequestError: there is none of that name, and from what is asked for, if its file is missing or damaged.
    """

    def __init__(self, name: str, store: Store, device: str = "cpu"):
        self.name, self.store, self.device = name, store, device
        self.card: dict[str, Any] = model_card(name, store)
        self.settings = system_of(self.card)

    @cached_property
    def dataset(self) -> DatasetConfig:
        """What it was trained on."""
        card = self.store.card("datasets", self.card["config"]["dataset"])
        if card is None:
            raise RequestError(f"{self.store.root}: the data set of model {self.name} is missing")
        return of_card(card)

    @property
    def model(self) -> SpinModel:
        """The spin model of its data."""
        return self.dataset.hamiltonian

    @cached_property
    def decoder(self) -> Any:
        network: Any = self._network(self.settings.decoder)
        return confined(network, self.model, self.settings.L)

    @cached_property
    def encoder(self) -> Any:
        """A network with ``encode``; RequestError if the system does not encode."""
        if self.settings.encoder is None:
            raise RequestError(f"{self.name}: has no encoder; expected a system that encodes, such as vae or hybrid")
        return self._network(self.settings.encoder)

    @cached_property
    def discriminator(self) -> Any:
        """Spins to logits; RequestError if the system does not judge."""
        if self.settings.discriminator is None:
            raise RequestError(
                f"{self.name}: has no discriminator; expected a system that has one, such as gan or hybrid"
            )
        return self._network(self.settings.discriminator)

    def _network(self, part: str) -> nn.Module:
        network = self.settings.networks(self.model.components)[part]()
        loaded = load_weights(network, self.name, f"{part}.safetensors", self.store)
        return loaded.requires_grad_(False).to(self.device)

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        """Every label of the data, read once."""
        return shards.columns(self.dataset.name, self.store, self.dataset.sampler.labels)

    @cached_property
    def temperatures(self) -> list[float]:
        """Of its data, ascending."""
        return sorted({*map(float, self._columns["temperature"])})

    @property
    def baselines(self) -> list[str]:
        """Of a conditional system, names of what it is held against, see :meth:`SpinModel.baselines`."""
        return list(self.model.baselines(self.labels(1), 0)) if self.settings.labels else []

    @property
    def held_out(self) -> slice:
        """The configurations of its data that it was not trained on."""
        return slice(kept(self.dataset.configurations, self.card["config"]["validation"]), None)

    def labels(self, count: int) -> Labels:
        """Labels ``(count, ...)`` to sample with: those of the data's last configurations, which are not trained on."""
        return self.labels_of(np.arange(-count, 0))

    def labels_of(self, rows: np.ndarray, every: bool = False) -> Labels:
        """Labels ``(n, ...)`` of configurations of its data, counted around; none if the system is not conditioned.

        Args:
            every: all labels that the data have, not those alone that the system is conditioned on.
        """
        if not self.settings.labels:
            return {}
        rows = rows % self.dataset.configurations
        wanted = self._columns if every else self.settings.labels
        return {name: torch.from_numpy(self._columns[name][rows]).to(self.device) for name in wanted}


def load_weights(network: Network, name: str, file: str, store: Store) -> Network:
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
    """The states that were stored with a model, ``(n, components, L, L)``."""
    content = np.frombuffer(store.read("models", name, "generated.float32"), np.float32)
    trained = TrainedModel(name, store)
    L = trained.settings.L
    return content.reshape(-1, trained.model.components, L, L)


def winner(name: str, store: Store) -> dict[str, np.ndarray]:
    """Of an optimum the ``code`` ``(latent,)``, and ``(components, L, L)`` its ``spins`` and the ``rested_spins``."""
    row = pd.read_parquet(io.BytesIO(store.read("optima", name, "winner.parquet"))).iloc[0]
    found = {key: np.asarray(row[key], np.float32) for key in ("code", "spins", "rested_spins") if key in row}
    return {key: part if key == "code" else part.reshape(-1, row["L"], row["L"]) for key, part in found.items()}


def model_card(name: str, store: Store) -> dict[str, Any]:
    """The card of a model, or RequestError."""
    card = store.card("models", name)
    if card is None:
        raise RequestError(f"{store.root}: no model {name}")
    if _dataset(card) is None:
        raise RequestError(f"{store.folder('models', name)}: damaged card: expected the name of a data set")
    return card


def best(
    store: Store, fits: Callable[[DatasetConfig], bool] = lambda data: True, needs: Collection[str] = ()
) -> str | None:
    """The model to search: of those that make diverse states like their data, the one that does so best.

    Only models of one data set are compared, that of the newest model whose data fit.  None if there is none.

    Args:
        needs: networks that it has to have, such as "discriminator".
    """

    @cache
    def fit(name: str) -> bool:
        data = store.card("datasets", name)
        return data is not None and fits(of_card(data))

    def suits(name: str, card: dict[str, Any]) -> bool:
        with _left_out(name):
            networks = [getattr(system_of(card), network) for network in needs]
            return all(networks) and fit(card["config"]["dataset"])
        return False

    diverse = [(name, card) for _, name, card in store.cards("models") if _is_diverse(card) and suits(name, card)]
    if not diverse:
        return None
    dataset = max(diverse, key=lambda entry: entry[1].get("created", ""))[1]["config"]["dataset"]
    alike = [entry for entry in diverse if entry[1]["config"]["dataset"] == dataset]
    if len(alike) < len(diverse):
        log(f"models of several data sets; taking the best of {dataset}, whose are the newest (--model takes another)")
    return min(alike, key=lambda entry: generation_error(entry[1]["figures"]))[0]


@contextlib.contextmanager
def _left_out(name: str) -> Iterator[None]:
    """Say so if a model that nobody named cannot be read, such as one of a class that is not to be imported."""
    try:
        yield
    except RequestError as error:
        log(f"models/{name} is left out: {error}")


def _is_diverse(card: dict[str, Any]) -> bool:
    """Whether a card says so, and what else models are compared by."""
    figures = card.get("figures")
    known = figures if isinstance(figures, dict) else {}
    said = [known.get(key) for key in ("diversity", "energy_mean")]
    numbers = all(isinstance(value, int | float) for value in said) and _dataset(card) is not None
    return numbers and known["diversity"] >= DIVERSE


def _dataset(card: dict[str, Any]) -> str | None:
    """The name of the data set of a model; None if its card says none."""
    config = card.get("config")
    name = config.get("dataset") if isinstance(config, dict) else None
    return name if isinstance(name, str) else None


def generation_error(figures: Mapping[str, float]) -> float:
    """How far generated states are from the data, from the figures of a model's card: 0 where they are alike.

    The difference of the mean energies in standard deviations of the data's, and |ln| of the diversity.
    """
    apart = abs(figures["energy_mean"] - figures.get("data_energy_mean", math.inf))
    return apart / max(figures.get("data_energy_std", 0.0), 1e-6) + abs(math.log(max(figures["diversity"], 1e-6)))


def conditioned_on(label: str, store: Store) -> str:
    """The newest model that is conditioned on a label, or RequestError."""
    found = []
    for _, name, card in store.cards("models"):
        with _left_out(name):
            found += [(card.get("created", ""), name)] if label in system_of(card).labels else []
    if not found:
        raise RequestError(f"{store.root}: no model that takes {label}; orch train --model xy makes one")
    return max(found)[1]
