"""Variational autoencoders of spin configurations: of the 2022 paper, and of 2021 with the Hamiltonian in its loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from nets.layers import BatchNorm1d, BatchNorm2d, CircularConv2d, UpsampleConv2d, unit_spins
from nets.losses import kl_divergence, reconstruction
from nets.system import Batch, Draw, Labels, System, SystemSettings, Width
from nets.training import update
from physics.registry import Later

WIDTHS = {"evae-2021": (6, 12, 24, 48), "vae-2022": (16, 32, 64, 128)}
RAMP_START = 1e-6  # of beta


class VAEConfig(SystemSettings):
    """Sizes of a :class:`VAE` and weights of its losses.

    Attributes:
        name: whose convolution widths; "evae-2021" has 6, 12, 24, 48 and "vae-2022" 16, 32, 64, 128.
        widths: channels of the encoder's convolutions, the decoder's in reverse; those of the name if empty.  Each is
            pooled by 2.  What is left of the lattice should be finer than a period of the texture: in the papers a cell
            of the last layer is 16 sites and the period 21.6.
        L: lattice size, which the poolings divide.
        latent: dimension of the latent space.
        beta, gamma: weights of the KL divergence and of the energy density in the loss.
        beta_ramp: share of the training in which beta rises from 1e-6 to its value, by equal factors a step; started at
            its value it would collapse the posterior.
        gamma_after: share of the training before the energy is in its loss; with it from random weights on, already
            gamma = 1 makes the uniform state.
    """

    name: Literal["evae-2021", "vae-2022"] = "evae-2021"
    L: PositiveInt = 32
    latent: Width = 100
    hidden: Width = 512
    widths: Annotated[tuple[Width, ...], Field(max_length=10), Later()] = ()
    kernel: Annotated[int, Field(ge=3, le=9)] = 5
    beta: NonNegativeFloat = 1e-3
    gamma: NonNegativeFloat = 0.0
    beta_ramp: Annotated[float, Field(ge=0, le=1), Later()] = 0.0
    gamma_after: Annotated[float, Field(ge=0, lt=1), Later()] = 0.0
    learning_rate: PositiveFloat = 1e-3

    @model_validator(mode="after")
    def _pooled(self) -> Self:
        if self.L % self.cell:
            raise ValueError(f"L: expected a multiple of {self.cell}, found {self.L}")
        return self

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the encoder's convolutions."""
        return self.widths or WIDTHS[self.name]

    @property
    def cell(self) -> int:
        """Sites along the side of what one site of the last convolution, pooled, stands for."""
        return 2 ** len(self.channels)

    @property
    def label(self) -> str:
        """The system with the weights of its losses."""
        return f"{self.name}-b{self.beta:g}-g{self.gamma:g}"

    @property
    def decoder(self) -> str:
        return "vae"

    @property
    def encoder(self) -> str:
        return "vae"

    @property
    def loss_weights(self) -> dict[str, float]:
        return {"reconstruction": 1.0, "kl": self.beta, "energy": self.gamma}

    @property
    def ramp(self) -> float:
        return max(self.beta_ramp, self.gamma_after)

    def networks(self, components: int) -> dict[str, Callable[[], nn.Module]]:
        return {"vae": lambda: VAE(self, components)}

    @property
    def held_out(self) -> tuple[str, ...]:
        return "reconstruction", "kl", "energy"

    def held_out_losses(self, system: System, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """L_RC, L_KL and L_H of a batch, the code drawn as mean + sigma * N(0, 1)."""
        model = system.networks["vae"]
        assert isinstance(model, VAE)
        mean, log_variance = model.encode(batch.spins)
        output = system.decoder.decode(mean + torch.exp(0.5 * log_variance) * draw(*mean.shape))
        return {
            "reconstruction": reconstruction(output, batch.spins, system.model.filling(self.L)),
            "kl": kl_divergence(mean, log_variance),
            "energy": system.model.energy(output).mean(),
        }

    def _beta(self, done: float) -> float:
        """Along the ramp, by the share of the training that is done."""
        if done >= self.beta_ramp:
            return self.beta
        start = min(self.beta, RAMP_START)
        return start * (self.beta / start) ** (done / self.beta_ramp) if start else 0.0

    def step(self, system: System, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """One update down L_RC + beta L_KL + gamma L_H (2021, equation (3)); returns the three before it."""
        losses = self.held_out_losses(system, batch, draw)
        gamma = self.gamma if batch.done >= self.gamma_after else 0.0
        loss = losses["reconstruction"] + self._beta(batch.done) * losses["kl"] + gamma * losses["energy"]
        update(system, (loss, ["vae"]))
        return losses


class VAE(nn.Module):
    """Encoder: circular convolutions, each pooled by 2, and a dense layer to means and log-variances.
    Decoder: two dense layers, as many upsampled circular convolutions, one plain, and unit length at each site.

    Source: E-VAE (2021), "Detailed network structures"; latent optimization (2022), figure 6.
    """

    def __init__(self, config: VAEConfig, components: int = 3):
        super().__init__()
        self.config = config
        self.latent_dim = config.latent
        widths, kernel = config.channels, config.kernel
        side = config.L // config.cell
        flat = widths[-1] * side * side

        convolutions: list[nn.Module] = []
        for i, o in zip((components, *widths[:-1]), widths, strict=True):
            convolutions += [CircularConv2d(i, o, kernel), BatchNorm2d(o), nn.LeakyReLU(), nn.MaxPool2d(2)]
        self.encoder = nn.Sequential(
            *convolutions,
            nn.Flatten(),
            *_dense(flat, config.hidden),
            nn.Linear(config.hidden, 2 * config.latent),
        )
        upward: list[nn.Module] = []
        for i, o in zip(widths[::-1], (*widths[-2::-1], components), strict=True):
            upward += [UpsampleConv2d(i, o, kernel), BatchNorm2d(o), nn.LeakyReLU()]
        self.decoder = nn.Sequential(
            *_dense(config.latent, config.hidden),
            *_dense(config.hidden, flat),
            nn.Unflatten(1, (widths[-1], side, side)),
            *upward,
            CircularConv2d(components, components, kernel),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances, each ``(B, latent)``, of spins ``(B, components, L, L)``."""
        mean, log_variance = self.encoder(spins.contiguous(memory_format=torch.channels_last)).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: Tensor, labels: Labels | None = None) -> Tensor:
        """Unit spins ``(B, components, L, L)`` of codes ``(B, latent)``."""
        return unit_spins(self.decoder(z))


def _dense(i: int, o: int) -> list[nn.Module]:
    return [nn.Linear(i, o), BatchNorm1d(o), nn.LeakyReLU()]
