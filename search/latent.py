"""Looking into a latent space: planes and lines of codes, barriers between domains, the code of a given state."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nets.gradcam import darker_share, grad_cam, resolving_block
from nets.metrics import measure
from nets.sampling import ddls, decode, repeated, split
from nets.system import Decoder, Labels
from nets.vaegan import Discriminator
from physics.model import SpinModel
from search.gradient import Gradient, with_gradient
from search.optimizer import advance

SURVEYED = 256  # codes decoded and measured together

Progress = Callable[[int, int], None]
"""Told now and then how much is done, and of how much."""


def unseen(done: int, total: int) -> None:
    return


def plane(origin: Tensor, axes: tuple[int, int], ticks: Tensor) -> Tensor:
    """Codes ``(m, m, d)`` with the components ``axes`` of ``origin`` ``(d,)`` at all pairs of ``ticks`` ``(m,)``.

    The first axis varies along columns, the second along rows.

    Raises:
        ValueError: the axes are not two components of the code.

    Source: VAE-GAN hybrid (2023), figure 3.
    """
    first, second = axes
    if first == second or not all(0 <= axis < len(origin) for axis in axes):
        raise ValueError(f"axes: expected two different ones below {len(origin)}, found {first} and {second}")
    codes = origin.repeat(len(ticks), len(ticks), 1)
    codes[..., first] = ticks
    codes[..., second] = ticks[:, None]
    return codes


def line(ends: Tensor, points: int) -> Tensor:
    """Codes ``(points, d)`` along the straight line between two codes ``(2, d)``, both included.

    Source: E-VAE (2021), figure 4; VAE-GAN hybrid (2023), figure 5.
    """
    return torch.lerp(ends[0], ends[1], torch.linspace(0, 1, points)[:, None])


def from_peak(energy: np.ndarray) -> np.ndarray:
    """R of each point of a line, int ``(points,)``: steps from its highest energy, negative before it.

    Source: E-VAE (2021), figure 4B.
    """
    return np.arange(len(energy)) - int(np.argmax(energy))


def peak_width(energy: np.ndarray) -> float:
    """Full width of the highest peak of a line where it is half as high over the higher end, in steps.

    Between points the energy is linear; NaN where no point lies above both ends.
    """
    base, peak = max(energy[0], energy[-1]), int(np.argmax(energy))
    if energy[peak] <= base:
        return math.nan
    half = 0.5 * (energy[peak] + base)

    def reach(side: np.ndarray) -> float:
        last = int(np.argmax(side <= half))  # the ends lie below
        return last - (half - side[last]) / (side[last - 1] - side[last])

    return reach(energy[peak:]) + reach(energy[peak::-1])


class Barrier(NamedTuple):
    """Places ``(row, column)`` in a plane of codes, one on an energy barrier and one on each side of it."""

    before: tuple[int, int]
    on: tuple[int, int]
    beyond: tuple[int, int]
    height: float


def steepest_barrier(energy: np.ndarray, reach: int) -> Barrier:
    """The place of a map ``(m, m)`` that rises most above both of its neighbours at ``reach``, along rows or columns.

    Raises:
        ValueError: the map is too small.
    """
    if reach < 1 or 2 * reach >= len(energy):
        raise ValueError(f"steepest_barrier: expected a map of more than 2 x {reach} points, found {len(energy)}")
    barriers = []
    for transposed, values in ((False, energy), (True, energy.T)):
        middle = values[:, reach:-reach]
        height = middle - np.maximum(values[:, : -2 * reach], values[:, 2 * reach :])
        row, column = map(int, np.unravel_index(height.argmax(), height.shape))
        places = [(row, column + step) for step in (0, reach, 2 * reach)]
        before, on, beyond = [place[::-1] for place in places] if transposed else places
        barriers.append(Barrier(before, on, beyond, float(height.max())))
    return max(barriers, key=lambda barrier: barrier.height)


def survey(
    decoder: Decoder,
    codes: Tensor,
    model: SpinModel,
    labels: Labels | None = None,
    discriminator: Callable[[Tensor], Tensor] | None = None,
    progress: Progress = unseen,
) -> pd.DataFrame:
    """A row a code ``(n, d)``: observables and defects of what it decodes to, and the discriminator's logit of it."""
    parts = []
    for part, here in split(codes, labels, SURVEYED):
        spins = decode(decoder, part, here)
        parts.append(measure(spins, model))
        if discriminator is not None:
            with torch.no_grad():
                parts[-1]["logit"] = discriminator(spins).cpu().numpy()
        progress(sum(map(len, parts)), len(codes))
    return pd.concat(parts, ignore_index=True)


