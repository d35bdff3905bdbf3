"""The genetic algorithm of the latent optimization (2022), ask and tell."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from search.optimizer import Candidates, Optimizer, OptimizerSettings, State, check_names, numbers


class GeneticSettings(OptimizerSettings):
    """Roulette-wheel selection, uniform crossover and random reset on latent codes.

    The wheel gives the code of rank r (0 the best of n) a slot in proportion to exp(-pressure r / (n - 1)): the
    best is drawn e^pressure times as often as the worst, whatever the scale of the scores.  The paper names a
    selection pressure (8 for W and M_z, 5 for C and the energy) and leaves the wheel open.

    Attributes:
        population: codes a generation.
        mutation: probability that a gene is drawn anew from the prior N(0, 1).
        elite: best codes that pass on unchanged (and are not asked for again).
    """

    name: Literal["genetic"] = "genetic"
    pressure: PositiveFloat = 8.0
    mutation: Annotated[float, Field(ge=0, le=1)] = 0.01
    elite: NonNegativeInt = 1

    @model_validator(mode="after")
    def _elite(self) -> GeneticSettings:
        if self.elite >= self.population:
            raise ValueError(f"elite: expected less than the population of {self.population}, found {self.elite}")
        return self

    def start(self, latent_dim: int, seed: int) -> Genetic:
        return Genetic(self, latent_dim, seed)


class Genetic(Optimizer):
    """A population of codes, best first."""

    def __init__(self, settings: GeneticSettings, latent_dim: int, seed: int):
        population = settings.population
        self._rng = np.random.default_rng(seed)
        self._shape = (population, latent_dim)
        self._mutation, self._elite = settings.mutation, settings.elite
        wheel = np.exp(-settings.pressure * np.arange(population) / (population - 1))
        self._wheel = np.cumsum(wheel / wheel.sum())
        self.codes = np.empty((0, latent_dim), np.float32)
        self.scores = np.empty(0)

    def ask(self) -> np.ndarray:
        """Codes ``(m, latent_dim)`` to score next: the prior's at first, then offspring."""
        population, latent = self._shape
        if not len(self.codes):
            return self._rng.standard_normal(self._shape, np.float32)
        shape = (population - self._elite, latent)
        spins = self._rng.random((2, shape[0]))
        mother, father = self.codes[np.minimum(np.searchsorted(self._wheel, spins), population - 1)]
        children = np.where(self._rng.random(shape) < 0.5, mother, father)
        reset = self._rng.random(shape) < self._mutation
        return np.where(reset, self._rng.standard_normal(shape, np.float32), children)

    def tell(self, codes: np.ndarray, scores: np.ndarray, gradients: np.ndarray | None = None) -> None:
        elite = self._elite if len(self.codes) else 0
        codes = np.concatenate((self.codes[:elite], codes))
        scores = np.concatenate((self.scores[:elite], np.nan_to_num(scores, nan=-np.inf)))
        order = np.argsort(-scores, kind="stable")
        self.codes, self.scores = codes[order], scores[order]

    def result(self) -> Candidates:
        """The last generation, the elite among it."""
        return Candidates(self.codes, self.scores)

    def state(self) -> State:
        return {
            "codes": self.codes,
            "scores": self.scores,
            "generator": np.array(json.dumps(self._rng.bit_generator.state)),
        }

    def restore(self, state: State) -> None:
        check_names(state, ("codes", "scores", "generator"))
        told = self._shape[0] if np.size(state["scores"]) else 0  # a whole generation, or none yet
        codes = numbers(state, "codes", (told, self._shape[1]))
        scores = numbers(state, "scores", (told,), np.float64)
        rng = np.random.default_rng()
        try:
            rng.bit_generator.state = json.loads(str(state["generator"]))
        except Exception:  # JSON and NumPy have several of their own
            raise ValueError("generator: expected the state of one as JSON, found something else") from None
        self.codes, self.scores, self._rng = codes, scores, rng
