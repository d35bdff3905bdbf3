"""The genetic algorithm of the latent optimization (2022), ask and tell."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from search.optimizer import (
    Best,
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

ARRAYS = ("codes", "scores", "generator")  # names in a state
TOGETHER = 2**16  # children that are made at once

Wheel = Literal["linear", "exponential"]


class GeneticSettings(OptimizerSettings):
    r"""Roulette-wheel selection, uniform crossover and random reset on latent codes.

    A code of cost C_i, minus its score, has a slot on the wheel in proportion to

    .. math:: f_i = (C_w - C_i) + (C_w - C_b) / (k - 1),

    of the worst and the best code of the generation: the best is drawn k times as often as the worst.  The paper names
    k as the selection pressure (8 for W and M_z, 5 for C and the energy).  The exponential wheel takes
    exp(-k r / (n - 1)) of the code of rank r, 0 the best of n, whatever the scale of the scores.

    Attributes:
        pressure: k.
        mutation: probability that a gene is drawn anew from the prior N(0, 1).
        elite: best codes that pass on unchanged (and are not asked for again).

    Source: latent optimization (2022), "Genetic algorithm".
    """

    takes_migrants: ClassVar[bool] = True
    recipe_version: ClassVar[int] = 2  # 1: the exponential wheel
    name: Literal["genetic"] = "genetic"
    pressure: PositiveFloat = 8.0
    wheel: Wheel = "linear"
    mutation: Annotated[float, Field(ge=0, le=1)] = 0.01
    elite: NonNegativeInt = 1

    @model_validator(mode="after")
    def _consistent(self) -> GeneticSettings:
        if self.elite >= self.population:
            raise ValueError(f"elite: expected less than the population of {self.population}, found {self.elite}")
        if self.wheel == "linear" and self.pressure <= 1:
            raise ValueError(f"pressure: expected more than 1 on a linear wheel, found {self.pressure:g}")
        return self

    def start(self, latent_dim: int, seed: int) -> Genetic:
        return Genetic(self, latent_dim, seed)


def slots(scores: np.ndarray, pressure: float, wheel: Wheel) -> np.ndarray:
    """Probability that each code is drawn, ``(n,)``; none of those whose score is not finite, unless none is.

    Args:
        scores: ``(n,)``, the best first.
    """
    known = np.isfinite(scores)
    if not known.any():
        return np.full(len(scores), 1 / len(scores))
    if wheel == "exponential":
        slot = np.exp(-pressure * np.arange(len(scores)) / (len(scores) - 1))
    else:
        above = np.where(known, scores, 0.0) - scores[known].min()
        span = above[known].max()
        slot = above / span + 1 / (pressure - 1) if span > 0 else np.ones(len(scores))
    slot = np.where(known, slot, 0.0)
    return slot / slot.sum()


def offspring(
    rng: np.random.Generator, codes: np.ndarray, drawn: np.ndarray, count: int, mutation: float
) -> np.ndarray:
    """Children ``(count, d)``: each gene of either of two parents, or with probability ``mutation`` of N(0, 1).

    Args:
        drawn: probability of each of the ``codes`` to be a parent.
    """
    wheel = np.cumsum(drawn)
    children = np.empty((count, codes.shape[1]), np.float32)
    for part in np.split(children, range(TOGETHER, count, TOGETHER)):
        turned = np.minimum(np.searchsorted(wheel, rng.random((2, len(part)))), len(codes) - 1)
        mother, father = codes[turned]
        part[:] = np.where(rng.random(part.shape, np.float32) < 0.5, mother, father)
        reset = rng.random(part.shape, np.float32) < mutation
        part[reset] = rng.standard_normal(int(reset.sum()), np.float32)
    return children


class Genetic(Optimizer):
    """A population of codes, best first."""

    def __init__(self, settings: GeneticSettings, latent_dim: int, seed: int):
        self._settings, self._shape = settings, (settings.population, latent_dim)
        self._rng = np.random.default_rng(seed)
        self.codes = np.empty((0, latent_dim), np.float32)
        self.scores = np.empty(0)
        self._best = Best(latent_dim)

    def ask(self) -> np.ndarray:
        """Codes ``(m, latent_dim)`` to score next: the prior's at first, then offspring."""
        if not len(self.codes):
            return self._rng.standard_normal(self._shape, np.float32)
        settings = self._settings
        drawn = slots(self.scores, settings.pressure, settings.wheel)
        return offspring(self._rng, self.codes, drawn, self._shape[0] - settings.elite, settings.mutation)

    def tell(self, codes: np.ndarray, scores: np.ndarray, gradients: np.ndarray | None = None) -> None:
        elite = self._settings.elite if len(self.codes) else 0
        codes = np.concatenate((self.codes[:elite], codes))
        scores = np.concatenate((self.scores[:elite], finite_or_last(scores)))
        self._rank(codes, scores)

    def _rank(self, codes: np.ndarray, scores: np.ndarray) -> None:
        order = np.argsort(-scores, kind="stable")
        self.codes, self.scores = codes[order], scores[order]
        self._best.meet(self.codes, self.scores)

    def receive(self, codes: np.ndarray, scores: np.ndarray) -> None:
        stay = len(self.codes) - len(codes)
        self._rank(np.concatenate((self.codes[:stay], codes)), np.concatenate((self.scores[:stay], scores)))

    def result(self) -> Candidates:
        """The best code so far, and the last generation, the elite among it."""
        return self._best.and_last(self.codes, self.scores)

    def state(self) -> State:
        content = self.codes, self.scores, generator_state(self._rng)
        return {**dict(zip(ARRAYS, content, strict=True)), **self._best.state()}

    def restore(self, state: State) -> None:
        check_names(state, (*ARRAYS, *Best.NAMES))
        told = self._shape[0] if np.size(state["scores"]) else 0  # a whole generation, or none yet
        codes, best = numbers(state, "codes", (told, self._shape[1])), self._best.restored(state)
        scores = numbers(state, "scores", (told,), np.float64)
        self.codes, self.scores, self._best, self._rng = codes, scores, best, generator_of(state)
