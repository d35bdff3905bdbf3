"""Simulated annealing of chiral magnets: schedules, and configurations that depend on (seed, index) alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, model_validator

from physics.chiral import ChiralMagnet
from physics.model import SpinModel
from physics.registry import Later
from physics.replicas import batch_size, finish_omega, replicas_on
from physics.sampler import Device, Sampler, Samples, check_kind, not_at_rest

TYPICAL_FINISH = 2000  # greedy sweeps that a configuration takes


class Annealing(Sampler):
    r"""Simulated annealing: a heat-bath sweep at each temperature of a schedule, then descent to rest at T = 0.

    With s from 0 to 1 over the sweeps: "linear" is T_start + s (T_end - T_start), "geometric" is
    T_start (T_end/T_start)^s, "quadratic" is T_end + (T_start - T_end)(1 - s)^2, which spends its sweeps
    where domains coarsen.

    Attributes:
        overrelaxation: sweeps at constant energy after each heat-bath sweep.
        finish: greedy sweeps at most; a configuration stops once its largest torque |S x h| is below ``torque``.
    """

    devices: ClassVar[tuple[Device, ...]] = ("cpu", "gpu")

    name: Annotated[Literal["annealing"], Later()] = "annealing"
    kind: Literal["linear", "geometric", "quadratic"] = "linear"
    T_start: PositiveFloat = 1.0
    T_end: PositiveFloat = 0.001
    sweeps: Annotated[int, Field(gt=0, le=10**7)] = 100
    overrelaxation: Annotated[int, Field(ge=0, le=10**6)] = 10
    finish: Annotated[int, Field(ge=0, le=10**9)] = 20_000
    torque: PositiveFloat = 1e-3

    @model_validator(mode="after")
    def _cooling(self) -> Annealing:
        if self.T_end > self.T_start:
            raise ValueError(f"T_end: expected at most T_start = {self.T_start}, found {self.T_end}")
        return self

    def temperatures(self) -> np.ndarray:
        """float32 ``(sweeps,)``."""
        s = np.linspace(0.0, 1.0, self.sweeps)
        if self.kind == "linear":
            T = self.T_start + s * (self.T_end - self.T_start)
        elif self.kind == "geometric":
            T = self.T_start * (self.T_end / self.T_start) ** s
        else:
            T = self.T_end + (self.T_start - self.T_end) * (1 - s) ** 2
        return T.astype(np.float32)

    @property
    def updates_per_spin(self) -> int:
        """Moves made on each spin before the finish."""
        return self.sweeps * (1 + self.overrelaxation)

    def check(self, model: SpinModel, L: int) -> None:
        check_kind(self, model, ChiralMagnet)
        model.check(L)

    def spin_updates(self, L: int) -> float:
        return (self.updates_per_spin + min(self.finish, TYPICAL_FINISH)) * L**2

    def batch(self, L: int, device: Device = "cpu") -> int:
        return batch_size(L, device)

    def remarks(self, samples: Samples, model: SpinModel) -> list[str]:
        remedy = f"The descent took all of its {self.finish} sweeps; more of them (sampler.finish) go on."
        return not_at_rest(samples.spins, model, self.torque, remedy) if self.finish else []

    def sample(self, model: SpinModel, L: int, seed: int, indices: Sequence[int], device: Device = "cpu") -> Samples:
        """Annealed configurations; there are no labels.

        Raises:
            ValueError: another spin model, L is odd or below 4, or the mask has another size.
        """
        self.check(model, L)
        assert isinstance(model, ChiralMagnet)
        size, temperatures = batch_size(L, device), self.temperatures()
        finished = np.empty((len(indices), 3, L, L), np.float32)
        for first in range(0, len(indices), size):
            batch = indices[first : first + size]
            replicas = replicas_on(device)(model, L, seed, batch)
            replicas.heat_bath(temperatures, self.overrelaxation)
            finished[first : first + len(batch)] = replicas.relax(self.finish, self.torque, finish_omega(L))
        return Samples(finished, {})
