"""CMA-ES and its separable form, of the library cmaes."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from cmaes import CMA, SepCMA
from pydantic import Field, PositiveFloat

from search.optimizer import (
    Best,
    Candidates,
    Optimizer,
    OptimizerSettings,
    State,
    check_names,
    finite_or_last,
    numbers,
)

WORST = 1e300  # cost of a score that is not finite: last in rank
LEARNED = ("_mean", "_sigma", "_C", "_p_sigma", "_pc")  # attributes of the library's strategies
KEPT = ("seed", "told", "codes", "scores")  # names in a state, beside those of the distribution


class CMASettings(OptimizerSettings):
    """Covariance matrix adaptation: a Gaussian of codes that learns from the ranks of their scores.

    Attributes:
        sigma: width of the first Gaussian, around the origin; 1 is the prior.

    Source: Hansen, "The CMA evolution strategy: a tutorial" (2016); separable: Ros and Hansen (2008).
    """

    strategy: ClassVar[Any] = CMA
    name: Literal["cma-es"] = "cma-es"
    population: Annotated[int, Field(ge=4, le=10**5)] = 32
    sigma: PositiveFloat = 1.0

    def start(self, latent_dim: int, seed: int) -> CovarianceAdaptation:
        return CovarianceAdaptation(self, latent_dim, seed)


class SepCMASettings(CMASettings):
    """With a diagonal covariance: a step costs no more than the codes do, in any number of dimensions."""

    strategy: ClassVar[Any] = SepCMA
    name: Literal["sep-cma-es"] = "sep-cma-es"  # type: ignore[assignment]


def draw(strategy: Any, seed: int) -> np.ndarray:
    """A generation ``(population, d)``, which depends on the seed and on what the strategy has learned."""
    strategy.reseed_rng(seed)
    return np.array([strategy.ask() for _ in range(strategy.population_size)])


def learned(strategy: Any) -> list[np.ndarray]:
    """Numbers that :func:`learn_again` takes under the names :data:`LEARNED`."""
    return [np.array(getattr(strategy, name)) for name in LEARNED]


def learn_again(strategy: Any, state: State, generation: int) -> None:
    """Give a new strategy what another had learned until a generation; ValueError if the state has none that fits."""
    found = {name: numbers(state, name, np.shape(getattr(strategy, name)), np.float64) for name in LEARNED}
    for name, value in found.items():
        setattr(strategy, name, value if value.ndim else float(value))
    strategy._g = generation


class CovarianceAdaptation(Optimizer):
    """The strategy, the codes that it drew last, and the best so far; draws depend on seed and generation alone."""

    def __init__(self, settings: CMASettings, latent_dim: int, seed: int):
        self._settings, self._shape, self._seed = settings, (settings.population, latent_dim), seed
        self._strategy = self._started()
        self._codes, self._scores = np.empty((0, latent_dim), np.float32), np.empty(0)
        self._best = Best(latent_dim)

    def _started(self) -> Any:
        population, latent = self._shape
        return self._settings.strategy(np.zeros(latent), self._settings.sigma, population_size=population)

    def ask(self) -> np.ndarray:
        drawn = np.random.SeedSequence((self._seed, self._strategy.generation)).generate_state(1)
        return draw(self._strategy, int(drawn[0])).astype(np.float32)

    def tell(self, codes: np.ndarray, scores: np.ndarray, gradients: np.ndarray | None = None) -> None:
        told = finite_or_last(scores)
        costs = np.where(np.isfinite(told), -told, WORST)
        self._strategy.tell([(code.astype(float), float(cost)) for code, cost in zip(codes, costs, strict=True)])
        order = np.argsort(-told, kind="stable")
        self._codes, self._scores = codes[order], told[order]
        self._best.meet(self._codes, self._scores)

    def result(self) -> Candidates:
        """The best code so far, and those drawn last."""
        return self._best.and_last(self._codes, self._scores)

    def state(self) -> State:
        kept = np.array(self._seed), np.array(self._strategy.generation), self._codes, self._scores
        learning = dict(zip(LEARNED, learned(self._strategy), strict=True))
        return {**dict(zip(KEPT, kept, strict=True)), **self._best.state(), **learning}

    def restore(self, state: State) -> None:
        check_names(state, (*KEPT, *Best.NAMES, *LEARNED))
        strategy, (population, d), told = self._started(), self._shape, int(numbers(state, "told", (), np.int64))
        learn_again(strategy, state, told)
        rows = population if told else 0
        codes, scores = numbers(state, "codes", (rows, d)), numbers(state, "scores", (rows,), np.float64)
        best, seed = self._best.restored(state), int(numbers(state, "seed", (), np.int64))
        self._strategy, self._codes, self._scores, self._best, self._seed = strategy, codes, scores, best, seed
