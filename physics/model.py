"""The protocol of a spin model: energies, symmetries, observables, defects and colours of spins on a lattice.

To add one: a file with a class of :class:`SpinModel`, and a line in :data:`SPIN_MODELS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import BeforeValidator, SerializeAsAny
from torch import Tensor

from physics.registry import Registry, Tagged
from physics.render import spin_colors
from physics.thermal import HEAT_CAPACITY, Response

ANGLES = "acos", "asin", "atan", "cos", "sin", "tan"
POWERS = "erf", "erfc", "exp", "expm1", "log", "log10", "log1p", "log2", "sqrt", "tanh"
for _name in (*ANGLES, *POWERS):
    # MKL chooses the kernel of a function at its first call. Of two threads that make it together one may get a kernel
    # of 11 bits (pytorch/pytorch#188792): one call alone comes first.
    for _type in (torch.float32, torch.float64):
        getattr(torch, _name)(torch.ones(1, dtype=_type))

X, Y = -1, -2  # the axes of a configuration (..., components, L, L)

ENERGY = "energy per spin, from that of parallel spins on: E/N + 2J on a torus"

Transformation = Callable[[Tensor], Tensor]
"""Spins ``(..., components, L, L)`` to spins of the same shape."""


class Observable(NamedTuple):
    """A number that a configuration has: a column of a data set, a row of a page, an objective of a search.

    Attributes:
        measure: spins ``(..., components, L, L)`` to ``(...)``, differentiable where it can be.
        label: its symbol, as axes and tables show it.
        unit: of its values, "" for a pure number.
        words: what it is, for a reader who does not know the symbol.
    """

    measure: Callable[[Tensor], Tensor]
    label: str
    unit: str = ""
    words: str = ""


class Curve(NamedTuple):
    """Numbers of each configuration against something: a correlation against a distance.

    Attributes:
        at: what they are against, ``(points,)``.
        label, against: as axes and tables show the numbers, and what they are against.
        tolerance: two ensembles agree at a point if their means differ by less than this share of the largest; None:
            they are compared by the coefficient of determination.
    """

    at: np.ndarray
    label: str
    against: str
    tolerance: float | None = None


class SpinModel(Tagged, ABC):
    """Classical spins on a square lattice; configurations are ``(..., components, L, L)``, axis -2 is y, axis -1 is x.

    Attributes:
        components: of a spin.
        defect: what its defects are called, a plural noun.
        defect_at: where a defect lies beside the site that it is listed at, in sites along x and y.
    """

    components: ClassVar[int]
    defect: ClassVar[str] = "defects"
    defect_at: ClassVar[float] = 0.0

    @property
    @abstractmethod
    def label(self) -> str:
        """Its parameters in the name of an artifact, such as D0.6-B0.2."""

    @abstractmethod
    def check(self, L: int) -> None:
        """Raise ValueError unless the model fits a lattice of L x L."""

    @abstractmethod
    def energy(self, spins: Tensor) -> Tensor:
        """Energy per spin relative to the uniform state, ``(..., components, L, L)`` to ``(...)``."""

    @abstractmethod
    def energy_density(self, spins: Tensor) -> Tensor:
        """Energy of each site, ``(..., components, L, L)`` to ``(..., L, L)``; its sum is the total energy E."""

    @abstractmethod
    def effective_field(self, spins: Tensor) -> Tensor:
        """h = -dE/dS, ``(..., components, L, L)``."""

    @property
    @abstractmethod
    def observables(self) -> dict[str, Observable]:
        """By name, the columns of a data set in their order; "energy" is one of them."""

    @property
    def responses(self) -> dict[str, Response]:
        """By name, what configurations at a temperature have together."""
        return {"heat_capacity": HEAT_CAPACITY}

    def curves(self, L: int) -> dict[str, Curve]:
        """By name, what :meth:`measure_curves` measures on a lattice of L x L."""
        return {}

    def measure_curves(self, spins: Tensor) -> dict[str, Tensor]:
        """Of configurations ``(n, components, L, L)``, each ``(n, points)``, by the names of :meth:`curves`."""
        return {}

    def known_states(self, L: int) -> dict[str, Callable[[], np.ndarray]]:
        """By name, states at rest that are known of the model, each ``(components, L, L)``, made as it is asked for.

        Calling one raises ValueError where the model has no such state on a lattice of L x L.
        """
        return {}

    def baselines(self, labels: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
        """Configurations ``(n, components, L, L)`` for labels ``(n, ...)`` by what a person could make without a model.

        A conditional system is held against them; by name, none where nothing is known.
        """
        return {}

    def relaxed(self, spins: np.ndarray) -> np.ndarray | None:
        """The nearby state of rest at T = 0 of each of ``(n, components, L, L)``; None where no way there is known."""
        return None

    @abstractmethod
    def defects(self, spins: Tensor) -> Tensor:
        """Where the defects are, int8 ``(..., L, L)``: their charge, 1 for those that have no sign, 0 for none."""

    def colors(self, spins: np.ndarray) -> np.ndarray:
        """RGB in [0, 1], ``(..., L, L, 3)``, of spins ``(..., components, L, L)``."""
        return spin_colors(spins)

    def symmetries(self, L: int) -> dict[str, Transformation]:
        """Transformations that leave the energy, and so the distribution of its data, as it is."""
        return {}

    def sites(self, L: int) -> np.ndarray:
        """The sites that exist, bool ``(L, L)``."""
        return np.ones((L, L), bool)

    def filling(self, L: int) -> float:
        """Share of the L x L sites that exist."""
        return float(self.sites(L).mean())

    def on_sites(self, spins: Tensor) -> Tensor:
        """Spins ``(..., components, L, L)``, zero where there is no site: what a sampler leaves there."""
        there = self.sites(spins.shape[-1])
        return spins if there.all() else torch.where(torch.as_tensor(there, device=spins.device), spins, 0.0)

    def torque(self, spins: Tensor) -> Tensor:
        """Length of the effective field's part normal to each spin, ``(..., L, L)``: zero in a state at rest."""
        spins = torch.as_tensor(spins)
        field = self.effective_field(spins)
        along = (field * spins).sum(-3, keepdim=True)
        return (field - along * spins).norm(dim=-3)

    def structure_factor(self, spins: Tensor) -> Tensor:
        r"""\|sum_r S(r) e^{-i k r}\|^2 / N over the N sites that exist, summed over components: ``(..., L, L)``.

        k = 0 is at [0, 0].  On a lattice whose sites all exist it is that of the unitary transform.
        """
        spins = self.on_sites(torch.as_tensor(spins))
        return torch.fft.fft2(spins, norm="ortho").abs().square().sum(-3) / self.filling(spins.shape[-1])

    def local_densities(self, spins: Tensor) -> dict[str, Tensor]:
        """By name, numbers of each site ``(..., L, L)`` that configurations are compared by, beside their waves.

        By default :meth:`site_energy`.  They are zero where there is no site.
        """
        return {"energy": self.site_energy(spins)}

    def site_energy(self, spins: Tensor) -> Tensor:
        """Energy of each site from the uniform state on, ``(..., L, L)``, whose mean over the sites is :meth:`energy`.

        It is zero where there is no site.
        """
        density = self.energy_density(spins)
        there = torch.as_tensor(self.sites(density.shape[-1]), device=density.device)
        uniform = self.energy(spins) - density.sum((-2, -1)) / there.sum()
        return (density + uniform[..., None, None]) * there

    @property
    def energy_scale(self) -> float:
        """What counts as a large difference of energies between sites, in pictures and for defects."""
        return 1.0

    def ground_state_energy(self, L: int) -> float | None:
        """The exact lowest :meth:`energy` on a lattice of L x L; None where it is not known."""
        return None

    @property
    def wave_number(self) -> float | None:
        """|k| of the ground state on an infinite lattice, in radians a site; None where there is none."""
        return None

    def count_defects(self, spins: Tensor) -> Tensor:
        """How many defects each configuration has, ``(...)``."""
        return (self.defects(spins) != 0).sum((-2, -1))

    @property
    def defect_column(self) -> str:
        """The name of their number in a table."""
        return self.defect.replace(" ", "_")


