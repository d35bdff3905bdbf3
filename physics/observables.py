"""What is measured on spin configurations ``(..., 3, L, L)``: a tensor ``(...)`` unless said otherwise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from physics.model import SpinModel, X, Y, cross, dot

if TYPE_CHECKING:
    from physics.chiral import ChiralMagnet


def magnetization(spins: Tensor) -> Tensor:
    """Sum of all spins over L^2, ``(..., components)``: their mean, where every site exists."""
    return torch.as_tensor(spins).mean((-2, -1))


def local_alignment(spins: Tensor, model: SpinModel) -> Tensor:
    """Cosine ``(..., L, L)`` between each spin and its effective field: 1 everywhere in a state at rest.

    Source: E-VAE (2021), figure 3.
    """
    field = model.effective_field(spins)
    return (torch.as_tensor(spins) * F.normalize(field, dim=-3)).sum(-3)


def field_angle(spins: Tensor, model: SpinModel) -> Tensor:
    """Angle ``(..., L, L)`` in radians, 0 to pi, between each spin and its effective field: 0 in a state at rest.

    atan2(|h - (h . S) S|, h . S), which is exact near 0 as well; 0 where there is no spin or no field.

    Source: E-VAE (2021), figure 3B.
    """
    spins = torch.as_tensor(spins)
    along = (spins * model.effective_field(spins)).sum(-3)
    return torch.atan2(model.torque(spins), along)


def correlation(spins: Tensor, a: tuple[float, float] = (1, 1)) -> Tensor:
    r"""Directional correlation C(a) = <S(r) . S(r + a)> on the torus, a = (a_x, a_y) in sites, whole or not.

    Between sites the spins are those of their trigonometric interpolation: C(a) = \sum_k |S_k|^2 cos(k . a) / N
    with the unitary transform.  It is 1 of a uniform state, and below it largest for stripes along a.

    Source: latent optimization (2022), "Genetic algorithm".
    """
    spins = torch.as_tensor(spins)
    L = spins.shape[-1]
    k = 2 * math.pi * torch.fft.fftfreq(L, dtype=spins.dtype, device=spins.device)
    phase = torch.cos(k[None, :] * a[0] + k[:, None] * a[1])
    power = torch.fft.fft2(spins, norm="ortho").abs().square().sum(-3)
    return (power * phase).sum((-2, -1)) / L**2


def distances(L: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances between sites on the torus, ascending, and the number of each step's, ``(L, L)``, step 0 at [0, 0]."""
    step = np.minimum(np.arange(L), L - np.arange(L))
    squared, which = np.unique(step[:, None] ** 2 + step[None, :] ** 2, return_inverse=True)
    return np.sqrt(squared), which.reshape(L, L)


def correlation_function(spins: Tensor) -> Tensor:
    """<S_i . S_j> of each configuration against the distance of i and j, ``(n, components, L, L)`` to ``(n, points)``.

    The mean over all pairs at each of :func:`distances`, on the torus.
    """
    spins = torch.as_tensor(spins)
    L = spins.shape[-1]
    power = torch.fft.fft2(spins.double()).abs().square().sum(-3)
    product = (torch.fft.ifft2(power).real / L**2).flatten(1)
    at, which = distances(L)
    sums = product.new_zeros(len(spins), len(at)).index_add_(1, torch.from_numpy(which.ravel()), product)
    return sums / torch.from_numpy(np.bincount(which.ravel()))


def nodal_points(spins: Tensor, magnet: ChiralMagnet, threshold: float = 1.0) -> Tensor:
    """Where spins collide: bool ``(..., L, L)``, true at the nodal points; ``.sum((-2, -1))`` counts them.

    A nodal point is a site whose energy is above what parallel spins have there by more than ``threshold`` J, and
    above its eight neighbours' (exchange energy 0 rather than -2 J is perpendicular neighbours all round; the
    2022 paper finds -0.11 at a nodal point and at most -1.88 where there is none).  Parallel spins have -J/2 a bond;
    sites outside the mask and beyond an open edge are no neighbours.
    """
    density = magnet.energy_density(spins)
    L = density.shape[-1]
    there = torch.as_tensor(magnet.sites(L), device=density.device)
    density = torch.where(there, density, -math.inf)
    parallel = 0.5 * magnet.J * magnet.neighbours(L).to(density)
    around = density.reshape(-1, 1, L, L)
    for edges, ends in ((magnet.open_x, (1, 1, 0, 0)), (magnet.open_y, (0, 0, 1, 1))):
        around = F.pad(around, ends, value=-math.inf) if edges else F.pad(around, ends, mode="circular")
    highest = F.max_pool2d(around, 3, stride=1).view_as(density)
    return (density == highest) & (density + parallel > threshold * abs(magnet.J))


