"""The protocol of a sampler: what makes the configurations of a data set, each from (all settings, its index) alone.

To add one: a file with a class of :class:`Sampler`, and a line in :data:`SAMPLERS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BeforeValidator, SerializeAsAny

from physics.model import Curve, SpinModel
from physics.registry import Registry, Tagged

Device = Literal["cpu", "gpu"]


class Samples(NamedTuple):
    """Configurations with what is known of how each was made.

    Attributes:
        spins: float32 ``(n, components, L, L)``.
        labels: by name, numbers ``(n, ...)`` of any shape: temperature, charges, acceptance...
    """

    spins: np.ndarray
    labels: dict[str, np.ndarray]


class Sampler(Tagged, ABC):
    """Settings of a sampler, which samples by them.

    Attributes:
        devices: that it runs on.
        prefix: of the names of its data sets.
        labels: names of the labels that its samples have.
        about_curves: sentences on what :meth:`curves` shows.
    """

    devices: ClassVar[tuple[Device, ...]] = ("cpu",)
    prefix: ClassVar[str] = ""
    labels: ClassVar[tuple[str, ...]] = ()
    about_curves: ClassVar[str] = "Means over all configurations of what the sampler notes of each, number by number."

    @abstractmethod
    def check(self, model: SpinModel, L: int) -> None:
        """Raise ValueError unless it samples this model on a lattice of L x L."""

    @abstractmethod
    def sample(self, model: SpinModel, L: int, seed: int, indices: Sequence[int], device: Device = "cpu") -> Samples:
        """One configuration for each index, a function of (model, the settings here, L, seed, index, device) alone."""

    @abstractmethod
    def spin_updates(self, L: int) -> float:
        """Moves of single spins that a configuration typically takes."""

    def batch(self, L: int, device: Device = "cpu") -> int:
        """Configurations that are best made together."""
        return 1

    def curves(self, labels: Mapping[str, np.ndarray], model: SpinModel, L: int) -> list[tuple[Curve, np.ndarray]]:
        """Labels ``(n, points)`` as a page draws them: means over the configurations, and what they are against."""
        means = {name: values.mean(0) for name, values in labels.items() if values.ndim == 2}
        return [(Curve(np.arange(len(m)), name.replace("_", " "), "number"), m) for name, m in means.items()]

    def remarks(self, samples: Samples, model: SpinModel) -> list[str]:
        """Sentences on what was asked for and is not reached in these configurations."""
        return []


SAMPLERS: Registry[Sampler] = Registry(
    Sampler,
    "sampler",
    {
        "annealing": "physics.annealing:Annealing",
        "tempering": "physics.tempering:Tempering",
        "metropolis": "physics.metropolis:Metropolis",
    },
)

AnySampler = Annotated[SerializeAsAny[Sampler], BeforeValidator(partial(SAMPLERS.parse, default="annealing"))]
"""A field of settings that holds any sampler; annealing, if it names none."""


ROUNDING = 2e-6  # of a torque, in units of the couplings


def not_at_rest(spins: np.ndarray, model: SpinModel, asked: float, remedy: str) -> list[str]:
    """A sentence if some of the configurations ``(n, components, L, L)`` have a larger torque than asked for."""
    torque = model.torque(torch.as_tensor(spins)).flatten(1).amax(1)
    left = int((torque > 1.05 * asked + ROUNDING * model.energy_scale).sum())
    if not left:
        return []
    return [
        f"Not at rest: {left} of {len(spins)} configurations that were looked at have torques of up to "
        f"{torque.max().item():.2g} J, where at most {asked:g} was asked for (sampler.torque). {remedy}"
    ]


def check_kind(sampler: Sampler, model: SpinModel, kind: type[SpinModel]) -> None:
    """Raise ValueError unless the model is of the kind that the sampler's kernel moves."""
    if not isinstance(model, kind):
        raise ValueError(f"sampler {sampler.name}: expected a {kind.__name__}, found {type(model).__name__}")
