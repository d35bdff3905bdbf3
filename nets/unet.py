"""The conditional Wasserstein GAN of the 2024 paper: fields from charges and a temperature, by a U-Net."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, max_pool2d, pixel_shuffle

from nets.layers import CircularConv2d, Halving, unit_spins
from nets.losses import gradient_penalty, wasserstein_distance
from nets.system import Batch, Draw, Labels, System, SystemSettings, Width, adam
from nets.training import update
from physics.model import SpinModel, X, Y
from physics.observables import magnetization
from physics.vortices import (
    LARGEST_TURN,
    TAU,
    Bonds,
    charges,
    dot_and_cross,
    harmonic_turns,
    product,
    smooth_charges,
    spin_waves,
    turned,
)

HELD_TURN = 0.98 * torch.pi  # across a bond of a field that is made, at most, which keeps the charges
SLOPE = 0.2  # of the leaky ReLU, which the paper leaves open


class WGANConfig(SystemSettings):
    """Sizes of the U-Net and its critic, and how they are trained together.

    A step takes a batch of data, shares it out among the critic's updates, and then moves the generator once.  What is
    stored as the decoder is an average of the generator's weights along the training.

    Attributes:
        width: channels at the finest scale, 64 in the paper; each halving doubles them, up to four times.
        depth: halvings of the lattice, 4 in the paper.
        latent: numbers of a code: one turns the whole field, the others are noise at the coarsest scale.
        given_as: what the network is given. "charges": these alone, as in the paper.  "field": also the bonds of the
            field that they have at T = 0; what it makes is the turn of each spin from there.  "waves": also Gaussian
            spin waves made of the code's noise, of which it has a number a site; what it makes is the turn from the
            field with these waves.  With "field" and "waves" spins are turned back where a charge would change.
        invariant: the critic sees the angles across the bonds, which a turn of all spins leaves as they are; else it
            sees the spins, each configuration turned by a random angle.
        instance_norm: in the critic, after each halving.
        critic_steps: updates of the critic for one of the generator.
        penalty: weight lambda of the gradient penalty.
        physical: weight of the physical loss, equation (1).
        physical_after: share of the training before it, 40 of 120 epochs in the paper.
        averaging: of the generator's weights, decay of the moving average a step.
        critic_learning_rate: that of the generator, if None.
    """

    labels: ClassVar[tuple[str, ...]] = ("charges", "temperature")

    name: Literal["cwgan"] = "cwgan"
    L: PositiveInt = 16
    latent: Width = 257
    width: Annotated[int, Field(gt=0, le=2**12)] = 32
    depth: Annotated[int, Field(gt=0, le=12)] = 2
    given_as: Literal["charges", "field", "waves"] = "waves"
    invariant: bool = True
    instance_norm: bool = False
    critic_steps: Annotated[int, Field(gt=0, le=1000)] = 4
    penalty: NonNegativeFloat = 10.0
    physical: NonNegativeFloat = 1e-5
    physical_after: Annotated[float, Field(ge=0, le=1)] = 1 / 3
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.999
    learning_rate: PositiveFloat = 1e-4
    critic_learning_rate: PositiveFloat | None = None
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.0, 0.9)

    @model_validator(mode="after")
    def _sizes(self) -> WGANConfig:
        if self.L % 2**self.depth or self.L < 8:
            raise ValueError(f"L: expected a multiple of 2^depth = {2**self.depth} of at least 8, found {self.L}")
        if (self.latent - 1) % self.coarsest**2 or self.latent == 1:
            raise ValueError(f"latent: expected 1 more than a multiple of {self.coarsest**2}, found {self.latent}")
        if self.given_as == "waves" and self.latent != 1 + self.L**2:
            raise ValueError(f"latent: expected 1 + L^2 = {1 + self.L**2} with spin waves, found {self.latent}")
        return self

    @property
    def coarsest(self) -> int:
        """Sites along an edge where the noise enters."""
        return self.L // 2**self.depth

    @property
    def noise(self) -> int:
        """Channels of it."""
        return (self.latent - 1) // self.coarsest**2

    @property
    def widths(self) -> list[int]:
        """Channels at each scale, finest first."""
        return [self.width * min(2**i, 4) for i in range(self.depth)]

    @property
    def label(self) -> str:
        return f"{self.name}-w{self.width}"

    def check(self, model: SpinModel) -> None:
        if model.components != 2:
            raise ValueError(f"system {self.name}: expected a model of planar spins, such as xy, found {model.name}")
        if (J := getattr(model, "J", 1.0)) != 1:
            raise ValueError(f"system {self.name}: expected J = 1, the unit of its temperatures, found {J:g}")

    @property
    def smallest_batch(self) -> int:
        return self.critic_steps

    @property
    def decoder(self) -> str:
        return "averaged"

    def networks(self, components: int) -> dict[str, Callable[[], nn.Module]]:
        return {
            "generator": lambda: UNet(self, components),
            "critic": lambda: Critic(self, components),
            "averaged": lambda: UNet(self, components),
        }

    def optimizers(self, networks: dict[str, nn.Module]) -> dict[str, torch.optim.Optimizer]:
        found = adam(networks, self.learning_rate, self.betas)
        return found | adam({"critic": networks["critic"]}, self.critic_learning_rate or self.learning_rate, self.betas)

    def step(self, system: System, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """``critic_steps`` updates of the critic, each on a share of the batch, and one of the generator.

        The critic minimises mean C(fake) - mean C(real) + lambda penalty, the generator -mean C(fake), and after
        ``physical_after`` of the training also the physical loss of equation (1).

        Source: XY reconstruction (2024), "Methods".
        """
        G: Any = system.networks["generator"]
        C = system.networks["critic"]
        for share in torch.arange(len(batch.spins)).tensor_split(self.critic_steps):
            real = batch.spins[share]
            here = {name: values[share] for name, values in batch.labels.items()}
            with torch.no_grad():
                fake = G.decode(draw(len(real), self.latent), here)
            real, fake = self._posed(real, fake, draw)
            distance = wasserstein_distance(C(real, here), C(fake, here))
            penalty = gradient_penalty(partial(C, labels=here), real, fake, draw)
            update(system, (self.penalty * penalty - distance, ["critic"]))
        fake = G.decode(draw(len(real), self.latent), here)
        physical = self._physical(fake, here["charges"])
        weight = self.physical if batch.done >= self.physical_after else 0.0
        update(system, (weight * physical - C(fake, here).mean(), ["generator"]))
        self._average(system, 1 - self.averaging if batch.done else 1.0)
        fake = fake.detach()
        return {
            "wasserstein_distance": distance,
            "penalty": penalty,
            "physical": physical,
            "charges_kept": self.label_checks(fake, here)["charges_kept"].mean(),
            "vorticity": charges(fake).abs().float().mean(),
            "magnetization": magnetization(fake).norm(dim=-1).mean(),
        }

    def label_checks(self, spins: Tensor, labels: Labels) -> dict[str, Tensor]:
        """1 for a field that has exactly the charges that it was asked for, else 0."""
        return {"charges_kept": (charges(spins) == labels["charges"]).flatten(1).all(1).float()}

    def _posed(self, real: Tensor, fake: Tensor, draw: Draw) -> tuple[Tensor, Tensor]:
        """Both kinds as the critic is shown them, each configuration turned as a whole.

        A critic that does not see such turns is shown fakes that lie along the data with their charges, so that what
        lies between the two has spins of nearly unit length; another is shown both at random angles.
        """
        if not self.invariant:
            return turned(real, torch.pi * draw(len(real), 1)[:, 0]), turned(fake, torch.pi * draw(len(fake), 1)[:, 0])
        x, y = product(real, fake * fake.new_tensor([1.0, -1.0])[:, None, None]).mean((-2, -1)).unbind(-1)
        return real, turned(fake, torch.atan2(y, x))

    def _physical(self, spins: Tensor, given: Tensor) -> Tensor:
        """Equation (1): sum_r alpha_r (k_r - k_r^real)^2 with alpha = N at charges, 1 elsewhere; the batch's mean."""
        given = given.to(spins)
        alpha = torch.where(given != 0, float(given[0].numel()), 1.0)
        return (alpha * (smooth_charges(spins) - given).square()).sum((-2, -1)).mean()

    @torch.no_grad()
    def _average(self, system: System, share: float) -> None:
        """Move the averaged weights towards the generator's; all the way after the first step."""
        generator, averaged = system.networks["generator"], system.networks["averaged"]
        for weight, mean in zip(generator.parameters(), averaged.parameters(), strict=True):
            mean.lerp_(weight, share)


