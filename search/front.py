"""The Pareto front of points with several values each."""

from __future__ import annotations

import numpy as np


def on_front(costs: np.ndarray) -> np.ndarray:
    """Whether no other point is as small in every value and smaller in one, bool ``(n,)``; never where a value is NaN.

    Args:
        costs: ``(n, values)``, all to be small.
    """
    known = ~np.isnan(costs).any(1)
    no_larger = (costs[:, None] <= costs[None]).all(-1)
    smaller = (costs[:, None] < costs[None]).any(-1)
    return known & ~(no_larger & smaller).any(0)
