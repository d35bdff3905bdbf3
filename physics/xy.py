"""The XY model on a periodic square lattice: planar spins, whose defects are vortices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from physics.model import (
    ENERGY,
    Curve,
    Observable,
    SpinModel,
    Transformation,
    X,
    Y,
    check_checkerboard,
    quarter_turn,
    translations,
)
from physics.observables import correlation_function, distances, magnetization
from physics.thermal import Response, fluctuation
from physics.topology import FILTRATION, betti_numbers, graph_reach, minkowski
from physics.vortices import charges, dot_and_cross, product, spin_waves, turned, vortex_field


class XY(SpinModel):
    r"""Planar unit spins with exchange between neighbours, each bond once, on a torus.

    .. math:: H = -J \sum_{\langle ij\rangle} S_i \cdot S_j
              = -J \sum_{\langle ij\rangle} \cos(\vartheta_i - \vartheta_j)

    Spins are ``(..., 2, L, L)``: components x, y, then rows y, then columns x.
    """

    components: ClassVar[int] = 2
    defect: ClassVar[str] = "vortices"
    defect_at: ClassVar[float] = 0.5

    name: Literal["xy"] = "xy"
    J: Annotated[float, Field(ge=1e-6, le=1e12)] = 1.0

    @property
    def label(self) -> str:
        return "xy"

    def check(self, L: int) -> None:
        check_checkerboard(L)

    @property
    def observables(self) -> dict[str, Observable]:
        return {
            "energy": Observable(self.energy, "ε", "J per spin", ENERGY),
            "magnetization": Observable(
                lambda spins: magnetization(spins).norm(dim=-1), "|M|", words="length of the mean spin"
            ),
            "current_squared": Observable(self.current_squared, "N⟨j²⟩", "J²", "square of the spin current, times N"),
        }

    @property
    def responses(self) -> dict[str, Response]:
        """Heat capacity, susceptibility and helicity modulus, each per spin."""
        return super().responses | {
            "susceptibility": fluctuation("magnetization", "χ = N var(|M|)/T", lambda T: 1 / T),
            "helicity_modulus": Response(self._helicity_modulus, ("energy", "current_squared"), "Υ", "J"),
        }

    def _helicity_modulus(self, columns: dict[str, np.ndarray], T: float, N: int) -> float:
        """Resistance to a twist, (J <cos> - N <j^2>/T), the mean over both axes (Ohta and Jasnow, 1979)."""
        return float(self.J - columns["energy"].mean() / 2 - columns["current_squared"].mean() / T)

    def current_squared(self, spins: Tensor) -> Tensor:
        """N j^2 with j = J/N sum sin(theta_j - theta_i) over the bonds along an axis, the mean over both: ``(...)``."""
        currents = torch.stack([dot_and_cross(spins, axis)[1].sum((-2, -1)) for axis in (X, Y)])
        return self.J**2 * currents.square().sum(0) / (2 * spins.shape[-1] * spins.shape[-2])

    def defects(self, spins: Tensor) -> Tensor:
        return charges(spins)

    def energy(self, spins: Tensor) -> Tensor:
        spins = torch.as_tensor(spins)
        along = [(spins * torch.roll(spins, -1, axis)).sum(-3).mean((-2, -1)) for axis in (X, Y)]
        return self.J * (2 - along[0] - along[1])

    def energy_density(self, spins: Tensor) -> Tensor:
        spins = torch.as_tensor(spins)
        return -0.5 * (spins * self.effective_field(spins)).sum(-3)

    def effective_field(self, spins: Tensor) -> Tensor:
        spins = torch.as_tensor(spins)
        around = [torch.roll(spins, step, axis) for axis in (X, Y) for step in (1, -1)]
        return self.J * torch.stack(around).sum(0)

    def curves(self, L: int) -> dict[str, Curve]:
        theta = "filtration Θ"
        topological = {
            "area": "area A",
            "perimeter": "perimeter P",
            "euler_characteristic": "Euler characteristic χ",
            "radius": "radius R",
            "diameter": "diameter D",
            "components": "components b_0",
            "loops": "loops b_1",
        }
        return {
            "correlation": Curve(distances(L)[0], "⟨S_i · S_j⟩", "distance"),
            **{name: Curve(FILTRATION, label, theta, 0.05) for name, label in topological.items()},
        }

    def measure_curves(self, spins: Tensor) -> dict[str, Tensor]:
        """Correlation against distance, Minkowski functionals, graph measures and Betti numbers against filtration.

        Source: XY reconstruction (2024), figures 4b, 4c and 5.
        """
        return {
            "correlation": correlation_function(spins),
            **minkowski(spins),
            **graph_reach(spins),
            **betti_numbers(spins),
        }

    def baselines(self, labels: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
        """Fields with the charges at T = 0; the same with Gaussian spin waves; random directions (2024, figure 5)."""
        still = self.at_rest(labels["charges"])
        T = labels["temperature"].view(-1, 1, 1) / self.J
        rng = torch.Generator().manual_seed(seed)
        noise = torch.randn(len(still), *still.shape[-2:], generator=rng)
        angle = spin_waves(noise, T)
        waved = product(still, torch.stack((torch.cos(angle), torch.sin(angle)), -3))
        drawn = torch.randn(still.shape, generator=rng)
        return {"T = 0": still, "spin waves": waved, "random": drawn / drawn.norm(dim=-3, keepdim=True)}

    def at_rest(self, given: Tensor, sweeps: int = 500) -> Tensor:
        """Spins float32 ``(n, 2, L, L)`` that descended to T = 0 with their charges ``(n, L, L)`` held."""
        from physics.metropolis import PlanarReplicas  # which samples this model

        generators = [np.random.default_rng(i) for i in range(len(given))]
        replicas = PlanarReplicas(self, generators, vortex_field(given).numpy(), held=True)
        replicas.align(sweeps)
        return torch.from_numpy(replicas.spins())

    def symmetries(self, L: int) -> dict[str, Transformation]:
        return {
            **translations(L),
            "quarter turn of the lattice": quarter_turn,
            "a turn of every spin": lambda spins: turned(spins, [1.0] * len(spins)),
            "reflection of every spin": lambda spins: spins * spins.new_tensor([1.0, -1.0])[:, None, None],
        }

    @property
    def energy_scale(self) -> float:
        return self.J

    def ground_state_energy(self, L: int) -> float | None:
        return 0.0
