"""The Pareto front of points with several values each."""

from __future__ import annotations

import numpy as np


def on_front(costs: np.ndarray) -> np.ndarray:
    """Whether no other point is as small in every value and smaller in one, bool ``(n,)``; never where a value is NaN.

    Args:
        costs: ``(n, values)``, all to be small.
    """
    left = np.flatnonzero(~np.isnan(costs).any(1))
    left = left[np.lexsort(costs[left].T[::-1])]  # so that none is behind one that it is better than
    front = np.zeros(len(costs), bool)
    while len(left):
        best, rest = costs[left[0]], costs[left]
        front[left[(rest == best).all(1)]] = True
        left = left[(rest < best).any(1)]
    return front