def structure_factor(field: Tensor) -> Tensor:
    """|F[field]|^2 with the unitary transform, ``(..., L, L)`` to ``(..., L, L)``, the zero wave vector at [0, 0]."""
    return torch.fft.fft2(field, norm="ortho").abs().square()


def wave_angle(structure: Tensor) -> Tensor:
    """Direction of the strongest wave vector but k = 0 in degrees from x to y, in [0, 180), as k and -k are one.

    ``structure`` is a structure factor ``(..., L, L)``, k = 0 at [0, 0]; the result has shape ``(...)``.
    """
    L = structure.shape[-1]
    strongest = structure.flatten(-2)[..., 1:].argmax(-1) + 1
    ky, kx = ((step + L // 2) % L - L // 2 for step in (strongest // L, strongest % L))
    return torch.rad2deg(torch.atan2(ky.double(), kx.double())) % 180


def kspace_mse(structure: Tensor) -> Tensor:
    """Mean over all pairs of configurations, and over k, of (|F_a(k)| - |F_b(k)|)^2.

    ``structure`` holds |F|^2 of each configuration, ``(n, L, L)``, from the unitary transform.  Taking the modulus of F
    makes translates of one state equal, as the 2021 paper's figure 5B counts them.  Zero when all states are one.

    Raises:
        ValueError: fewer than two configurations.
    """
    n = len(structure)
    if n < 2:
        raise ValueError(f"kspace_mse: expected at least 2 configurations, found {n}")
    return 2 * structure.sqrt().var(0, correction=1).mean()


def topological_charge(spins: Tensor, magnet: ChiralMagnet | None = None) -> Tensor:
    """The sum of :func:`charge_density`: an integer on a periodic lattice.

    Axes are right-handed (x with the column, y with the row), so a skyrmion with its core down in an up background
    counts -1.  Pass the magnet where it has a mask or its boundary is not periodic.
    """
    return charge_density(spins, magnet).sum((-2, -1))


def charge_density(spins: Tensor, magnet: ChiralMagnet | None = None) -> Tensor:
    """Topological charge of each plaquette, ``(..., L, L)``, from the site at its corner.

    Solid angles of its two triangles over 4 pi (Berg and Lüscher, 1981); none of a triangle that leaves the magnet.
    """
    shift = magnet.shift if magnet else lambda field, axis, step: torch.roll(field, -step, axis)
    corner = torch.as_tensor(spins)
    corner = magnet.on_sites(corner) if magnet else corner
    right, up = shift(corner, X, 1), shift(corner, Y, 1)
    across = shift(right, Y, 1)
    return (_solid_angle(corner, right, across) + _solid_angle(corner, across, up)) / (4 * math.pi)


def _solid_angle(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Of the spherical triangle a, b, c: tan(angle/2) = a.(b x c) / (1 + a.b + b.c + c.a); zero if a spin is absent."""
    angle = 2 * torch.atan2(dot(a, cross(b, c)), 1 + dot(a, b) + dot(b, c) + dot(c, a))
    present = dot(a, a) * dot(b, b) * dot(c, c)
    return torch.where(present > 0, angle, 0.0)


def topological_charge_continuum(spins: Tensor) -> Tensor:
    """W = 1/(4 pi) sum M . (dM/dx x dM/dy) with central differences on the torus, not an integer.

    Source: latent optimization (2022), "Genetic algorithm".
    """
    spins = torch.as_tensor(spins)
    dx = 0.5 * (torch.roll(spins, -1, X) - torch.roll(spins, 1, X))
    dy = 0.5 * (torch.roll(spins, -1, Y) - torch.roll(spins, 1, Y))
    return dot(spins, cross(dx, dy)).sum((-2, -1)) / (4 * math.pi)