SPIN_MODELS: Registry[SpinModel] = Registry(
    SpinModel, "spin model", {"chiral": "physics.chiral:ChiralMagnet", "xy": "physics.xy:XY"}
)

AnySpinModel = Annotated[SerializeAsAny[SpinModel], BeforeValidator(partial(SPIN_MODELS.parse, default="chiral"))]
"""A field of settings that holds any spin model; the chiral magnet, if it names none."""


TRANSLATIONS = {"translation along x": X, "translation along y": Y}
"""What :func:`translations` calls its symmetries, and the axes that they are along."""


def translations(L: int) -> dict[str, Transformation]:
    """By one site along each axis of the torus: symmetries of a model that is the same everywhere."""
    return {name: partial(torch.roll, shifts=1, dims=axis) for name, axis in TRANSLATIONS.items()}


def quarter_turn(spins: Tensor) -> Tensor:
    """The lattice turned by 90 degrees about its middle, from x to y, spins ``(..., components, L, L)`` unchanged."""
    return torch.rot90(spins, 1, (X, Y))


def dot(a: Tensor, b: Tensor) -> Tensor:
    """a . b over the components of ``(..., 3, L, L)``."""
    ax, ay, az = a.unbind(-3)
    bx, by, bz = b.unbind(-3)
    return ax * bx + ay * by + az * bz


def cross(a: Tensor, b: Tensor) -> Tensor:
    """a x b over the components of ``(..., 3, L, L)``: several times faster than torch.linalg.cross in this layout."""
    ax, ay, az = a.unbind(-3)
    bx, by, bz = b.unbind(-3)
    return torch.stack((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx), -3)


def check_checkerboard(L: int) -> None:
    """Raise ValueError unless two sublattices close on the torus: L even, at least 4."""
    if L < 4 or L % 2:
        raise ValueError(f"L: expected an even number of at least 4, found {L}")