def bonds(spins: Tensor) -> Tensor:
    """1 - S_i . S_j and S_i x S_j across the bonds to the right and up, ``(B, 4, L, L)``."""
    (right, turned_right), (up, turned_up) = (dot_and_cross(spins, axis) for axis in (X, Y))
    return torch.stack([1 - right, 1 - up, turned_right, turned_up], 1)


def _root(labels: Labels) -> Tensor:
    """The square root of the temperature, ``(B, 1, 1, 1)``: what angles of spin waves scale with."""
    return labels["temperature"].float().sqrt().view(-1, 1, 1, 1)


class UNet(nn.Module):
    """Codes ``(B, latent)`` with charges and temperatures to unit spins ``(B, 2, L, L)``.

    Convolutions are circular, so that it makes fields of any L that the depth divides; of a larger lattice a code has
    more noise, as many channels of it.

    Source: XY reconstruction (2024), figure 2.
    """

    def __init__(self, config: WGANConfig, components: int = 2):
        super().__init__()
        self.latent_dim, self.noise, self.depth = config.latent, config.noise, config.depth
        self.given_as = config.given_as
        widths = config.widths
        into = [{"charges": 2, "field": 6, "waves": 10}[config.given_as], *widths[:-1]]
        self.down = nn.ModuleList(CircularConv2d(i, o, 3) for i, o in zip(into, widths, strict=True))
        self.bottom = CircularConv2d(widths[-1] + self.noise, widths[-1], 3)
        back = [widths[-1], *[2 * w for w in widths[:0:-1]]]
        self.up = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, 2) for i, o in zip(back, widths[::-1], strict=True))
        self.mix = nn.ModuleList(CircularConv2d(2 * w, 2 * w, 3) for w in widths[::-1])
        self.out = CircularConv2d(2 * widths[0], components if config.given_as == "charges" else 1, 3)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def codes(self, L: int) -> int:
        """Numbers of a code of an L x L field.

        Raises:
            ValueError: the lattice cannot be halved as often.
        """
        if L % 2**self.depth:
            raise ValueError(f"L: expected a multiple of {2**self.depth}, found {L}")
        return 1 + self.noise * (L // 2**self.depth) ** 2

    def decode(self, z: Tensor, labels: Labels | None = None) -> Tensor:
        assert labels is not None
        given, root = labels["charges"], _root(labels).to(z)
        B, L = len(z), given.shape[-1]
        x = torch.cat((given[:, None].to(z), root.expand(B, 1, L, L)), 1)
        noise = z[:, 1:].view(B, self.noise, L >> self.depth, L >> self.depth)
        start = None
        if self.given_as != "charges":
            start = Bonds(*(turn.to(z) for turn in harmonic_turns(given).held(LARGEST_TURN)))
            x = torch.cat((x, _features(start)), 1)
        if start is not None and self.given_as == "waves":
            start = start.turned(spin_waves(pixel_shuffle(noise, 2**self.depth)[:, 0], root[:, 0].square()))
            x = torch.cat((x, _features(start)), 1)
        x = x.contiguous(memory_format=torch.channels_last)
        kept = []
        for convolution in self.down:
            kept.append(leaky_relu(convolution(x), SLOPE))
            x = max_pool2d(kept[-1], 2)
        x = leaky_relu(self.bottom(torch.cat((x, noise), 1)), SLOPE)
        for rise, mix, skip in zip(self.up, self.mix, kept[::-1], strict=True):
            x = leaky_relu(mix(torch.cat((rise(x), skip), 1)), SLOPE)
        x = self.out(x)
        x = unit_spins(x) if start is None else start.turned((root * x)[:, 0]).held(HELD_TURN).spins()
        return turned(unit_spins(x), TAU * torch.special.ndtr(z[:, 0]))


def _features(turns: Bonds) -> Tensor:
    """1 - cos and sin of the turns across the bonds, ``(B, 4, L, L)``: those of :func:`bonds`."""
    return torch.stack([1 - torch.cos(turns.right), 1 - torch.cos(turns.up), *map(torch.sin, turns)], 1)


class Critic(nn.Module):
    r"""Spins ``(B, 2, L, L)`` with charges and temperatures to scores ``(B,)``, higher for data.

    One that sees the angles across the bonds also judges by their means over the whole field, and by its mean spin: the
    energy, the currents and \|M\|, times L, so that they vary as much as what the convolutions find.
    """

    def __init__(self, config: WGANConfig, components: int = 2):
        super().__init__()
        self.invariant = config.invariant
        w = config.width
        self.first = CircularConv2d((4 if self.invariant else components) + 1, w, 3)
        self.embed = nn.Linear(1, w)
        norm = nn.InstanceNorm2d if config.instance_norm else nn.Identity
        self.trunk = nn.Sequential(
            nn.LeakyReLU(SLOPE),
            Halving(w, 2 * w),
            norm(2 * w),
            nn.LeakyReLU(SLOPE),
            Halving(2 * w, 4 * w),
            norm(4 * w),
            nn.LeakyReLU(SLOPE),
            CircularConv2d(4 * w, 4 * w, 3),
            nn.LeakyReLU(SLOPE),
        )
        seen = 4 * w + (5 if self.invariant else 0)
        self.judge = nn.Sequential(nn.Linear(seen, 4 * w), nn.LeakyReLU(SLOPE), nn.Linear(4 * w, 1))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, spins: Tensor, labels: Labels) -> Tensor:
        root = _root(labels).to(spins)
        whole = []
        if self.invariant:
            missing = (1 - spins.mean((-2, -1)).norm(dim=1, keepdim=True)) / root.flatten(1) ** 2
            spins = bonds(spins) / torch.cat((root**2, root**2, root, root), 1)
            whole = [spins.shape[-1] * torch.cat((spins.mean((-2, -1)), missing), 1)]
        x = torch.cat((spins, labels["charges"][:, None].to(spins)), 1).contiguous(memory_format=torch.channels_last)
        x = self.first(x) + self.embed(root.flatten(1))[:, :, None, None]
        return self.judge(torch.cat((self.trunk(x).mean((-2, -1)), *whole), 1)).squeeze(1)
