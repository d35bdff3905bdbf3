"""The chiral magnet on a square lattice: exchange, Dzyaloshinskii-Moriya coupling, field and anisotropy, in torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor

from physics.model import (
    ENERGY,
    Observable,
    SpinModel,
    Transformation,
    X,
    Y,
    check_checkerboard,
    cross,
    dot,
    quarter_turn,
    translations,
)
from physics.observables import magnetization, nodal_points, structure_factor, topological_charge
from physics.registry import Later
from physics.textures import lowest_spiral_energy

LEAST, MOST = 1e-6, 1e12  # the largest coupling, beyond which squares of fields leave the range of float32
Coupling = Annotated[float, Field(ge=-MOST, le=MOST)]


def _mask_rows(mask: Any) -> Any:
    """A boolean array as rows of "0" and "1", which hash, compare and read well in YAML."""
    if isinstance(mask, np.ndarray | Tensor):
        if mask.ndim != 2:
            raise ValueError(f"expected an array of two dimensions, found {mask.ndim}")
        return tuple(bytes(row).decode() for row in np.where(np.asarray(mask) != 0, b"1", b"0"))
    return mask


class ChiralMagnet(SpinModel):
    r"""Classical Heisenberg spins with exchange, Dzyaloshinskii-Moriya coupling, field and anisotropy.

    .. math:: H = -J \sum_{\langle ij\rangle} S_i \cdot S_j
              - \sum_{\langle ij\rangle} D_{ij} \cdot (S_i \times S_j)
              - B \sum_i S^z_i - K \sum_i (S^z_i)^2

    Each bond is counted once, from i to its +x and +y neighbour.  D_ij is D r_ij ("bloch") or
    D z x r_ij ("neel").  Energies, fields and temperatures are in units of ``J`` as given.

    Spins are ``(..., 3, L, L)``: components x, y, z, then rows y, then columns x.  An absent site (outside
    ``mask``) is a spin of length zero.

    Attributes:
        boundary: "periodic", "open", or "wire" (periodic along x, open along y).
        mask: the sites that exist, a boolean ``(L, L)`` array or rows of "0" and "1"; None for all.
    """

    components: ClassVar[int] = 3
    defect: ClassVar[str] = "nodal points"

    name: Annotated[Literal["chiral"], Later()] = "chiral"
    J: Coupling = 1.0
    D: Coupling = 0.6
    B: Coupling = 0.0
    K: Coupling = 0.0
    dm: Literal["bloch", "neel"] = "bloch"
    boundary: Literal["periodic", "open", "wire"] = "periodic"
    mask: Annotated[tuple[str, ...] | None, BeforeValidator(_mask_rows)] = None

    @model_validator(mode="after")
    def _check_mask(self) -> ChiralMagnet:
        rows = self.mask
        if rows is not None and (
            any(len(row) != len(rows) or set(row) - {"0", "1"} for row in rows) or "1" not in "".join(rows)
        ):
            raise ValueError("mask: expected L rows of L characters, 0 or 1, with a site that exists")
        return self

    @model_validator(mode="after")
    def _check_scale(self) -> ChiralMagnet:
        largest = max(abs(self.J), abs(self.D), abs(self.B), abs(self.K))
        if 0 < largest < LEAST:
            raise ValueError(f"J: expected a unit of energies, with couplings of at least {LEAST:g}, found {largest:g}")
        return self

    @property
    def open_x(self) -> bool:
        return self.boundary == "open"

    @property
    def open_y(self) -> bool:
        return self.boundary != "periodic"

    @property
    def label(self) -> str:
        return f"D{self.D:g}-B{self.B:g}"

    def check(self, L: int) -> None:
        check_checkerboard(L)
        self.sites(L)

    @property
    def observables(self) -> dict[str, Observable]:
        return {
            "energy": Observable(self.energy, "ε", "J per spin", ENERGY),
            "mz": Observable(self._mz, "M_z", words="mean of S_z over the sites, 1 where all spins point up"),
            "topological_charge": Observable(
                lambda spins: topological_charge(spins, self), "W", words="topological charge, ±1 for each skyrmion"
            ),
        }

    def _mz(self, spins: Tensor) -> Tensor:
        """Mean of S_z over the sites that exist, ``(..., 3, L, L)`` to ``(...)``."""
        spins = self.on_sites(torch.as_tensor(spins))
        return magnetization(spins)[..., 2] / self.filling(spins.shape[-1])

    def defects(self, spins: Tensor) -> Tensor:
        return nodal_points(spins, self).to(torch.int8)

    def structure_factor(self, spins: Tensor) -> Tensor:
        """|F[S_z]|^2 with the unitary transform, ``(..., L, L)``, as in the papers; for each site that exists."""
        spins = self.on_sites(torch.as_tensor(spins))
        return structure_factor(spins.select(-3, 2)) / self.filling(spins.shape[-1])

    def known_states(self, L: int) -> dict[str, Callable[[], np.ndarray]]:
        """The skyrmion lattice of lowest energy, and the same with one skyrmion more (2021, figure 4)."""
        from physics import lattices  # which relaxes this model

        return {
            "lattice": lambda: lattices.skyrmion_ground_state(self, L).spins.copy(),
            "interstitial": lambda: lattices.interstitial(self, L).copy(),
        }

    def relaxed(self, spins: np.ndarray) -> np.ndarray | None:
        from physics.replicas import relax  # which knows this model

        return relax(self, spins)

    def symmetries(self, L: int) -> dict[str, Transformation]:
        found: dict[str, Transformation] = {}
        if self.mask is None and self.boundary == "periodic":
            found |= translations(L)
        sites = self.sites(L)
        if self.boundary != "wire" and (sites == np.rot90(sites)).all():
            found["quarter turn of lattice and spins"] = lambda spins: _turned_about_z(quarter_turn(spins))
        if self.B == 0:
            found["reversal of every spin"] = torch.neg
        return found

    @property
    def energy_scale(self) -> float:
        return abs(self.J)

    def ground_state_energy(self, L: int) -> float | None:
        """The lowest energy of a spiral where it is the exact bound: J > 0, B = K = 0, every site, a torus.

        Source: Luttinger and Tisza (1946).
        """
        if self.J <= 0 or self.B or self.K or self.mask is not None or self.boundary != "periodic":
            return None
        return lowest_spiral_energy(self, L)

    @property
    def wave_number(self) -> float | None:
        return 2 * math.pi / self.period if self.D else None

    @property
    def period(self) -> float:
        """Wavelength of the spiral along an axis in sites, 2 pi / arctan(D/J)."""
        return 2 * math.pi / math.atan2(abs(self.D), self.J) if self.D else math.inf

    def sites(self, L: int) -> np.ndarray:
        """The sites that exist, bool ``(L, L)``.  Raises ValueError if the mask has another size."""
        if self.mask is None:
            return np.ones((L, L), bool)
        if len(self.mask) != L:
            raise ValueError(f"mask of {len(self.mask)} x {len(self.mask)} sites on a lattice of {L} x {L}")
        return np.frombuffer("".join(self.mask).encode(), "S1").reshape(L, L) == b"1"

    def shift(self, spins: Tensor, axis: int, step: int) -> Tensor:
        """At each site the neighbour ``step`` (+1 or -1) sites along ``axis``; zero beyond an open edge."""
        shifted = torch.roll(spins, -step, dims=axis)
        if self.open_x if axis == X else self.open_y:
            edge = [1.0] * spins.shape[axis]
            edge[-1 if step > 0 else 0] = 0.0
            keep = torch.tensor(edge, dtype=spins.dtype, device=spins.device)
            shifted = shifted * (keep if axis == X else keep[:, None])
        return shifted

    def neighbours(self, L: int) -> Tensor:
        """How many neighbours each site has, float64 ``(L, L)``; none where there is no site."""
        return _neighbours(self, L)

    def _turns(self, spins: Tensor, right: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
        """D_ij . (S_i x S_j) / D, ``(..., L, L)``, of the bonds from each site to its +x and to its +y neighbour."""
        x, y, z = spins.unbind(-3)
        rx, ry, rz = right.unbind(-3)
        ux, uy, uz = up.unbind(-3)
        if self.dm == "bloch":  # x.(S x S_right), y.(S x S_up)
            return y * rz - z * ry, z * ux - x * uz
        return z * rx - x * rz, z * uy - y * uz  # y.(S x S_right), -x.(S x S_up)

    def _bonds(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        """Energies ``(..., L, L)`` of the bonds from each site to its +x and to its +y neighbour."""
        right, up = self.shift(spins, X, 1), self.shift(spins, Y, 1)
        turns_right, turns_up = self._turns(spins, right, up)
        return (
            -self.J * (spins * right).sum(-3) - self.D * turns_right,
            -self.J * (spins * up).sum(-3) - self.D * turns_up,
        )

    def _halves(self, right: Tensor, up: Tensor) -> Tensor:
        """What each site has of its four bonds, half of each: ``(..., L, L)``."""
        return 0.5 * (right + self.shift(right, X, -1) + up + self.shift(up, Y, -1))

    def chirality(self, spins: Tensor) -> Tensor:
        r"""Chirality of each site, ``(..., 3, L, L)`` to ``(..., L, L)``: half of D_ij . (S_i x S_j) / D of its bonds.

        A pure number whose sign is the sense in which spins turn: sin q in a spiral of wave number q along an axis, if
        D > 0, and -sin q in its mirror image.
        """
        spins = self.on_sites(torch.as_tensor(spins))
        return self._halves(*self._turns(spins, self.shift(spins, X, 1), self.shift(spins, Y, 1)))

    def local_densities(self, spins: Tensor) -> dict[str, Tensor]:
        """Energy of each site beyond that of parallel spins, and its chirality."""
        return {"energy": self.site_energy(spins), "chirality": self.chirality(spins)}

    def site_energy(self, spins: Tensor) -> Tensor:
        """Energy of each site beyond the exchange energy that parallel spins have there."""
        density = self.energy_density(spins)
        return density + 0.5 * self.J * self.neighbours(density.shape[-1]).to(density)

    def _onsite(self, spins: Tensor) -> Tensor:
        z = spins.select(-3, 2)
        return -self.B * z - self.K * z * z

    def energy_density(self, spins: Tensor) -> Tensor:
        """Energy of each site, ``(..., 3, L, L)`` to ``(..., L, L)``: half of its bonds and all of its own.

        Its sum over the sites is the total energy E.
        """
        spins = self.on_sites(torch.as_tensor(spins))
        right, up = self._bonds(spins)
        return self._halves(right, up) + self._onsite(spins)

    def energy(self, spins: Tensor) -> Tensor:
        r"""Energy per spin relative to the uniform state, ``(..., 3, L, L)`` to ``(...)``.

        :math:`\varepsilon = (E - E_0)/N`, with E_0 the exchange energy of parallel spins: E/N + 2J on a
        periodic lattice.  It is the Hamiltonian loss L_H of the E-VAE (2021, equation (3)).
        """
        spins = self.on_sites(torch.as_tensor(spins))
        right, up = self._bonds(spins)
        L = spins.shape[-1]
        sites, bonds = _count(self, L)
        return (right + up + self._onsite(spins)).sum((-2, -1)) / sites + self.J * bonds / sites

    def effective_field(self, spins: Tensor) -> Tensor:
        """h = -dE/dS, ``(..., 3, L, L)``; zero on absent sites."""
        spins = self.on_sites(torch.as_tensor(spins))
        right, left = self.shift(spins, X, 1), self.shift(spins, X, -1)
        up, down = self.shift(spins, Y, 1), self.shift(spins, Y, -1)
        dx, dy, dz = (right - left).unbind(-3)
        ex, ey, ez = (up - down).unbind(-3)
        z = spins.select(-3, 2)
        chiral = torch.stack((-ez, dz, ex - dy) if self.dm == "bloch" else (-dz, -ez, dx + ey), -3)
        axial = torch.stack((0 * z, 0 * z, self.B + 2 * self.K * z), -3)
        return self.on_sites(self.J * (right + left + up + down) + self.D * chiral + axial)

    def torque(self, spins: Tensor) -> Tensor:
        """|S x h| of each site, ``(..., L, L)``: zero everywhere in a state at rest."""
        spins = torch.as_tensor(spins)
        turning = cross(spins, self.effective_field(spins))
        return dot(turning, turning).sqrt()


def _turned_about_z(spins: Tensor) -> Tensor:
    """Spins ``(..., 3, L, L)`` turned by 90 degrees about z, from x to y."""
    x, y, z = spins.unbind(-3)
    return torch.stack((-y, x, z), -3)


@lru_cache(maxsize=64)
def _neighbours(magnet: ChiralMagnet, L: int) -> Tensor:
    present = torch.as_tensor(magnet.sites(L), dtype=torch.float64)
    return present * torch.stack([magnet.shift(present, axis, step) for axis in (X, Y) for step in (1, -1)]).sum(0)


@lru_cache(maxsize=64)
def _count(magnet: ChiralMagnet, L: int) -> tuple[int, int]:
    """Sites that exist, and bonds between them."""
    return int(magnet.sites(L).sum()), int(magnet.neighbours(L).sum()) // 2
