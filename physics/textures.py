"""Spin textures made by formula: spirals and skyrmion lattices, float64 ``(3, L, L)``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from physics.chiral import ChiralMagnet


def _axis(magnet: ChiralMagnet, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In-plane axis about which spins prefer to turn along the direction (x, y): the sum of its DM vectors."""
    sign = math.copysign(1.0, magnet.D)
    return (sign * x, sign * y) if magnet.dm == "bloch" else (-sign * y, sign * x)


def _turned(angle: np.ndarray, axis: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """z turned by ``angle`` about an in-plane unit axis u: z cos + (u x z) sin."""
    ux, uy = axis
    return np.stack(np.broadcast_arrays(np.sin(angle) * uy, -np.sin(angle) * ux, np.cos(angle)))


def spiral(magnet: ChiralMagnet, L: int, m: int, n: int) -> np.ndarray:
    """Single-q spiral with k = 2 pi (m, n) / L, turning in the plane normal to its DM vectors."""
    kx, ky = 2 * math.pi * m / L, 2 * math.pi * n / L
    norm = math.hypot(math.sin(kx), math.sin(ky)) or 1.0
    y, x = np.mgrid[:L, :L]
    axis = _axis(magnet, np.asarray(math.sin(kx) / norm), np.asarray(math.sin(ky) / norm))
    return _turned(kx * x + ky * y, axis)


def spiral_energy(magnet: ChiralMagnet, L: int, m: int, n: int) -> float:
    """Exact energy per spin of :func:`spiral` relative to the uniform state, at B = K = 0, periodic.

    2J - J (cos kx + cos ky) - |D| hypot(sin kx, sin ky); its minimum over (m, n) is the ground state for J > 0,
    since it saturates the Luttinger-Tisza bound.
    """
    kx, ky = 2 * math.pi * m / L, 2 * math.pi * n / L
    J, D = magnet.J, abs(magnet.D)
    return 2 * J - J * (math.cos(kx) + math.cos(ky)) - D * math.hypot(math.sin(kx), math.sin(ky))


def lowest_spiral_energy(magnet: ChiralMagnet, L: int) -> float:
    """The lowest :func:`spiral_energy` of the wave vectors that the lattice has."""
    quadrant = range(L // 2 + 1)
    return min(spiral_energy(magnet, L, m, n) for m in quadrant for n in quadrant)


def skyrmions(magnet: ChiralMagnet, L: int, centres: Iterable[tuple[float, float]], radius: float) -> np.ndarray:
    """Skyrmions, cores down in an up background, at ``centres`` (x, y); they turn linearly out to ``radius``.

    Each site belongs to the nearest centre on the torus.
    """
    y, x = np.mgrid[:L, :L]
    nearest = np.full((L, L), np.inf)
    dx, dy = np.zeros((L, L)), np.zeros((L, L))
    for cx, cy in centres:
        ex, ey = (x - cx + L / 2) % L - L / 2, (y - cy + L / 2) % L - L / 2
        closer = np.hypot(ex, ey) < nearest
        nearest = np.where(closer, np.hypot(ex, ey), nearest)
        dx, dy = np.where(closer, ex, dx), np.where(closer, ey, dy)
    away = np.maximum(nearest, 1e-12)
    angle = math.pi * (1 + np.minimum(nearest / radius, 1.0))
    return _turned(angle, _axis(magnet, dx / away, dy / away))


def lattice_sites(L: int, columns: int, rows: int) -> list[tuple[float, float]]:
    """Centres of a triangular lattice on the torus: every other row moved by half a step.

    Raises:
        ValueError: an odd number of rows, which would not close.
    """
    if rows % 2:
        raise ValueError(f"skyrmion lattice: expected an even number of rows, found {rows}")
    return [((i + 0.5 * (j % 2)) * L / columns, j * L / rows) for j in range(rows) for i in range(columns)]


def skyrmion_lattice(magnet: ChiralMagnet, L: int, columns: int, rows: int) -> np.ndarray:
    """A triangular lattice of ``columns`` x ``rows`` skyrmions, to be relaxed at T = 0."""
    return skyrmions(magnet, L, lattice_sites(L, columns, rows), L / (2 * max(columns, rows)))


def skyrmion_interstitial(magnet: ChiralMagnet, L: int, columns: int, rows: int) -> np.ndarray:
    """:func:`skyrmion_lattice` with one more skyrmion in the middle of a triangle (2021, figure 4)."""
    extra = (L / (2 * columns), L / (3 * rows))
    centres = [*lattice_sites(L, columns, rows), extra]
    return skyrmions(magnet, L, centres, L / (3 * max(columns, rows)))
