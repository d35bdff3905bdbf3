"""Residual encoder, generator and discriminator of the 2023 paper, and the three ways to train them.

With an encoder and a generator they are a VAE, with a generator and a discriminator a GAN, with all three the hybrid:
:meth:`VAEGANConfig.step` holds equations (1) to (3) and does whatever the networks that are there ask for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field, NonNegativeFloat, PositiveFloat
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from nets.layers import BatchNorm2d, CircularConv2d, Halving, UpsampleConv2d, unit_spins
from nets.losses import discriminator_loss, generator_loss, kl_divergence, reconstruction
from nets.system import Batch, Draw, Labels, System, SystemSettings, Width, adam
from nets.training import update

SLOPE = 0.2  # of the leaky ReLU, which the paper leaves open; SNGAN's


def _four_times_a_power_of_two(L: int) -> int:
    if L < 16 or L & (L - 1):
        raise ValueError("expected 16, 32, 64, ...")
    return L


class VAEGANConfig(SystemSettings):
    """Sizes of the networks and how they are trained together.

    Each halving of the lattice, from L down to 4, doubles the channels from ``width`` up to ``16 width``.

    Attributes:
        name: "vae" has no discriminator, "gan" no encoder, "hybrid" all three.
        latent: dimension of the latent space, 128 in the paper.
        width: channels at the finest scale; 64 in the paper at L = 128.
        beta: weight of the KL divergence in equation (1).
        gamma: weight of the adversarial loss in the hybrid's equation (3).
        precision: of the networks' arithmetic in training; weights, losses and moments are float32 with either.
    """

    name: Literal["vae", "gan", "hybrid"] = "hybrid"
    L: Annotated[int, AfterValidator(_four_times_a_power_of_two)] = 32
    latent: Width = 64
    width: Annotated[int, Field(gt=0, le=2**12)] = 32
    beta: NonNegativeFloat = 1e-3
    gamma: NonNegativeFloat = 1e-3
    learning_rate: PositiveFloat = 2e-4
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.0, 0.9)
    precision: Literal["float32", "bfloat16"] = "float32"

    @property
    def label(self) -> str:
        """The system with the weights that its losses have."""
        weights = {"gan": "", "vae": f"-b{self.beta:g}", "hybrid": f"-b{self.beta:g}-g{self.gamma:g}"}
        return self.name + weights[self.name]

    @property
    def widths(self) -> list[int]:
        """Channels at each scale, finest first; one entry a halving."""
        halvings = self.L.bit_length() - 3
        return [self.width * min(2**i, 16) for i in range(halvings)]

    @property
    def decoder(self) -> str:
        return "generator"

    @property
    def encoder(self) -> str | None:
        return None if self.name == "gan" else "encoder"

    @property
    def discriminator(self) -> str | None:
        return None if self.name == "vae" else "discriminator"

    def networks(self, components: int) -> dict[str, Callable[[], nn.Module]]:
        made: dict[str, Callable[[], nn.Module]] = {"generator": lambda: Generator(self, components)}
        if self.encoder:
            made["encoder"] = lambda: Encoder(self, components)
        if self.discriminator:
            made["discriminator"] = lambda: Discriminator(self, components)
        return made

    def optimizers(self, networks: dict[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        return adam(networks, self.learning_rate, self.betas)

    def _mixed(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, self.precision == "bfloat16")

    def _autoencode(self, system: System, spins: Tensor, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """G(z_E), and the terms of equation (1)."""
        with self._mixed(spins.device):
            mean, log_variance = system.networks["encoder"](spins)
            output = system.decoder.decode(mean + torch.exp(0.5 * log_variance) * draw(*mean.shape))
        compared = reconstruction(output, spins, system.model.filling(self.L))
        return output, {"reconstruction": compared, "kl": kl_divergence(mean, log_variance)}

    @property
    def loss_weights(self) -> dict[str, float]:
        return {"reconstruction": 1.0, "kl": self.beta} if self.name == "vae" else {}

    @property
    def held_out(self) -> tuple[str, ...]:
        return ("reconstruction", "kl") if self.encoder else ()

    def held_out_losses(self, system: System, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """L_RC and L_KL of a batch, where there is an encoder."""
        return self._autoencode(system, batch.spins, draw)[1] if self.encoder else {}

    def step(self, system: System, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """One update of every network on a batch; returns the losses before it, as tensors.

        Equation (1): L_VAE = mean (x - G(z_E))^2 + beta KL.  Equation (2): the non-saturating losses of D and G.
        Equation (3): E minimises L_VAE, G minimises L_VAE + gamma L_adv, and D sees as fake both G(z_p) and G(z_E),
        half each.

        Source: VAE-GAN hybrid (2023), "VAE-GAN hybrid model".
        """
        spins = batch.spins
        G, D = system.decoder, system.networks.get("discriminator")
        losses: dict[str, Tensor] = {}
        fakes: list[Tensor] = []
        if D is not None:
            with self._mixed(spins.device):
                fakes.append(G.decode(draw(len(spins), self.latent)))
        if self.encoder:
            output, losses = self._autoencode(system, spins, draw)
            fakes.append(output)
            variational = losses["reconstruction"] + self.beta * losses["kl"]
        if D is None:
            update(system, (variational, ["generator", "encoder"]))
            return losses

        with self._mixed(spins.device):
            real, *shown = D(torch.cat([spins, *fakes]).detach()).split(len(spins))
        losses["discriminator"] = discriminator_loss(real, shown)
        update(system, (losses["discriminator"], ["discriminator"]))
        with self._mixed(spins.device):
            shown = D(torch.cat(fakes)).split(len(spins))
        losses["generator"] = generator_loss(shown)
        if self.encoder:
            total = variational + self.gamma * losses["generator"]
            update(system, (total, ["generator"]), (variational, ["encoder"]))
        else:
            update(system, (losses["generator"], ["generator"]))
        return losses


def _activation(channels: int, normalised: bool) -> list[nn.Module]:
    return [*([BatchNorm2d(channels)] if normalised else []), nn.LeakyReLU(SLOPE)]


class ResBlock(nn.Module):
    """Pre-activation residual block that doubles or halves the lattice (figure 6a).

    Args:
        normalised: with batch norm; without it, as in the discriminator, every convolution is spectrally normalised.
    """

    def __init__(self, i: int, o: int, direction: Literal["up", "down"], normalised: bool = True):
        super().__init__()
        bound: Callable[[nn.Module], nn.Module] = nn.Identity() if normalised else spectral_norm
        first: nn.Module
        second: nn.Module
        straight: nn.Module
        if direction == "up":
            first, second, straight = UpsampleConv2d(i, o, 3), CircularConv2d(o, o, 3), UpsampleConv2d(i, o, 1)
        else:
            first, second, straight = CircularConv2d(i, o, 3), Halving(o, o), Halving(i, o)
        self.residual = nn.Sequential(
            *_activation(i, normalised), bound(first), *_activation(o, normalised), bound(second)
        )
        self.straight = bound(straight)

    def forward(self, x: Tensor) -> Tensor:
        return self.straight(x) + self.residual(x)


class Encoder(nn.Module):
    """Spins ``(B, components, L, L)`` to means and log-variances, each ``(B, latent)``."""

    def __init__(self, config: VAEGANConfig, components: int = 3):
        super().__init__()
        widths = config.widths
        self.trunk = nn.Sequential(
            CircularConv2d(components, widths[0], 3),
            *(ResBlock(i, o, "down") for i, o in zip(widths, (*widths[1:], widths[-1]), strict=True)),
            *_activation(widths[-1], True),
            nn.Flatten(),
            nn.Linear(16 * widths[-1], 2 * config.latent),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        moments = self.trunk(spins.contiguous(memory_format=torch.channels_last)).float()
        mean, log_variance = moments.chunk(2, dim=1)
        return mean, log_variance

    encode = forward


class Generator(nn.Module):
    """Codes ``(B, latent)`` to unit spins ``(B, components, L, L)``."""

    def __init__(self, config: VAEGANConfig, components: int = 3):
        super().__init__()
        widths = config.widths[::-1]
        self.latent_dim = config.latent
        self.trunk = nn.Sequential(
            nn.Linear(config.latent, 16 * widths[0]),
            nn.Unflatten(1, (widths[0], 4, 4)),
            *(ResBlock(i, o, "up") for i, o in zip(widths, (*widths[1:], widths[-1]), strict=True)),
            *_activation(widths[-1], True),
            CircularConv2d(widths[-1], components, 3),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, z: Tensor) -> Tensor:
        return unit_spins(self.trunk(z))

    def decode(self, z: Tensor, labels: Labels | None = None) -> Tensor:
        return self(z)


class Discriminator(nn.Module):
    """Spins ``(B, components, L, L)`` to the logit ``(B,)`` that they are data: D = sigmoid(logit)."""

    def __init__(self, config: VAEGANConfig, components: int = 3):
        super().__init__()
        widths = config.widths
        self.trunk = nn.Sequential(
            spectral_norm(CircularConv2d(components, widths[0], 3)),
            *(ResBlock(i, o, "down", normalised=False) for i, o in zip(widths, (*widths[1:], widths[-1]), strict=True)),
            nn.LeakyReLU(SLOPE),
        )
        self.judge = spectral_norm(nn.Linear(widths[-1], 1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, spins: Tensor) -> Tensor:
        features = self.trunk(spins.contiguous(memory_format=torch.channels_last))
        return self.judge(features.sum((-2, -1))).squeeze(1).float()
