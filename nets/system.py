"""The protocol of a generative system: its networks, what a step of training does, what it decodes, encodes, judges.

To add one: a file with a class of :class:`SystemSettings`, and a line in :data:`SYSTEMS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol

import torch
from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, SerializeAsAny
from torch import Tensor, nn

from physics.model import SpinModel
from physics.registry import Registry, Tagged

Labels = Mapping[str, Tensor]
"""By name, what a sampler says of each configuration, ``(B, ...)``."""

Draw = Callable[[int, int], Tensor]
"""Gaussian numbers ``(count, width)``."""

Width = Annotated[int, Field(gt=0, le=2**16)]
"""Of a layer or of a code: a network of wider ones fits nowhere."""


class Batch(NamedTuple):
    """Spins ``(B, components, L, L)`` and the labels that the system asked for.

    Attributes:
        done: share of the training's steps before this one.
    """

    spins: Tensor
    labels: Labels = MappingProxyType({})
    done: float = 0.0


class Decoder(Protocol):
    """A network that makes unit spins ``(B, components, L, L)`` of codes ``(B, latent_dim)`` and labels."""

    latent_dim: int

    def decode(self, z: Tensor, labels: Labels | None = None) -> Tensor: ...


class Confined:
    """A decoder of a spin model whose sites do not all exist: its spins are zero where there is none."""

    def __init__(self, decoder: Decoder, model: SpinModel):
        self.unconfined, self.model, self.latent_dim = decoder, model, decoder.latent_dim

    def decode(self, z: Tensor, labels: Labels | None = None) -> Tensor:
        return self.model.on_sites(self.unconfined.decode(z, labels))


def confined(decoder: Decoder, model: SpinModel, L: int) -> Decoder:
    """The decoder, its spins on the sites of the model alone: whatever decodes, for losses or figures, decodes so."""
    return decoder if model.sites(L).all() else Confined(decoder, model)


class SystemSettings(Tagged, ABC):
    """Sizes and loss weights of a generative system; its methods are what training and sampling need of it.

    Attributes:
        labels: of the data, that it is conditioned on.
        decoder, encoder, discriminator: which network makes spins of codes, codes of spins, and judges spins.
        held_out: names of what :meth:`held_out_losses` returns.
    """

    labels: ClassVar[tuple[str, ...]] = ()
    L: PositiveInt
    latent: Width
    learning_rate: PositiveFloat

    @property
    @abstractmethod
    def label(self) -> str:
        """Its name with the weights of its losses, in the name of an artifact."""

    def check(self, model: SpinModel) -> None:
        """Raise ValueError unless it makes configurations of this spin model."""

    @property
    def smallest_batch(self) -> int:
        """Configurations that a worker needs for a step."""
        return 1

    @property
    def kl_weight(self) -> float | None:
        """beta of a VAE, whose held-out losses are a reconstruction and a KL divergence; None of other systems."""
        return getattr(self, "beta", None) if {"reconstruction", "kl"} <= {*self.held_out} else None

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """By name, the losses of :meth:`step` whose weighted sum all networks minimise; none of an adversarial one."""
        return MappingProxyType({})

    @property
    def ramp(self) -> float:
        """Share of a training in which those weights still change."""
        return 0.0

    @property
    @abstractmethod
    def decoder(self) -> str: ...

    @property
    def encoder(self) -> str | None:
        return None

    @property
    def discriminator(self) -> str | None:
        return None

    @abstractmethod
    def networks(self, components: int) -> dict[str, Callable[[], nn.Module]]:
        """What makes each network, for spins of that many components, with weights from torch's generator.

        The decoder is a :class:`Decoder`; the encoder has ``encode``, spins to means and log-variances ``(B, latent)``;
        the discriminator maps spins to logits ``(B,)``.
        """

    def optimizers(self, networks: dict[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        """One for each network; Adam (0.9, 0.999), if the system does not say otherwise."""
        return adam(networks, self.learning_rate, (0.9, 0.999))

    @abstractmethod
    def step(self, system: System, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """One update of every network on a batch; returns the losses before it, as tensors."""

    def label_checks(self, spins: Tensor, labels: Labels) -> dict[str, Tensor]:
        """How far each configuration ``(B, components, L, L)`` is what its labels ask for, numbers ``(B,)`` by name."""
        return {}

    @property
    def held_out(self) -> tuple[str, ...]:
        return ()

    def held_out_losses(self, system: System, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Losses of a batch that is not trained on; none of a system that does not encode."""
        return {}


@dataclass
class System:
    """Networks that are trained together on data of a spin model, by name, with an optimizer for each."""

    settings: SystemSettings
    model: SpinModel
    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]

    @property
    def decoder(self) -> Decoder:
        network: Any = self.networks[self.settings.decoder]
        return confined(network, self.model, self.settings.L)

    @property
    def device(self) -> torch.device:
        return next(self.networks[self.settings.decoder].parameters()).device

    def mode(self, training: bool) -> None:
        for network in self.networks.values():
            network.train(training)


def build(settings: SystemSettings, model: SpinModel, device: torch.device | str = "cpu") -> System:
    """A system with weights drawn from torch's global generator, in the order of its networks."""
    networks = {name: make().to(device) for name, make in settings.networks(model.components).items()}
    return System(settings, model, networks, settings.optimizers(networks))


def adam(networks: dict[str, nn.Module], rate: float, betas: tuple[float, float]) -> dict[str, torch.optim.Optimizer]:
    """An Adam for each network."""
    return {name: torch.optim.Adam(network.parameters(), rate, betas) for name, network in networks.items()}


SYSTEMS: Registry[SystemSettings] = Registry(
    SystemSettings,
    "generative system",
    {
        "evae-2021": "nets.vae:VAEConfig",
        "vae-2022": "nets.vae:VAEConfig",
        "vae": "nets.vaegan:VAEGANConfig",
        "gan": "nets.vaegan:VAEGANConfig",
        "hybrid": "nets.vaegan:VAEGANConfig",
        "cwgan": "nets.unet:WGANConfig",
    },
)

AnySystem = Annotated[SerializeAsAny[SystemSettings], BeforeValidator(partial(SYSTEMS.parse, default="hybrid"))]
"""A field of settings that holds any generative system; the hybrid, if it names none."""
