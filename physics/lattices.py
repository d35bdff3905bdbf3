"""Skyrmion lattices at rest: the lowest of all Bravais lattices that a torus has, and the same with an interstitial."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from physics.observables import topological_charge
from physics.replicas import relax
from physics.textures import skyrmions

if TYPE_CHECKING:
    from physics.chiral import ChiralMagnet

TRIED = 0.6, 1.4  # skyrmions, in units of those of a triangular lattice whose first ring of k is the spiral's
CLOSEST = 0.8  # distance of neighbours, in units of that in a triangular lattice as dense
SHAKEN = 0.02  # of that distance: how far skyrmions stand from the points, so that none rests on a saddle
SWEEPS = 20_000


class Cell(NamedTuple):
    """A Bravais lattice of a c points on a torus: c rows of a, each moved by b / (a c) of an edge to the last."""

    a: int
    b: int
    c: int

    def points(self, L: int) -> np.ndarray:
        """Its points ``(a c, 2)`` as x, y, in sites of a lattice of L x L; the first at the origin."""
        i, j = np.meshgrid(np.arange(self.a), np.arange(self.c))
        return np.stack(((i + self.b * j / self.c) * L / self.a, j * L / self.c), -1).reshape(-1, 2) % L

    def spacing(self) -> float:
        """The distance of neighbours, in units of the triangular lattice's of as many points, (2 / sqrt(3) n)^(1/2)."""
        x, y = np.moveaxis((self.points(1) + 0.5) % 1 - 0.5, -1, 0)
        distances = np.sort(np.hypot(x, y))
        n = self.a * self.c
        return float(distances[1] if n > 1 else 1.0) / math.sqrt(2 / (math.sqrt(3) * n))


def cells(n: int) -> Iterator[Cell]:
    """Every Bravais lattice of n points on a torus, by Hermite normal forms: as many as the divisors of n add up to."""
    for c in range(1, n + 1):
        if n % c == 0:
            yield from (Cell(n // c, b, c) for b in range(c))


class Lattice(NamedTuple):
    """A skyrmion lattice at rest: its spins, float32 ``(3, L, L)``, and the cell that it was made from."""

    spins: np.ndarray
    cell: Cell


@lru_cache(maxsize=16)
def skyrmion_ground_state(magnet: ChiralMagnet, L: int) -> Lattice:
    """The skyrmion lattice of lowest energy, each near to triangular relaxed at T = 0.

    A lattice whose first ring of wave vectors has the length k of the spiral has n = sqrt(3)/2 (k L / 2 pi)^2
    skyrmions; 0.6 to 1.4 times as many are tried.  It is the ground state in fields that favour a lattice.

    Raises:
        ValueError: the magnet is not periodic or has no DM coupling, or no lattice of skyrmions stays in it.
    """
    if magnet.boundary != "periodic" or magnet.mask is not None or not magnet.D:
        raise ValueError("lattice: expected a periodic magnet with D and without a mask")
    expected = math.sqrt(3) / 2 * (L / magnet.period) ** 2
    numbers = range(max(1, math.floor(TRIED[0] * expected)), math.ceil(TRIED[1] * expected) + 1)
    tried = [cell for n in numbers for cell in cells(n) if cell.spacing() >= CLOSEST]
    made = [_skyrmions(magnet, L, cell.points(L)) for cell in tried]
    spins = relax(magnet, np.stack(made), SWEEPS)
    n = np.array([cell.a * cell.c for cell in tried])
    whole = _charges(spins) == n
    if not whole.any():
        raise ValueError(f"lattice: no lattice of skyrmions is stable in {magnet.label} at L = {L}")
    energies = np.where(whole, magnet.energy(torch.from_numpy(spins).double()).numpy(), np.inf)
    best = int(energies.argmin())
    return Lattice(spins[best], tried[best])


@lru_cache(maxsize=16)
def interstitial(magnet: ChiralMagnet, L: int) -> np.ndarray:
    """:func:`skyrmion_ground_state` with one more skyrmion in a triangle of it, relaxed at T = 0: ``(3, L, L)``.

    Raises:
        ValueError: there is no lattice, or it has no room for another skyrmion.

    Source: E-VAE (2021), figure 4.
    """
    points = skyrmion_ground_state(magnet, L).cell.points(L)
    spins = relax(magnet, _skyrmions(magnet, L, np.concatenate((points, [hole(points, L)])))[None], SWEEPS)
    if _charges(spins)[0] != len(points) + 1:
        raise ValueError(f"interstitial: no room for one in the lattice of {magnet.label} at L = {L}")
    return spins[0]


def hole(points: np.ndarray, L: int) -> np.ndarray:
    """The site (x, y) of a torus that lies farthest from all points ``(n, 2)``: in the middle of a triangle."""
    sites = np.stack(np.meshgrid(np.arange(L), np.arange(L)), -1).reshape(-1, 1, 2)
    nearest = np.linalg.norm((sites - points + L / 2) % L - L / 2, axis=-1).min(1)
    return sites[nearest.argmax(), 0]


def _skyrmions(magnet: ChiralMagnet, L: int, centres: np.ndarray) -> np.ndarray:
    """Skyrmions near ``(n, 2)`` that leave some of the background, along the field, between them."""
    spacing = math.sqrt(2 / (math.sqrt(3) * len(centres))) * L
    shaken = centres + SHAKEN * spacing * np.random.default_rng(0).standard_normal(centres.shape)
    made = skyrmions(magnet, L, [(float(x), float(y)) for x, y in shaken], 0.45 * spacing)
    return -made if magnet.B < 0 else made  # E(-S, -B) = E(S, B)


def _charges(spins: np.ndarray) -> np.ndarray:
    """|W| of states ``(n, 3, L, L)``, int ``(n,)``."""
    return topological_charge(torch.from_numpy(spins).double()).round().abs().int().numpy()
