"""Adam on the rows of an array, each with a count of its own steps."""

from __future__ import annotations

import numpy as np

from search.optimizer import State, numbers

BETAS, EPSILON = (0.9, 0.999), 1e-8
MOMENTS = ("steps", "first_moment", "second_moment")  # names in a state


class Adam:
    """Ascent of rows ``(n, d)``: each may start again without the others.

    Source: Kingma and Ba (2015), algorithm 1; the papers' moments.
    """

    def __init__(self, shape: tuple[int, int], learning_rate: float):
        self._rate = np.float32(learning_rate)
        self._steps = np.zeros(shape[0], np.float32)
        self._first, self._second = np.zeros((2, *shape), np.float32)

    def step(self, slope: np.ndarray) -> np.ndarray:
        """What to add to the rows to climb ``slope`` ``(n, d)``; nothing to those whose slope is not a number."""
        known = np.isfinite(slope).all(1)[:, None]
        slope = np.where(known, slope, 0).astype(np.float32)
        self._steps += known[:, 0]
        (first, second), steps = map(np.float32, BETAS), np.maximum(self._steps, 1)[:, None]
        self._first = np.where(known, first * self._first + (1 - first) * slope, self._first)
        self._second = np.where(known, second * self._second + (1 - second) * slope**2, self._second)
        mean, square = self._first / (1 - first**steps), self._second / (1 - second**steps)
        return np.where(known, self._rate * mean / (np.sqrt(square) + np.float32(EPSILON)), 0)

    def forget(self, rows: np.ndarray) -> None:
        """Start again at these rows."""
        self._steps[rows] = self._first[rows] = self._second[rows] = 0

    def state(self) -> State:
        return dict(zip(MOMENTS, (self._steps.copy(), self._first, self._second), strict=True))

    def restored(self, state: State) -> Adam:
        """One as this, with the moments of a state; ValueError if it has none that fit."""
        shape, twin = self._first.shape, Adam(self._first.shape, float(self._rate))
        twin._steps = numbers(state, MOMENTS[0], shape[:1])
        twin._first, twin._second = (numbers(state, name, shape) for name in MOMENTS[1:])
        return twin
