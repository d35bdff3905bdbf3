r"""A climb along gradients whose directions CMA-ES learns from what they bring to an archive (CMA-MEGA's emitter).

From a code z with the gradients g_j of score and observables, each of length 1, it asks for

.. math:: z + \sqrt d \sum_j c_j g_j, \qquad c \sim N(m, s^2 C).

Codes that bring most to the archive draw the Gaussian of c towards theirs.  The climb goes on at the first of them; if
none brings anything, another begins elsewhere with nothing learned.

Source: Fontaine and Nikolaidis, "Differentiable quality diversity" (2021), algorithm 2.  There the code follows the
weighted mean of the steps, whose gradients take one evaluation more.
"""

from __future__ import annotations

import numpy as np
from cmaes import CMA

from search.cma_es import LEARNED, draw, learn_again, learned
from search.optimizer import State, numbers

STATE = ("code", "slopes", "generation", *LEARNED)  # names in a state


class Climb:
    """A code on its way.

    Args:
        code, slopes: ``(d,)`` and the gradients there, ``(k, d)``.
        codes: how many it asks for at once.
        width: of the first Gaussian of c, s.
    """

    def __init__(self, code: np.ndarray, slopes: np.ndarray, codes: int, width: float):
        self._strategy = CMA(np.zeros(len(slopes)), width, population_size=codes)
        self._code, self._slopes = code, slopes
        self._asked = np.empty((0, len(slopes)))

    def ask(self, seed: int) -> np.ndarray:
        """Codes ``(codes, d)``."""
        self._asked = draw(self._strategy, seed)
        units = self._slopes / np.maximum(np.linalg.norm(self._slopes, axis=1, keepdims=True), 1e-12)
        return self._code + np.sqrt(len(self._code)) * (self._asked @ units)

    def tell(self, codes: np.ndarray, slopes: np.ndarray, ranks: np.ndarray) -> None:
        """Go on at the code of rank 0 of those asked for ``(n, d)``, with its gradients of ``(n, k, d)``."""
        self._strategy.tell([(c, float(rank)) for c, rank in zip(self._asked, ranks, strict=True)])
        first = int(np.argmin(ranks))
        self._code, self._slopes = codes[first], slopes[first]

    def state(self) -> State:
        generation = np.array(self._strategy.generation)
        return dict(zip(STATE, (self._code, self._slopes, generation, *learned(self._strategy)), strict=True))

    def restore(self, state: State) -> None:
        code, slopes = numbers(state, "code", self._code.shape), numbers(state, "slopes", self._slopes.shape)
        learn_again(self._strategy, state, int(numbers(state, "generation", (), np.int64)))
        self._code, self._slopes = code, slopes
