"""A genetic algorithm whose codes follow the gradient between generations."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from search.adam import MOMENTS, Adam
from search.genetic import offspring, slots
from search.optimizer import (
    Candidates,
    Optimizer,
    OptimizerSettings,
    State,
    check_names,
    finite_or_last,
    generator_of,
    generator_state,
    numbers,
)

ARRAYS = ("codes", "best", "best_scores", "told", "generator")  # names in a state


class MemeticSettings(OptimizerSettings):
    """Each code climbs its score by Adam; every ``generation`` steps children of the better ones replace the worst.

    Parents are drawn by an exponential wheel of the best score on each way, and lend the code at which they had it.

    Attributes:
        generation: steps between two selections.
        replaced: share of the codes that are replaced.
        pressure: the best is drawn e^pressure times as often as the worst.
        mutation: probability that a gene of a child is drawn anew from the prior N(0, 1).
    """

    uses_gradient: ClassVar[bool] = True
    name: Literal["memetic"] = "memetic"
    population: Annotated[int, Field(ge=2, le=10**7)] = 32
    learning_rate: PositiveFloat = 0.1
    generation: PositiveInt = 25
    replaced: Annotated[float, Field(ge=0, lt=1)] = 0.5
    pressure: PositiveFloat = 5.0
    mutation: Annotated[float, Field(ge=0, le=1)] = 0.02

    def start(self, latent_dim: int, seed: int) -> Memetic:
        return Memetic(self, latent_dim, seed)


class Memetic(Optimizer):
    """Codes on their way up, and the best that each has passed through."""

    def __init__(self, settings: MemeticSettings, latent_dim: int, seed: int):
        self._settings, self._told = settings, 0
        self._rng = np.random.default_rng(seed)
        self._codes = self._rng.standard_normal((settings.population, latent_dim), np.float32)
        self._adam = Adam(self._codes.shape, settings.learning_rate)
        self._best, self._best_scores = self._codes, np.full(settings.population, -np.inf)

    def ask(self) -> np.ndarray:
        return self._codes.copy()

    def tell(self, codes: np.ndarray, scores: np.ndarray, gradients: np.ndarray | None = None) -> None:
        """One step of Adam, and a selection if it is time.

        Raises:
            ValueError: there are no gradients.
        """
        if gradients is None:
            raise ValueError("memetic: expected gradients of the scores, found none")
        told = finite_or_last(scores)
        better = told > self._best_scores
        self._best = np.where(better[:, None], self._codes, self._best)
        self._best_scores = np.where(better, told, self._best_scores)
        self._codes, self._told = self._codes + self._adam.step(gradients), self._told + 1
        if self._told % self._settings.generation == 0:
            self._select()

    def _select(self) -> None:
        settings, order = self._settings, np.argsort(-self._best_scores, kind="stable")
        worst = order[len(order) - int(settings.replaced * len(order)) :]
        drawn = slots(self._best_scores[order], settings.pressure, "exponential")
        self._codes[worst] = offspring(self._rng, self._best[order], drawn, len(worst), settings.mutation)
        self._best_scores[worst] = -np.inf
        self._adam.forget(worst)

    def result(self) -> Candidates:
        """The best of each code's way, the best code first; without children that have not been told yet."""
        order = np.argsort(-self._best_scores, kind="stable")
        order = order[np.isfinite(self._best_scores[order])]
        return Candidates(self._best[order], self._best_scores[order])

    def state(self) -> State:
        content = self._codes, self._best, self._best_scores, np.array(self._told), generator_state(self._rng)
        return {**dict(zip(ARRAYS, content, strict=True)), **self._adam.state()}

    def restore(self, state: State) -> None:
        check_names(state, (*ARRAYS, *MOMENTS))
        shape = self._codes.shape
        codes, best = (numbers(state, name, shape) for name in ("codes", "best"))
        scores, adam = numbers(state, "best_scores", shape[:1], np.float64), self._adam.restored(state)
        told, rng = int(numbers(state, "told", (), np.int64)), generator_of(state)
        self._codes, self._best, self._best_scores = codes, best, scores
        self._adam, self._told, self._rng = adam, told, rng
