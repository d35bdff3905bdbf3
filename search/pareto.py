r"""The Pareto front of an objective and others: codes of which none has a better one in every value.

Each code climbs by Adam from one point of view.  Of scores s_j, the highest s*_j so far and the range r_j of the front,
it climbs

.. math:: \min_j w_j \frac{s_j - s^*_j}{r_j} + \rho \sum_j w_j \frac{s_j - s^*_j}{r_j}, \qquad \sum_j w_j = 1,

with weights w of its own, spread evenly (the augmented Chebyshev function, whose maxima reach fronts of any shape).
Every ``generation`` steps the code of the front that is the best from its view, or a child of two codes of the front,
takes its place.

Source: Zhang and Li, "MOEA/D: a multiobjective evolutionary algorithm based on decomposition" (2007); Miettinen,
"Nonlinear multiobjective optimization" (1998), section 3.4.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from search.adam import MOMENTS, Adam
from search.front import on_front
from search.genetic import offspring
from search.optimizer import (
    Candidates,
    Optimizer,
    OptimizerSettings,
    State,
    check_names,
    generator_of,
    generator_state,
    numbers,
)

AUGMENTED = 0.05  # rho
ARRAYS = ("codes", "front", "values", "told", "generator")  # names in a state, beside Adam's


class ParetoSettings(OptimizerSettings):
    """A front of the objective and of the observables ``against``.

    Attributes:
        against: each an observable with ``_max`` or ``_min``.
        front: codes that are kept at most; the most crowded go first.
        generation: steps between two exchanges with the front.
        children: share of the codes that are then children of the front.
        mutation: probability that a gene of a child is drawn anew from the prior N(0, 1).
    """

    uses_gradient: ClassVar[bool] = True
    name: Literal["pareto"] = "pareto"
    population: Annotated[int, Field(ge=2, le=10**5)] = 64
    against: Annotated[tuple[str, ...], Field(min_length=1, max_length=4)] = ("energy_min",)
    learning_rate: PositiveFloat = 0.1
    front: Annotated[int, Field(ge=8, le=2000)] = 256
    generation: PositiveInt = 25
    children: Annotated[float, Field(ge=0, le=1)] = 0.5
    mutation: Annotated[float, Field(ge=0, le=1)] = 0.02

    @field_validator("against")
    @classmethod
    def _directed(cls, against: tuple[str, ...]) -> tuple[str, ...]:
        for name in against:
            if not name.endswith(("_max", "_min")):
                raise ValueError(f"expected observables with _max or _min, found {name!r}")
        return against

    @property
    def observables(self) -> tuple[str, ...]:
        return tuple(name[:-4] for name in self.against)

    @property
    def signs(self) -> np.ndarray:
        """Of every score over its value as it is told, the objective's first."""
        return np.array([1, *(1 if name.endswith("_max") else -1 for name in self.against)])

    def start(self, latent_dim: int, seed: int) -> Pareto:
        return Pareto(self, latent_dim, seed)


def points_of_view(n: int, scores: int) -> np.ndarray:
    """Weights ``(n, scores)`` that sum to 1: even steps between two scores, a fixed draw of the simplex for more."""
    if scores == 2:
        first = np.linspace(0, 1, n)
        return np.stack((first, 1 - first), 1)
    corners = np.eye(scores)[:n]
    return np.concatenate((corners, np.random.default_rng(0).dirichlet(np.ones(scores), n - len(corners))))


