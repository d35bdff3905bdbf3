"""The genetic algorithm of the latent optimization (2022), ask and tell."""

from __future__ import annotations

from typing import Any

import numpy as np


class Genetic:
    """Roulette-wheel selection, uniform crossover and random reset on latent codes; scores are maximised.

    The wheel gives the code of rank r (0 the best of n) a slot in proportion to exp(-pressure r / (n - 1)): the
    best is drawn e^pressure times as often as the worst, whatever the scale of the scores.  The paper names a
    selection pressure (8 for W and M_z, 5 for C and the energy) and leaves the wheel open.

    Args:
        latent_dim: genes of a code.
        population: codes a generation.
        mutation: probability that a gene is drawn anew from the prior N(0, 1).
        elite: best codes that pass on unchanged (and are not asked for again).
    """

    def __init__(
        self,
        latent_dim: int,
        population: int = 100,
        pressure: float = 8.0,
        mutation: float = 0.01,
        elite: int = 1,
        seed: int = 0,
    ):
        self._rng = np.random.default_rng(seed)
        self._shape = (population, latent_dim)
        self._mutation, self._elite = mutation, elite
        wheel = np.exp(-pressure * np.arange(population) / max(population - 1, 1))
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

    def tell(self, codes: np.ndarray, scores: np.ndarray) -> None:
        """The scores ``(m,)`` of the codes asked for; a score that is not a number ranks last."""
        elite = self._elite if len(self.codes) else 0
        codes = np.concatenate((self.codes[:elite], codes))
        scores = np.concatenate((self.scores[:elite], np.nan_to_num(scores, nan=-np.inf)))
        order = np.argsort(-scores, kind="stable")
        self.codes, self.scores = codes[order], scores[order]

    @property
    def best(self) -> tuple[np.ndarray, float]:
        """The best code of the last generation (of all, with an elite) and its score."""
        return self.codes[0], float(self.scores[0])

    def state(self) -> dict[str, Any]:
        """All that the next generation depends on; :meth:`restore` takes it."""
        return {"codes": self.codes, "scores": self.scores, "generator": self._rng.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        self.codes, self.scores = np.asarray(state["codes"], np.float32), np.asarray(state["scores"], float)
        self._rng.bit_generator.state = state["generator"]
