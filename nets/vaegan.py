"""Residual encoder, generator and discriminator of the 2023 paper, and the three ways to train them.

With an encoder and a generator they are a VAE, with a generator and a discriminator a GAN, with all three the hybrid:
:func:`step` holds equations (1) to (3) and does whatever the networks that are there ask for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, distributed, nn
from torch.nn.utils.parametrizations import spectral_norm

from nets.layers import BatchNorm2d, CircularConv2d, UpsampleConv2d, circular_pad, unit_spins, workers
from nets.losses import fooled, kl_divergence, reconstruction, told_apart
from nets.training import DivergedError, Rows

SLOPE = 0.2  # of the leaky ReLU, which the paper leaves open; SNGAN's


def _four_times_a_power_of_two(L: object) -> object:
    if isinstance(L, int) and (L < 16 or L & (L - 1)):
        raise ValueError("expected 16, 32, 64, ...")
    return L


class VAEGANConfig(BaseModel):
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

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["vae", "gan", "hybrid"] = "hybrid"
    L: Annotated[int, BeforeValidator(_four_times_a_power_of_two)] = 32
    latent: PositiveInt = 64
    width: PositiveInt = 32
    beta: NonNegativeFloat = 1e-3
    gamma: NonNegativeFloat = 1e-3
    learning_rate: PositiveFloat = 2e-4
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.0, 0.9)
    precision: Literal["float32", "bfloat16"] = "float32"

    @property
    def widths(self) -> list[int]:
        """Channels at each scale, finest first; one entry a halving."""
        halvings = self.L.bit_length() - 3
        return [self.width * min(2**i, 16) for i in range(halvings)]


class Halving(nn.Conv2d):
    """4x4 convolution with stride 2 on a torus."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, 4, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(circular_pad(x, 1))


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
    """Spins ``(B, 3, L, L)`` to means and log-variances, each ``(B, latent)``."""

    def __init__(self, config: VAEGANConfig):
        super().__init__()
        widths = config.widths
        self.trunk = nn.Sequential(
            CircularConv2d(3, widths[0], 3),
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


class Generator(nn.Module):
    """Codes ``(B, latent)`` to unit spins ``(B, 3, L, L)``."""

    def __init__(self, config: VAEGANConfig):
        super().__init__()
        widths = config.widths[::-1]
        self.latent_dim = config.latent
        self.trunk = nn.Sequential(
            nn.Linear(config.latent, 16 * widths[0]),
            nn.Unflatten(1, (widths[0], 4, 4)),
            *(ResBlock(i, o, "up") for i, o in zip(widths, (*widths[1:], widths[-1]), strict=True)),
            *_activation(widths[-1], True),
            CircularConv2d(widths[-1], 3, 3),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, z: Tensor) -> Tensor:
        return unit_spins(self.trunk(z))

    decode = forward


class Discriminator(nn.Module):
    """Spins ``(B, 3, L, L)`` to the logit ``(B,)`` that they are data: D = sigmoid(logit)."""

    def __init__(self, config: VAEGANConfig):
        super().__init__()
        widths = config.widths
        self.trunk = nn.Sequential(
            spectral_norm(CircularConv2d(3, widths[0], 3)),
            *(ResBlock(i, o, "down", normalised=False) for i, o in zip(widths, (*widths[1:], widths[-1]), strict=True)),
            nn.LeakyReLU(SLOPE),
        )
        self.judge = spectral_norm(nn.Linear(widths[-1], 1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, spins: Tensor) -> Tensor:
        features = self.trunk(spins.contiguous(memory_format=torch.channels_last))
        return self.judge(features.sum((-2, -1))).squeeze(1).float()


class System(NamedTuple):
    """Networks that are trained together, and an optimizer for each; None for those that a system lacks."""

    config: VAEGANConfig
    generator: Generator
    encoder: Encoder | None
    discriminator: Discriminator | None
    optimizers: dict[str, torch.optim.Optimizer]

    def networks(self) -> dict[str, nn.Module]:
        """Those that are there, by name."""
        every = {"generator": self.generator, "encoder": self.encoder, "discriminator": self.discriminator}
        return {name: network for name, network in every.items() if network is not None}


def build(config: VAEGANConfig, device: torch.device | str = "cpu") -> System:
    """Networks with weights drawn from torch's global generator, and their optimizers."""
    generator = Generator(config).to(device)
    encoder = None if config.name == "gan" else Encoder(config).to(device)
    discriminator = None if config.name == "vae" else Discriminator(config).to(device)
    system = System(config, generator, encoder, discriminator, {})
    for name, network in system.networks().items():
        system.optimizers[name] = torch.optim.Adam(network.parameters(), config.learning_rate, config.betas)
    return system


Draw = Callable[[int, int], Tensor]
"""Gaussian numbers ``(count, width)``."""


def step(system: System, spins: Tensor, draw: Draw) -> dict[str, Tensor]:
    """One update of every network on a batch ``(B, 3, L, L)``; returns the losses before it, as tensors.

    Equation (1): L_VAE = mean (x - G(z_E))^2 + beta KL.  Equation (2): the non-saturating losses of D and G.  Equation
    (3): E minimises L_VAE, G minimises L_VAE + gamma L_adv, and D sees as fake both G(z_p) and G(z_E), half each.

    Source: VAE-GAN hybrid (2023), "VAE-GAN hybrid model".
    """
    config, G, E, D, _ = system
    mixed = partial(torch.autocast, spins.device.type, torch.bfloat16, config.precision == "bfloat16")
    losses: dict[str, Tensor] = {}
    for network in system.networks().values():
        network.train()
    fakes: list[Tensor] = []
    with mixed():
        if D is not None:
            fakes.append(G(draw(len(spins), config.latent)))
        if E is not None:
            mean, log_variance = E(spins)
            fakes.append(G(mean + torch.exp(0.5 * log_variance) * draw(*mean.shape)))
    variational = None
    if E is not None:
        losses["reconstruction"], losses["kl"] = reconstruction(fakes[-1], spins), kl_divergence(mean, log_variance)
        variational = losses["reconstruction"] + config.beta * losses["kl"]
    if D is not None:
        with mixed():
            real, *shown = D(torch.cat([spins, *fakes]).detach()).split(len(spins))
        losses["discriminator"] = told_apart(real, shown)
        _update([(losses["discriminator"], ["discriminator"])], system)
        with mixed():
            shown = D(torch.cat(fakes)).split(len(spins))
        losses["generator"] = fooled(shown)

    if variational is None:
        _update([(losses["generator"], ["generator"])], system)
    elif D is None:
        _update([(variational, ["generator", "encoder"])], system)
    else:
        _update([(variational + config.gamma * losses["generator"], ["generator"]), (variational, ["encoder"])], system)
    return {name: loss.detach() for name, loss in losses.items()}


def _update(minimised: list[tuple[Tensor, list[str]]], system: System) -> None:
    """Step of the named networks, each down the gradient of the loss beside it, all at the same weights."""
    networks = system.networks()
    for number, (loss, names) in enumerate(minimised, 1):
        weights = [weight for name in names for weight in networks[name].parameters()]
        for weight in weights:
            weight.grad = None
        loss.backward(inputs=weights, retain_graph=number < len(minimised))
        _average([weight.grad for weight in weights if weight.grad is not None])
    for _, names in minimised:
        for name in names:
            system.optimizers[name].step()


def _average(tensors: list[Tensor]) -> None:
    """Over all workers, in place, in one message."""
    if workers() > 1:
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        distributed.all_reduce(flat)
        flat /= workers()
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))