class Pareto(Optimizer):
    """Codes on their way, and the front.

    Attributes:
        front: codes ``(m, d)``.
        values: their scores, all to be large, ``(m, 1 + k)``; the objective's first, descending.
    """

    def __init__(self, settings: ParetoSettings, latent_dim: int, seed: int):
        self.settings, self._told = settings, 0
        self._rng = np.random.default_rng(seed)
        self._codes = self._rng.standard_normal((settings.population, latent_dim), np.float32)
        self._adam = Adam(self._codes.shape, settings.learning_rate)
        self._weights = points_of_view(settings.population, len(settings.signs))
        self.front, self.values = np.empty((0, latent_dim), np.float32), np.empty((0, len(settings.signs)))

    def ask(self) -> np.ndarray:
        return self._codes.copy()

    def tell(self, codes: np.ndarray, scores: np.ndarray, gradients: np.ndarray | None = None) -> None:
        """One step of Adam, and an exchange with the front if it is time.

        Args:
            scores: the score and the observables ``(m, 1 + k)``.
            gradients: of all of them, ``(m, 1 + k, d)``.

        Raises:
            ValueError: there are no gradients, or no observables.
        """
        if gradients is None or np.ndim(scores) != 2:
            raise ValueError("pareto: expected observables beside the score, and gradients, found none")
        signs = self.settings.signs
        told = np.where(np.isfinite(scores), scores, np.nan) * signs
        self._keep(codes, told)
        if len(self.front):
            slopes = gradients * signs[:, None] * self._pull(told)[:, :, None]
            self._codes = self._codes + self._adam.step(slopes.sum(1))
        self._told += 1
        if self._told % self.settings.generation == 0 and len(self.front):
            self._exchange()

    def _keep(self, codes: np.ndarray, told: np.ndarray) -> None:
        """Those of the front and of the codes that no other is better than."""
        known = np.isfinite(told).all(1)
        front, values = np.concatenate((self.front, codes[known])), np.concatenate((self.values, told[known]))
        values, first = np.unique(values, axis=0, return_index=True)
        front = front[first]
        best = on_front(-values)
        front, values = front[best][::-1], values[best][::-1]  # by the objective, descending
        chosen = uncrowded(values, self.settings.front)
        self.front, self.values = front[chosen], values[chosen]

    @property
    def _reach(self) -> np.ndarray:
        """r, 1 where the front has one value."""
        reach = np.ptp(self.values, axis=0)
        return np.where(reach > 0, reach, 1.0)

    def _short_of_ideal(self, values: np.ndarray) -> np.ndarray:
        """(s - s*) / r, at most 0 for what the front knows."""
        return (values - self.values.max(0)) / self._reach

    def _pull(self, told: np.ndarray) -> np.ndarray:
        """d(view of each code) / d(its scores), ``(n, 1 + k)``."""
        short = self._weights * self._short_of_ideal(told)
        worst = np.arange(short.shape[1]) == np.argmin(short, 1)[:, None]
        return self._weights * (worst + AUGMENTED) / self._reach

    def _exchange(self) -> None:
        """Each code becomes the best of the front from its view; a share of them children of the front instead."""
        settings, n = self.settings, len(self._codes)
        short = self._weights[:, None] * self._short_of_ideal(self.values)
        codes = self.front[np.argmax(short.min(2) + AUGMENTED * short.sum(2), 1)]
        born = self._rng.permutation(n)[: round(settings.children * n)]
        even = np.full(len(self.front), 1 / len(self.front))
        codes[born] = offspring(self._rng, self.front, even, len(born), settings.mutation)
        self._codes = codes
        self._adam.forget(np.arange(n))

    def result(self) -> Candidates:
        """The front, the best of the objective first."""
        return Candidates(self.front, self.values[:, 0])

    def state(self) -> State:
        content = self._codes, self.front, self.values, np.array(self._told), generator_state(self._rng)
        return {**dict(zip(ARRAYS, content, strict=True)), **self._adam.state()}

    def restore(self, state: State) -> None:
        check_names(state, (*ARRAYS, *MOMENTS))
        m, (n, d) = len(np.atleast_1d(state["values"])), self._codes.shape
        codes, front = numbers(state, "codes", (n, d)), numbers(state, "front", (m, d))
        values, adam = numbers(state, "values", (m, self.values.shape[1]), np.float64), self._adam.restored(state)
        told, rng = int(numbers(state, "told", (), np.int64)), generator_of(state)
        self._codes, self.front, self.values, self._adam = codes, front, values, adam
        self._told, self._rng = told, rng


def uncrowded(values: np.ndarray, most: int) -> np.ndarray:
    """Which of the points ``(m, k)`` of a front stay, in order, if the most crowded leave until ``most`` are left.

    A point is as crowded as its neighbours in each value are near, in units of the range; the ends stay.

    Source: Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II" (2002).
    """
    kept = np.arange(len(values))
    while len(kept) > most:
        here = values[kept]
        reach, room = np.ptp(here, axis=0), np.zeros(len(kept))
        for column, order in enumerate(np.argsort(here, axis=0, kind="stable").T):
            along = here[order, column]
            room[order[1:-1]] += (along[2:] - along[:-2]) / (reach[column] or 1.0)
            room[order[[0, -1]]] = np.inf
        kept = np.delete(kept, np.argmin(room))
    return kept
