"""The stochastic algorithm of the latent optimization (2022): a Gaussian of codes that narrows on its way uphill."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from search.adam import MOMENTS, Adam
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

ARRAYS = ("mean_and_log_sigma", "codes", "scores", "told", "generator")  # names in a state


class StochasticSettings(OptimizerSettings):
    r"""Adam on the mean and width of N(mu, sigma^2), from which the codes of every iteration are drawn, for

    .. math:: L = -\langle score \rangle + \gamma \frac{1}{2} \sum_n (\sigma_n^2 + \mu_n^2 - \ln \sigma_n^2 - 1).

    Both start as the prior, mu = 0 and sigma = 1.  gamma = kl_weight 10^(-t / decade) after t iterations: a tenth every
    ``decade``, so that the distribution spreads at first and ends at one code.

    Source: latent optimization (2022), "Stochastic algorithm".
    """

    uses_gradient: ClassVar[bool] = True
    name: Literal["stochastic"] = "stochastic"
    learning_rate: PositiveFloat = 1e-2
    kl_weight: NonNegativeFloat = 1.0
    decade: PositiveInt = 10_000

    def start(self, latent_dim: int, seed: int) -> Stochastic:
        return Stochastic(self, latent_dim, seed)


class Stochastic(Optimizer):
    """The distribution, the codes that were drawn last, and the best so far."""

    def __init__(self, settings: StochasticSettings, latent_dim: int, seed: int):
        self._settings, self._told = settings, 0
        self._rng = np.random.default_rng(seed)
        self._gaussian = np.zeros((2, latent_dim), np.float32)  # mu and ln sigma
        self._adam = Adam(self._gaussian.shape, settings.learning_rate)
        self._codes, self._scores = np.empty((0, latent_dim), np.float32), np.empty(0)
        self._best = Best(latent_dim)

    @property
    def mean(self) -> np.ndarray:
        return self._gaussian[0]

    @property
    def sigma(self) -> np.ndarray:
        return np.exp(self._gaussian[1])

    @property
    def kl_weight(self) -> float:
        """gamma of the next iteration."""
        return self._settings.kl_weight * 10.0 ** (-self._told / self._settings.decade)

    def ask(self) -> np.ndarray:
        drawn = self._rng.standard_normal((self._settings.population, len(self.mean)), np.float32)
        return self.mean + self.sigma * drawn

    def tell(self, codes: np.ndarray, scores: np.ndarray, gradients: np.ndarray | None = None) -> None:
        """One step of Adam.

        Raises:
            ValueError: there are no gradients.
        """
        if gradients is None:
            raise ValueError("stochastic: expected gradients of the scores, found none")
        told = finite_or_last(scores)
        known = np.isfinite(gradients).all(1) & np.isfinite(told)
        if known.any():
            slope, away = gradients[known], codes[known] - self.mean  # dz / d ln sigma = z - mu
            kl_slope = np.stack((self.mean, self.sigma**2 - 1))
            up = np.stack((slope.mean(0), (slope * away).mean(0))) - self.kl_weight * kl_slope
            self._gaussian = self._gaussian + self._adam.step(up)
        order = np.argsort(-told, kind="stable")
        self._codes, self._scores, self._told = codes[order], told[order], self._told + 1
        self._best.meet(self._codes, self._scores)

    def result(self) -> Candidates:
        """The best code so far, and those drawn last."""
        return self._best.and_last(self._codes, self._scores)

    def state(self) -> State:
        content = (
            self._gaussian,
            self._codes,
            self._scores,
            np.array(self._told),
            generator_state(self._rng),
        )
        return {**dict(zip(ARRAYS, content, strict=True)), **self._best.state(), **self._adam.state()}

    def restore(self, state: State) -> None:
        check_names(state, (*ARRAYS, *Best.NAMES, *MOMENTS))
        d, rows = len(self.mean), self._settings.population if np.size(state["scores"]) else 0
        gaussian, adam = numbers(state, "mean_and_log_sigma", (2, d)), self._adam.restored(state)
        codes, scores = numbers(state, "codes", (rows, d)), numbers(state, "scores", (rows,), np.float64)
        best, told, rng = self._best.restored(state), int(numbers(state, "told", (), np.int64)), generator_of(state)
        self._gaussian, self._adam, self._codes, self._scores = gaussian, adam, codes, scores
        self._best, self._told, self._rng = best, told, rng
