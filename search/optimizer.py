"""The protocol of an optimizer of codes: ask for codes, tell their scores, which are maximised.

To add one: a file with settings of :class:`OptimizerSettings` and an :class:`Optimizer`, and a line in
:data:`OPTIMIZERS`.  An optimizer knows neither networks nor physics, and not where codes are scored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import BeforeValidator, Field, SerializeAsAny

from physics.registry import Registry, Tagged

State = dict[str, np.ndarray]
"""Arrays of numbers or text: a checkpoint that needs no pickle."""


class Candidates(NamedTuple):
    """What a search found, the best first: one winner, a front, or an archive.

    Attributes:
        codes: float32 ``(m, latent_dim)``.
        scores: float64 ``(m,)``.
    """

    codes: np.ndarray
    scores: np.ndarray


class Optimizer(ABC):
    """A search in progress."""

    @abstractmethod
    def ask(self) -> np.ndarray:
        """Codes to score next, float32 ``(m, latent_dim)``."""

    @abstractmethod
    def tell(self, codes: np.ndarray, scores: np.ndarray, gradients: np.ndarray | None = None) -> None:
        """Scores ``(m,)`` of the codes asked for, and where the settings say so their gradients ``(m, latent_dim)``.

        A score that is not a number ranks last.
        """

    @abstractmethod
    def result(self) -> Candidates: ...

    @abstractmethod
    def state(self) -> State:
        """All that the search goes on from; :meth:`restore` takes it."""

    @abstractmethod
    def restore(self, state: State) -> None:
        """Go on from a state.

        Raises:
            KeyError, ValueError: it is not of such a search.
        """


class OptimizerSettings(Tagged, ABC):
    """Settings of an optimizer, which start it.

    Attributes:
        uses_gradient: whether it is told gradients.
        population: codes that are scored together.
    """

    uses_gradient: ClassVar[bool] = False
    population: Annotated[int, Field(ge=2)] = 100

    @abstractmethod
    def start(self, latent_dim: int, seed: int) -> Optimizer: ...


Evaluate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]
"""Codes ``(m, latent_dim)`` to scores ``(m,)`` and gradients, None where they are not asked for."""


def advance(optimizer: Optimizer, evaluate: Evaluate) -> np.ndarray:
    """One iteration; returns the scores that it was told."""
    codes = optimizer.ask()
    scores, gradients = evaluate(codes)
    optimizer.tell(codes, scores, gradients)
    return scores


def check_shape(name: str, array: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Raise ValueError unless the array has that shape."""
    found = np.asarray(array)
    if found.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, found {found.shape}")
    return found


OPTIMIZERS: Registry[OptimizerSettings] = Registry(
    "optimizer", {"genetic": "search.genetic:GeneticSettings", "gradient": "search.gradient:GradientSettings"}
)

AnyOptimizer = Annotated[
    SerializeAsAny[OptimizerSettings], BeforeValidator(partial(OPTIMIZERS.parse, default="genetic"))
]
"""A field of settings that holds any optimizer; the genetic algorithm, if it names none."""
