"""Averages of independent configurations at a temperature, with their errors; times of correlation of chains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

BLOCKS = 50  # of configurations, of which the jackknife leaves out one at a time


class Response(NamedTuple):
    """A number that an ensemble has, not a configuration: a heat capacity, a susceptibility, a helicity modulus.

    Attributes:
        estimate: columns of observables ``(n,)`` by name, temperature and number of sites, to the number.
        columns: names of the observables that it needs.
        label: as axes and tables show it.
        unit: of its values, "" for a pure number.
    """

    estimate: Callable[[dict[str, np.ndarray], float, int], float]
    columns: tuple[str, ...]
    label: str
    unit: str = ""


def fluctuation(column: str, label: str, scale: Callable[[float], float]) -> Response:
    """N var(column), per spin, times a function of the temperature; a column of numbers per spin."""

    def estimate(columns: dict[str, np.ndarray], T: float, N: int) -> float:
        return float(N * scale(T) * columns[column].var())

    return Response(estimate, (column,), label)


HEAT_CAPACITY = fluctuation("energy", "C_v = N var(ε)/T²", lambda T: T**-2)


class Estimate(NamedTuple):
    """A value with its standard error."""

    value: float
    error: float


def mean(values: np.ndarray) -> Estimate:
    """Of independent numbers ``(n,)``."""
    return Estimate(float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5))


def jackknife(response: Response, columns: Mapping[str, np.ndarray], T: float, N: int) -> Estimate:
    """A response of independent configurations, its bias removed and its error from leaving out a block at a time.

    Args:
        columns: observables ``(n,)`` by name, in float32 at least; n >= 2.
        N: sites of a configuration.

    Source: Efron (1982).
    """
    used = {name: np.asarray(columns[name], float) for name in response.columns}
    n = len(next(iter(used.values())))
    block = np.arange(n) * min(BLOCKS, n) // n
    whole = response.estimate(used, T, N)
    left = np.array(
        [response.estimate({k: v[block != b] for k, v in used.items()}, T, N) for b in range(block[-1] + 1)]
    )
    g = len(left)
    error = ((g - 1) / g * ((left - left.mean()) ** 2).sum()) ** 0.5
    return Estimate(float(g * whole - (g - 1) * left.mean()), float(error))


def estimates(
    columns: Mapping[str, np.ndarray], responses: Mapping[str, Response], T: float, N: int
) -> dict[str, Estimate]:
    """The mean of every column ``(n,)`` and every response of independent configurations at a temperature."""
    means = {name: mean(np.asarray(values, float)) for name, values in columns.items()}
    return means | {name: jackknife(response, columns, T, N) for name, response in responses.items()}


def autocorrelation_time(series: np.ndarray, window: float = 5.0) -> float:
    """Integrated autocorrelation time in steps of chains ``(steps, chains)``: 1/2 + sum of rho(t), 1/2 for white noise.

    The sum ends at the first t >= ``window`` times the sum so far.

    Source: Sokal (1997).
    """
    x = np.asarray(series, float) - np.mean(series)
    n = len(x)
    spectrum = np.abs(np.fft.rfft(x, 2 * n, axis=0)) ** 2
    rho = np.fft.irfft(spectrum, axis=0)[:n].mean(1) / np.arange(n, 0, -1)
    sums = np.cumsum(rho / rho[0]) - 0.5
    ends = np.arange(n) >= window * sums
    return float(sums[ends.argmax() if ends.any() else -1])
