"""Vortices of XY spins on a torus: their charges, fields that have given charges, the Coulomb gas of their energies.

The charge of the plaquette with corners (x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1) stands at [..., y, x]; its
centre is at (x + 1/2, y + 1/2).  On a torus the charges add up to zero.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from physics.model import X, Y

TAU = 2 * math.pi
LARGEST_TURN = 0.95 * math.pi  # across a bond of a field that is made of charges
SLACK = 0.03  # by which bonds that are turned back are turned farther, so that it ends soon


def dot_and_cross(spins: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """S_i . S_j and S_i x S_j of each spin with its next along ``axis``, ``(..., 2, L, L)`` to ``(..., L, L)`` each."""
    x, y = torch.as_tensor(spins).unbind(-3)
    nx, ny = torch.roll(x, -1, axis), torch.roll(y, -1, axis)
    return x * nx + y * ny, x * ny - y * nx


def turns(spins: Tensor, axis: int) -> Tensor:
    """Angle in [-pi, pi] from each spin to its next along ``axis``, ``(..., 2, L, L)`` to ``(..., L, L)``."""
    dot, cross = dot_and_cross(spins, axis)
    return torch.atan2(cross, dot)


def _circulation(right: Tensor, up: Tensor) -> Tensor:
    """Sum of a bond quantity around each plaquette, counterclockwise."""
    return right + torch.roll(up, -1, X) - torch.roll(right, -1, Y) - up


def charges(spins: Tensor) -> Tensor:
    r"""Topological charge of each plaquette, int8 ``(..., L, L)``: -1, 0 or 1; their sum is exactly 0.

    .. math:: k_r = \frac{1}{2\pi} \sum_{\{i,j\} \in \square_r} \mathrm{saw}(\vartheta_j - \vartheta_i)

    with saw(x) = x - 2 pi sgn(x) where \|x\| >= pi (the paper's equation has a plus there).

    Source: XY reconstruction (2024), equation (2).
    """
    return (_circulation(turns(spins, X), turns(spins, Y)) / TAU).round().to(torch.int8)


def smooth_charges(spins: Tensor) -> Tensor:
    """The differentiable form of :func:`charges`, ``(..., L, L)``: a quarter of the sum of S_i x S_j around each.

    Source: XY reconstruction (2024), equation (3).
    """
    return _circulation(*(dot_and_cross(spins, axis)[1] for axis in (X, Y))) / 4


def charges_at(vortices: Sequence[tuple[int, int, int]], L: int) -> np.ndarray:
    """Charges int8 ``(L, L)`` of vortices (x, y, charge).

    Raises:
        ValueError: a vortex lies outside the lattice or on another, its charge is not 1 or -1, or the sum is not zero.
    """
    found = np.zeros((L, L), np.int8)
    for x, y, charge in vortices:
        if not (0 <= x < L and 0 <= y < L):
            raise ValueError(f"expected plaquettes from (0, 0) to ({L - 1}, {L - 1}), found ({x}, {y})")
        if charge not in (-1, 1):
            raise ValueError(f"expected charges of 1 or -1, found {charge} at ({x}, {y})")
        found[y, x] = charge
    for place, count in Counter((x, y) for x, y, _ in vortices).items():
        if count > 1:
            raise ValueError(f"expected one vortex a plaquette, found {count} at {place}")
    if total := found.sum():
        raise ValueError(f"expected charges that add up to 0, as on every torus, found a sum of {total}")
    return found


def harmonic_turns(given: Tensor) -> Bonds:
    """Turns, in float64, that least Villain energy gives to charges ``(..., L, L)``.

    With psi the solution of the discrete Poisson equation Laplace psi = 2 pi k on the plaquettes, the bond to the right
    turns by -(psi(x, y) - psi(x, y - 1)) and the bond up by psi(x, y) - psi(x - 1, y): the sum of squares is the least
    with these charges.  A uniform twist then makes every row and column close to a whole number of turns, by the
    smaller angle of the two ways: the winding sector of least energy.
    """
    given = torch.as_tensor(given).double()
    k = 2 * torch.cos(TAU * torch.fft.fftfreq(given.shape[-1], dtype=torch.float64, device=given.device))
    laplace = k[:, None] + k[None, :] - 4
    laplace[0, 0] = 1
    psi = torch.fft.ifft2(TAU * torch.fft.fft2(given) / laplace).real
    right, up = torch.roll(psi, 1, Y) - psi, psi - torch.roll(psi, 1, X)
    return Bonds(_closed(right, right[..., 0, :].sum(-1)), _closed(up, up[..., :, 0].sum(-1)))


def _closed(turn: Tensor, around: Tensor) -> Tensor:
    """With a twist that brings the turn once around the torus to the nearest multiple of 2 pi, the lower of two."""
    missing = TAU * torch.ceil(around / TAU - 0.5 - 1e-9) - around
    return turn + missing[..., None, None] / turn.shape[-1]


class Bonds(NamedTuple):
    """Turns across the bonds to the right and up, ``(..., L, L)`` each, of angles that are lifted to the real line.

    As long as no bond turns by more than pi, the field has the charges that the turns have around the plaquettes.
    """

    right: Tensor
    up: Tensor

    def turned(self, angle: Tensor) -> Bonds:
        """With each spin turned by an angle, ``(..., L, L)``."""
        return Bonds(self.right + torch.roll(angle, -1, X) - angle, self.up + torch.roll(angle, -1, Y) - angle)

    def held(self, largest: float) -> Bonds:
        """With spins turned back, where it is necessary, until no bond turns by more than ``largest``."""
        bonds, aim = self, largest - SLACK
        while max(turn.detach().abs().max() for turn in bonds) > largest:
            over = [turn - turn.clamp(-aim, aim) for turn in bonds]
            bonds = bonds.turned(0.2 * (over[0] - torch.roll(over[0], 1, X) + over[1] - torch.roll(over[1], 1, Y)))
        return bonds

    def spins(self) -> Tensor:
        """The field ``(..., 2, L, L)`` whose spin at (0, 0) points along +x."""
        right, up = self
        angle = torch.cumsum(up, Y) - up + (torch.cumsum(right, X) - right)[..., :1, :]
        return torch.stack((torch.cos(angle), torch.sin(angle)), -3)


def vortex_field(given: Tensor) -> Tensor:
    """A field of unit spins, float64 ``(..., 2, L, L)``, with charges ``(..., L, L)``, in the sector of least energy.

    It is that of :func:`harmonic_turns`, but that no bond turns by more than 0.95 pi, as the bond between two charges
    side by side would.  The spin at (0, 0) points along +x.
    """
    return harmonic_turns(given).held(LARGEST_TURN).spins()


def turned(spins: Tensor, angles: Tensor | list[float]) -> Tensor:
    """Each configuration ``(n, 2, L, L)`` turned as a whole by its angle ``(n,)``."""
    angle = torch.as_tensor(angles, dtype=spins.dtype, device=spins.device)[:, None, None]
    return product(spins, torch.stack((torch.cos(angle), torch.sin(angle)), -3))


def product(a: Tensor, b: Tensor) -> Tensor:
    """Spins ``(..., 2, L, L)`` whose angles are the sums of those of two fields: the product of complex numbers."""
    ax, ay = a.unbind(-3)
    bx, by = b.unbind(-3)
    return torch.stack((ax * bx - ay * by, ax * by + ay * bx), -3)


def spin_waves(noise: Tensor, temperature: Tensor) -> Tensor:
    """Angles ``(n, L, L)`` of thermal spin waves, to harmonic order, J = 1.

    White noise ``(n, L, L)`` gets the spectrum <|theta_k|^2> = T / (4 - 2 cos k_x - 2 cos k_y), and no uniform part.

    Args:
        temperature: broadcasts with ``(n, L, L)``.
    """
    k = 2 * torch.cos(TAU * torch.fft.fftfreq(noise.shape[-1], dtype=noise.dtype, device=noise.device))
    stiffness = 4 - k[:, None] - k[None, :]
    stiffness[0, 0] = torch.inf
    return temperature.to(noise).sqrt() * torch.fft.ifft2(torch.fft.fft2(noise) * stiffness.rsqrt()).real


def coulomb_energy(given: Tensor) -> Tensor:
    """Energy of charges ``(..., L, L)`` as a Coulomb gas on the lattice torus, in units of the stiffness: ``(...)``.

    Half the sum of squares of :func:`harmonic_turns`.  For a pair at distance r that is 2 pi (ln r + 1.617) for 1 << r
    << L, with the terms of the periodic images, and that of the dipole, which the winding sector of least energy has.
    """
    right, up = harmonic_turns(given)
    return 0.5 * (right.square() + up.square()).sum((-2, -1))


def lattice_vectors(distance: float, L: int) -> list[tuple[int, int]]:
    """Steps (x, y) on a torus of that length, to 0.01.

    Raises:
        ValueError: there are none.
    """
    reach = range(-(L // 2) + 1, L // 2 + 1)
    steps = [(x, y) for x in reach for y in reach]
    found = [step for step in steps if abs(math.hypot(*step) - distance) < 0.01]
    if not found:
        nearest = min((math.hypot(*step) for step in steps), key=lambda length: abs(length - distance))
        raise ValueError(f"distances: expected lengths of lattice vectors such as {nearest:.2f}, found {distance:g}")
    return found


def place_pairs(L: int, distance: float, pairs: int, rng: np.random.Generator) -> np.ndarray:
    """Charges int8 ``(L, L)``: pairs of +1 and -1 at a distance, anywhere and in any direction, none on another.

    Raises:
        ValueError: no room is found.
    """
    found = np.zeros((L, L), np.int8)
    steps = lattice_vectors(distance, L)
    for _ in range(1000 * pairs):
        x, y = rng.integers(L, size=2)
        dx, dy = steps[rng.integers(len(steps))]
        there = (y + dy) % L, (x + dx) % L
        if not found[y, x] and not found[there]:
            found[y, x], found[there] = 1, -1
        if np.count_nonzero(found) == 2 * pairs:
            return found
    if pairs == 0:
        return found
    raise ValueError(f"pairs: found no room for {pairs} pairs at distance {distance:g} on a lattice of {L} x {L}")
