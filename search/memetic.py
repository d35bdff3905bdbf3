"""A genetic algorithm whose codes follow the gradient between generations."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from search.genetic import offspring, slots
from search.gradient import Gradient
from search.optimizer import OptimizerSettings, State, check_names, generator_of, generator_state, numbers


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
    takes_migrants: ClassVar[bool] = True
    name: Literal["memetic"] = "memetic"
    population: Annotated[int, Field(ge=2, le=10**7)] = 32
    learning_rate: PositiveFloat = 0.1
    generation: PositiveInt = 25
    replaced: Annotated[float, Field(ge=0, lt=1)] = 0.5
    pressure: PositiveFloat = 5.0
    mutation: Annotated[float, Field(ge=0, le=1)] = 0.02

    def start(self, latent_dim: int, seed: int) -> Memetic:
        return Memetic(self, latent_dim, seed)


class Memetic(Gradient):
    """Codes on their way up, and the best that each has passed through."""

    def __init__(self, settings: MemeticSettings, latent_dim: int, seed: int):
        self._settings, self._told = settings, 0
        self._rng = np.random.default_rng(seed)
        codes = self._rng.standard_normal((settings.population, latent_dim), np.float32)
        super().__init__(codes, settings.learning_rate)

    def tell(self, codes: np.ndarray, scores: np.ndarray, gradients: np.ndarray | None = None) -> None:
        """One step of Adam, and a selection if it is time.

        Raises:
            ValueError: there are no gradients.
        """
        super().tell(codes, scores, gradients)
        self._told += 1
        if self._told % self._settings.generation == 0:
            self._select()

    def _select(self) -> None:
        settings, order = self._settings, np.argsort(-self._best_scores, kind="stable")
        worst = order[len(order) - int(settings.replaced * len(order)) :]
        drawn = slots(self._best_scores[order], settings.pressure, "exponential")
        self._codes[worst] = offspring(self._rng, self._best[order], drawn, len(worst), settings.mutation)
        self._best_scores[worst] = -np.inf
        self._adam.forget(worst)

    def state(self) -> State:
        return {**super().state(), "told": np.array(self._told), "generator": generator_state(self._rng)}

    def restore(self, state: State) -> None:
        check_names(state, self.state())
        told, rng = int(numbers(state, "told", (), np.int64)), generator_of(state)
        super().restore(state)
        self._told, self._rng = told, rng