def invert(
    decoder: Decoder,
    target: Tensor,
    starts: Tensor,
    iterations: int = 500,
    learning_rate: float = 0.05,
    labels: Labels | None = None,
    progress: Progress = unseen,
) -> tuple[Tensor, Tensor]:
    """Inverse mapping: the code ``(d,)`` whose decoding is nearest to a state, z* = argmin mean (G(z) - x)^2, by Adam.

    Args:
        target: x, spins ``(components, L, L)``.
        starts: codes ``(n, d)``; the best that any of them meets is returned.
        labels: of the target, ``(1, ...)``.

    Returns:
        The code, and the smallest loss of all starts after each iteration, ``(iterations + 1,)``.

    Raises:
        ValueError: the target is of another lattice than the decoder makes.

    Source: E-VAE (2021), "Inverse mapping".
    """
    with torch.no_grad():
        made = decoder.decode(starts[:1], labels).shape[1:]
    if made != target.shape:
        raise ValueError(f"target: expected spins of shape {tuple(made)}, found {tuple(target.shape)}")
    here = repeated(labels, len(starts))
    evaluate = with_gradient(lambda z: -(decoder.decode(z, here) - target).square().mean((1, 2, 3)))
    search = Gradient(starts.numpy(), learning_rate)
    losses = []
    for done in range(iterations + 1):
        advance(search, evaluate)
        losses.append(-search.result().scores[0])
        progress(done, iterations)
    return torch.from_numpy(search.result().codes[0]), torch.tensor(losses)


class LatentMap(NamedTuple):
    """A plane of codes and what it decodes to.

    Attributes:
        table: see :func:`survey`, a row a point of the plane, its two components first.
        places: three points ``(row, column)`` across the steepest energy barrier.
        states: what they decode to, ``(3, components, L, L)``.
        figures: height of the barrier, defects at the three places and in the plane, how steep the walls are.
    """

    table: pd.DataFrame
    places: list[tuple[int, int]]
    states: Tensor
    figures: dict[str, float]


def latent_map(
    decoder: Decoder,
    model: SpinModel,
    origin: Tensor,
    axes: tuple[int, int],
    ticks: Tensor,
    labels: Labels | None = None,
    discriminator: Callable[[Tensor], Tensor] | None = None,
    progress: Progress = unseen,
) -> LatentMap:
    """Energy, defects and discriminator logit over a plane of codes, and three states across its steepest barrier.

    Args:
        origin, axes, ticks: see :func:`plane`.
        labels: of one configuration, ``(1, ...)``.

    Raises:
        ValueError: the axes are not two components of the code.

    Source: VAE-GAN hybrid (2023), figure 3.
    """
    codes = plane(origin, axes, ticks)
    points = len(ticks)
    flat = codes.flatten(0, 1)
    table = survey(decoder, flat, model, repeated(labels, len(flat)), discriminator, progress)
    energy, defects = table["energy"].to_numpy().reshape(points, points), model.defect_column
    barrier = steepest_barrier(energy, points // 10)
    places = [barrier.before, barrier.on, barrier.beyond]
    states = decode(decoder, codes[tuple(zip(*places, strict=True))], repeated(labels, len(places)))
    slope = np.hypot(*np.gradient(energy, float(ticks[1] - ticks[0])))
    figures = {
        "barrier_height": barrier.height,
        **{f"{defects}_{at}": int(n) for at, n in zip("klm", measure(states, model)[defects], strict=True)},
        f"with_{defects}": float((table[defects] > 0).mean()),
        "steepest_over_median_slope": float(slope.max() / np.median(slope)),
    }
    for axis in (0, 1):
        table.insert(axis, f"z{axes[axis]}", flat[:, axes[axis]].numpy())
    return LatentMap(table, places, states, figures)


class Refinement(NamedTuple):
    """Samples on their way uphill in the discriminator.

    Attributes:
        table: a row a sample and step: observables, defects, logit.
        watched: of one sample at each step that was looked at: step, spins, Grad-CAM.
        darker: share of a map that is darker than a defect, see :func:`nets.gradcam.darker_share`.
    """

    table: pd.DataFrame
    watched: list[tuple[int, Tensor, Tensor]]
    darker: float


def watch_refinement(
    decoder: Decoder,
    discriminator: Discriminator,
    model: SpinModel,
    codes: Tensor,
    steps: int,
    step_size: float,
    langevin: torch.Generator | None = None,
    labels: Labels | None = None,
    looks: int = 12,
    progress: Progress = unseen,
) -> Refinement:
    """DDLS of codes ``(n, d)``, measured before it and about ``looks`` times on the way, mostly at first.

    The sample that is watched is the one with most defects at the start.

    Source: VAE-GAN hybrid (2023), figure 4.
    """
    ends = np.unique([0, *np.geomspace(1, steps, looks).round().astype(int)])
    parts, watched, chosen, darker, z = [], [], 0, float("nan"), codes
    block = resolving_block(discriminator, model)
    for done, end in zip(np.append(0, ends), ends, strict=False):
        z = ddls(decoder, discriminator, z, int(end - done), step_size, langevin, labels)
        spins = decode(decoder, z, labels)
        columns, cam = measure(spins, model), grad_cam(discriminator, spins, block)
        with torch.no_grad():
            columns = columns.assign(step=end, sample=range(len(z)), logit=discriminator(spins).cpu().numpy())
        if end == 0:
            chosen = int(columns[model.defect_column].argmax())
            darker = darker_share(cam, model.defects(spins) != 0)
        parts.append(columns)
        watched.append((int(end), spins[chosen], cam[chosen]))
        progress(int(end), steps)
    return Refinement(pd.concat(parts, ignore_index=True), watched, darker)
