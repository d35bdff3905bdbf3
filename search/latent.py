"""Looking into a latent space: planes and lines of codes, the wall between two domains, the code of a given state."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nets.sampling import Decoder
from search.gradient import ascend


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


class Wall(NamedTuple):
    """Places ``(row, column)`` in a plane of codes, one on a wall and one in the domain on each side of it."""

    before: tuple[int, int]
    on: tuple[int, int]
    beyond: tuple[int, int]
    height: float


def steepest_wall(energy: np.ndarray, reach: int) -> Wall:
    """The place of a map ``(m, m)`` that rises most above both of its neighbours at ``reach``, along rows or columns.

    Raises:
        ValueError: the map is too small.
    """
    if reach < 1 or 2 * reach >= len(energy):
        raise ValueError(f"steepest_wall: expected a map of more than 2 x {reach} points, found {len(energy)}")
    walls = []
    for transposed, values in ((False, energy), (True, energy.T)):
        middle = values[:, reach:-reach]
        height = middle - np.maximum(values[:, : -2 * reach], values[:, 2 * reach :])
        row, column = map(int, np.unravel_index(height.argmax(), height.shape))
        places = [(row, column + step) for step in (0, reach, 2 * reach)]
        before, on, beyond = [place[::-1] for place in places] if transposed else places
        walls.append(Wall(before, on, beyond, float(height.max())))
    return max(walls, key=lambda wall: wall.height)


def invert(
    decoder: Decoder, target: Tensor, starts: Tensor, iterations: int = 500, learning_rate: float = 0.05
) -> tuple[Tensor, Tensor]:
    """Inverse mapping: the code ``(d,)`` whose decoding is nearest to a state, z* = argmin mean (G(z) - x)^2, by Adam.

    Args:
        target: x, spins ``(3, L, L)``.
        starts: codes ``(n, d)``; the best that any of them meets is returned.

    Returns:
        The code, and the smallest loss of all starts after each iteration, ``(iterations + 1,)``.

    Raises:
        ValueError: the target is of another lattice than the decoder makes.

    Source: E-VAE (2021), "Inverse mapping".
    """
    with torch.no_grad():
        made = decoder.decode(starts[:1]).shape[1:]
    if made != target.shape:
        raise ValueError(f"target: expected spins of shape {tuple(made)}, found {tuple(target.shape)}")

    def likeness(z: Tensor) -> Tensor:
        return -(decoder.decode(z) - target).square().mean((1, 2, 3))

    best, scores = ascend(likeness, starts, iterations, learning_rate)
    winner = scores.amax(0).argmax()
    return best[winner], -scores.amax(1).cummax(0).values
