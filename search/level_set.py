r"""Where a function crosses a level, from few of its values: a Gaussian process and the straddle acquisition.

.. math:: a(x) = 1.96 \, \sigma(x) - |\mu(x) - t|

is large where the process cannot tell on which side of the level t a point lies.  Points are in the unit cube.

Source: Bryan et al., "Active learning for identifying function threshold boundaries", NeurIPS 18 (2005); for
:meth:`Surface.believing`, Ginsbourger et al., "Kriging is well-suited to parallelize optimization" (2010).
"""

from __future__ import annotations

from typing import Self

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.spatial.distance import cdist

DECADES = 2.0  # from the level: values farther away count as so far
STRADDLE = 1.96
CANDIDATES = 4096  # points among which the acquisition is largest
LENGTHS, NOISES = (0.03, 10.0), (1e-4, 1.0)  # bounds, of the unit cube and of the variance of the values
STARTS = (0.1, 0.3, 1.0)  # lengths from which the likelihood is climbed


def from_level(values: np.ndarray, level: float) -> np.ndarray:
    """How far values lie from a level: in decades, at most two, if the level is positive; else their difference.

    So a figure that falls by many decades where it crosses does not hide the crossing.  A value of 0 or less counts as
    two decades below.
    """
    if level <= 0:
        return values - level
    smallest = level * 10.0**-DECADES
    return np.clip(np.log10(np.maximum(values, smallest) / level), -DECADES, DECADES)


class Surface:
    """A Gaussian process through values at points of the unit cube: Matérn 5/2, a length along each axis, and noise.

    The lengths and the noise are those of the largest likelihood; mean and variance those of the values.

    Args:
        points: ``(n, d)``.
        values: ``(n,)``.
    """

    def __init__(self, points: np.ndarray, values: np.ndarray):
        self.points, self.values = np.asarray(points, float), np.asarray(values, float)
        self.mean, self.scale = float(self.values.mean()), float(self.values.std()) or 1.0
        bounds = np.log([LENGTHS] * self.points.shape[1] + [NOISES])
        starts = [np.log([start] * self.points.shape[1] + [1e-2]) for start in STARTS]
        fits = [minimize(self._cost, start, bounds=bounds, method="L-BFGS-B") for start in starts]
        best = np.exp(min(fits, key=lambda fit: fit.fun).x)
        self.lengths, self.noise = best[:-1], best[-1]
        self._solve()

    def __call__(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the function, without the noise, at points ``(m, d)``."""
        across = self._kernel(points, self.points, self.lengths)
        mean = across @ self._weights
        variance = 1 - np.einsum("ij,ji->i", across, cho_solve(self._factor, across.T))
        return self.mean + self.scale * mean, self.scale * np.sqrt(np.maximum(variance, 0))

    def believing(self, points: np.ndarray) -> Self:
        """The process as if it had been told its own means at further points."""
        told = object.__new__(type(self))
        told.__dict__.update(self.__dict__)
        if len(points):
            told.values = np.concatenate((self.values, self(points)[0]))
            told.points = np.concatenate((self.points, points))
            told._solve()
        return told

    def _solve(self) -> None:
        covariance = self._kernel(self.points, self.points, self.lengths)
        self._factor = cho_factor(covariance + self.noise * np.eye(len(covariance)), lower=True)
        self._weights = cho_solve(self._factor, (self.values - self.mean) / self.scale)

    def _cost(self, logs: np.ndarray) -> float:
        """The negative logarithm of the likelihood, but for a constant."""
        *lengths, noise = np.exp(logs)
        covariance = self._kernel(self.points, self.points, np.array(lengths))
        factor = cho_factor(covariance + noise * np.eye(len(covariance)), lower=True)
        values = (self.values - self.mean) / self.scale
        return float(0.5 * values @ cho_solve(factor, values) + np.log(np.diag(factor[0])).sum())

    @staticmethod
    def _kernel(a: np.ndarray, b: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        r = np.sqrt(5) * cdist(a / lengths, b / lengths)
        return (1 + r + r**2 / 3) * np.exp(-r)


def straddle(mean: np.ndarray, deviation: np.ndarray, level: float = 0.0) -> np.ndarray:
    """The acquisition; large where the level may be crossed and little is known."""
    return STRADDLE * deviation - np.abs(mean - level)


def next_point(surface: Surface, rng: np.random.Generator, level: float = 0.0) -> np.ndarray:
    """The best of random points of the unit cube, and of as many again in a cube around it a tenth as wide."""
    d = surface.points.shape[1]
    candidates = rng.random((CANDIDATES, d))
    best = candidates[straddle(*surface(candidates), level).argmax()]
    near = np.clip(best + 0.1 * (rng.random((CANDIDATES, d)) - 0.5), 0, 1)
    near[0] = best
    return near[straddle(*surface(near), level).argmax()]
