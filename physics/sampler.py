"""The protocol of a sampler: what makes the configurations of a data set, each from (all settings, its index) alone.

To add one: a file with a class of :class:`Sampler`, and a line in :data:`SAMPLERS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import BeforeValidator, SerializeAsAny

from physics.model import SpinModel
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
    """

    devices: ClassVar[tuple[Device, ...]] = ("cpu",)
    prefix: ClassVar[str] = ""
    labels: ClassVar[tuple[str, ...]] = ()

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


def check_kind(sampler: Sampler, model: SpinModel, kind: type[SpinModel]) -> None:
    """Raise ValueError unless the model is of the kind that the sampler's kernel moves."""
    if not isinstance(model, kind):
        raise ValueError(f"sampler {sampler.name}: expected a {kind.__name__}, found {type(model).__name__}")
