r"""A map of what a model can make: the code of highest score in every cell of two observables (MAP-Elites).

Each iteration draws codes from the archive.  Half of them are varied along the line to another code,

.. math:: z' = z + \sigma_i x + \sigma_l (z_2 - z) y, \qquad x \sim N(0, 1)^d, \; y \sim N(0, 1),

and half along gradients, as with the emitter of OMG-MEGA: z' = z + |c_0| g_0 + c_1 g_1 + c_2 g_2, c ~ N(0, \sigma_g),
with g_0 the gradient of the score and g_1, g_2 those of the observables, each of length 1.

Source: Mouret and Clune (2015); Vassiliades and Mouret, "Discovering the elite hypervolume by leveraging interspecies
correlation" (2018); Fontaine and Nikolaidis, "Differentiable quality diversity" (2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field, PositiveFloat, model_validator

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

BEYOND = 1.0  # how far the map reaches past the data on either side, in units of their range
ARRAYS = ("cells", "codes", "values", "gradients", "generator")  # names in a state

Interval = tuple[float, float]


class ArchiveSettings(OptimizerSettings):
    """An archive over two observables.

    Attributes:
        axes: names of the observables.
        bounds: of the map along each; by default those of the data, and as much again on either side.
        cells: along each axis.
        isotropic, line: sigma_i and sigma_l.
        gradient: sigma_g, in units of the length of a code of the prior, sqrt(d).
    """

    uses_gradient: ClassVar[bool] = True
    name: Literal["archive"] = "archive"
    population: Annotated[int, Field(ge=2, le=10**5)] = 64
    axes: tuple[str, str] = ("mz", "energy")
    bounds: tuple[Interval, Interval] | None = None
    cells: Annotated[int, Field(ge=2, le=200)] = 32
    isotropic: PositiveFloat = 0.05
    line: PositiveFloat = 0.2
    gradient: PositiveFloat = 0.1

    @model_validator(mode="after")
    def _ordered(self) -> ArchiveSettings:
        for low, high in self.bounds or ():
            if low >= high:
                raise ValueError(f"bounds: expected low < high of each, found {[low, high]}")
        if self.axes[0] == self.axes[1]:
            raise ValueError(f"axes: expected two different observables, found {self.axes[0]} twice")
        return self

    @property
    def observables(self) -> tuple[str, ...]:
        return self.axes

    def over(self, data: Mapping[str, pd.Series]) -> ArchiveSettings:
        bounds = self.bounds or tuple(_around(data[axis]) for axis in self.axes)
        return self.model_copy(update={"bounds": bounds})

    def start(self, latent_dim: int, seed: int) -> Archive:
        return Archive(self, latent_dim, seed)


def _around(values: pd.Series) -> Interval:
    low, high = float(values.min()), float(values.max())
    reach = BEYOND * max(high - low, 1e-6)
    return low - reach, high + reach


class Archive(Optimizer):
    """Filled cells by number, ascending, with code, values and gradients of the best in each.

    Attributes:
        settings: see :class:`ArchiveSettings`.
        cells: row-major number of each filled cell, the first axis varying fastest, ``(m,)``.
        codes: ``(m, d)``.
        values: score and the two observables, ``(m, 3)``.
    """

    def __init__(self, settings: ArchiveSettings, latent_dim: int, seed: int):
        if settings.bounds is None:
            raise ValueError("bounds: expected those of the map along each axis, found none")
        self.settings, self._latent = settings, latent_dim
        self._rng = np.random.default_rng(seed)
        self.cells = np.empty(0, np.int64)
        self.codes, self.values = np.empty((0, latent_dim), np.float32), np.empty((0, 3))
        self._gradients = np.empty((0, 3, latent_dim), np.float32)

    def ask(self) -> np.ndarray:
        settings, n, d = self.settings, self.settings.population, self._latent
        if not len(self.cells):
            return self._rng.standard_normal((n, d), np.float32)
        chosen, other = self._rng.integers(len(self.cells), size=(2, n))
        z, toward = self.codes[chosen], self.codes[other]
        isotropic, along = self._rng.standard_normal((n, d)), self._rng.standard_normal((n, 1))
        lines = z + settings.isotropic * isotropic + settings.line * along * (toward - z)
        slopes = self._gradients[chosen]
        steps = settings.gradient * np.sqrt(d) * self._rng.standard_normal((n, 3, 1))
        steps[:, 0] = np.abs(steps[:, 0])
        climbs = z + (steps * slopes / np.maximum(np.linalg.norm(slopes, axis=-1, keepdims=True), 1e-12)).sum(1)
        return np.where(np.arange(n)[:, None] % 2 == 0, lines, climbs).astype(np.float32)

    def tell(self, codes: np.ndarray, scores: np.ndarray, gradients: np.ndarray | None = None) -> None:
        """Keep what is the best of its cell.

        Args:
            scores: the score and the two observables ``(m, 3)``.
            gradients: of the three, ``(m, 3, d)``.

        Raises:
            ValueError: there are no gradients, or no observables.
        """
        if gradients is None or np.ndim(scores) != 2:
            raise ValueError("archive: expected two observables beside the score, and gradients, found none")
        assert self.settings.bounds is not None
        low, high = np.array(self.settings.bounds).T
        size = self.settings.cells
        place = np.floor((scores[:, 1:] - low) / (high - low) * size)
        inside = (np.isfinite(scores).all(1)) & ((place >= 0) & (place < size)).all(1)
        number = (place[inside] @ (1, size)).astype(np.int64)
        slopes = np.nan_to_num(gradients, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
        cells = np.concatenate((self.cells, number))
        values = np.concatenate((self.values, scores[inside].astype(float)))
        best = np.lexsort((np.arange(len(cells)), -values[:, 0], cells))  # of equal scores the older
        first = best[np.unique(cells[best], return_index=True)[1]]
        self.cells, self.values = cells[first], values[first]
        self.codes = np.concatenate((self.codes, codes[inside]))[first]
        self._gradients = np.concatenate((self._gradients, slopes[inside]))[first]

    def result(self) -> Candidates:
        """All filled cells, the best score first."""
        order = np.argsort(-self.values[:, 0], kind="stable")
        return Candidates(self.codes[order], self.values[order, 0])

    def state(self) -> State:
        content = self.cells, self.codes, self.values, self._gradients, generator_state(self._rng)
        return dict(zip(ARRAYS, content, strict=True))

    def restore(self, state: State) -> None:
        check_names(state, ARRAYS)
        m, d = np.size(state["cells"]), self._latent
        cells, codes = numbers(state, "cells", (m,), np.int64), numbers(state, "codes", (m, d))
        values, slopes = numbers(state, "values", (m, 3), np.float64), numbers(state, "gradients", (m, 3, d))
        self._rng = generator_of(state)
        self.cells, self.codes, self.values, self._gradients = cells, codes, values, slopes