def _generator(*key: int) -> torch.Generator:
    seed = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(seed) % 2**63)


def fit(
    system: System,
    spins: Rows,
    batch: int,
    steps: range,
    seed: int,
    progress: Callable[[int, dict[str, float]], None] = lambda done, losses: None,
    every: int = 100,
) -> None:
    """The given ``steps`` of training on ``spins`` ``(n, 3, L, L)``, in place; every row once an epoch.

    Rows and noise of a step depend on (seed, its number) alone, so training goes on from any step, with any number of
    workers, each of which takes its share of the batch.

    Args:
        batch: configurations a step, of all workers together.
        progress: called after every ``every`` steps, and the last, with the mean losses since the call before.

    Raises:
        DivergedError: a loss is no longer a finite number.
        ValueError: the batch cannot be shared out evenly, or there are fewer configurations.
    """
    shares, rank = workers(), distributed.get_rank() if workers() > 1 else 0
    if batch % shares or batch > len(spins):
        raise ValueError(f"batch: expected a multiple of {shares} workers and at most {len(spins)}, found {batch}")
    device = next(system.generator.parameters()).device
    epoch_steps = len(spins) // batch
    epoch, order = -1, torch.empty(0)
    total: dict[str, Tensor] = {}
    counted = 0
    for number in steps:
        if number // epoch_steps != epoch:
            epoch = number // epoch_steps
            order = torch.randperm(len(spins), generator=_generator(seed, 0, epoch))
        first = number % epoch_steps * batch
        noise = _generator(seed, 1, number)

        def draw(count: int, width: int, noise: torch.Generator = noise) -> Tensor:
            return torch.randn(shares * count, width, generator=noise)[rank::shares].to(device)

        losses = step(system, spins[order[first : first + batch][rank::shares]].to(device), draw)
        total = {name: total.get(name, 0) + loss for name, loss in losses.items()}
        counted += 1
        if (number + 1) % every == 0 or number == steps[-1]:
            means = [loss / counted for loss in total.values()]
            _average(means)
            values = {name: mean.item() for name, mean in zip(total, means, strict=True)}
            if not all(map(math.isfinite, values.values())):
                listed = ", ".join(f"{name} = {value:g}" for name, value in values.items())
                raise DivergedError(f"loss is not finite by step {number + 1}: {listed}")
            progress(number + 1, values)
            total, counted = {}, 0


def state(system: System) -> dict[str, Tensor]:
    """Weights, buffers and the optimizers' moments, by name: all that training goes on from."""
    tensors: dict[str, Tensor] = {}
    for name, network in system.networks().items():
        tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
        for number, moments in system.optimizers[name].state_dict()["state"].items():
            tensors |= {f"{name}.adam.{number}.{key}": value for key, value in moments.items()}
    return {key: value.detach().cpu().contiguous() for key, value in tensors.items()}


def restore(system: System, tensors: dict[str, Tensor]) -> None:
    """The inverse of :func:`state`, in place.

    Raises:
        KeyError, RuntimeError: tensors of another architecture.
    """
    for name, network in system.networks().items():
        mine = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        moments: dict[int, dict[str, Tensor]] = {}
        for key in [key for key in mine if key.startswith("adam.")]:
            _, number, quantity = key.split(".")
            moments.setdefault(int(number), {})[quantity] = mine.pop(key)
        network.load_state_dict(mine)
        optimizer = system.optimizers[name]
        optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
