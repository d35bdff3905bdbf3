r"""A map of what a model can make: the code of highest score in every cell of two observables (MAP-Elites).

Half of the codes of an iteration are elites varied along the line to another elite,

.. math:: z' = z + \sigma_i x + \sigma_l (z_2 - z) y, \qquad x \sim N(0, 1)^d, \; y \sim N(0, 1),

and half belong to climbs along the gradients of score and observables, see :mod:`search.climb`.

Source: Mouret and Clune (2015); Vassiliades and Mouret, "Discovering the elite hypervolume by leveraging interspecies
correlation" (2018); Fontaine and Nikolaidis, "Differentiable quality diversity" (2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
from pydantic import Field, PositiveFloat, model_validator

from search.climb import STATE, Climb
from search.optimizer import (
    Candidates,
    Optimizer,
    OptimizerSettings,
    State,
    check_names,
    generator_of,
    generator_state,
    numbers,
    part_of,
    together,
)

BEYOND = 1.0  # how far the map reaches past the data on either side, in units of their range
CLIMBED = 8  # codes of a climb in an iteration
ARRAYS = ("cells", "codes", "values", "gradients", "generator")  # names in a state

Interval = tuple[float, float]


class ArchiveSettings(OptimizerSettings):
    """An archive over two observables.

    Attributes:
        axes: names of the observables.
        bounds: of the map along each; by default those of the data, and as much again on either side.
        cells: along each axis.
        isotropic, line: sigma_i and sigma_l.
        gradient: width of the first Gaussian of a climb's steps, in units of a code's length in the prior, sqrt(d).
    """

    recipe_version: ClassVar[int] = 2  # 1: steps along gradients of fixed width
    uses_gradient: ClassVar[bool] = True
    name: Literal["archive"] = "archive"
    population: Annotated[int, Field(ge=8, le=10**5)] = 64
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

    @property
    def climbs(self) -> tuple[int, int]:
        """How many climb, and codes of each: together half of the population."""
        codes = min(CLIMBED, self.population // 2)
        return self.population // 2 // codes, codes

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
        self._climbs: list[Climb] = []

    def ask(self) -> np.ndarray:
        settings, d = self.settings, self._latent
        if not len(self.cells):
            return self._rng.standard_normal((settings.population, d), np.float32)
        n = settings.population - np.prod(settings.climbs)
        chosen, other = self._rng.integers(len(self.cells), size=(2, n))
        z, toward = self.codes[chosen], self.codes[other]
        isotropic, along = self._rng.standard_normal((n, d)), self._rng.standard_normal((n, 1))
        lines = z + settings.isotropic * isotropic + settings.line * along * (toward - z)
        climbs = (climb.ask(int(self._rng.integers(2**32))) for climb in self._climbs)
        return np.concatenate((lines, *climbs)).astype(np.float32)

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
        number = self._cells_of(scores)
        slopes = np.nan_to_num(gradients, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
        gains = self._gains(number, scores[:, 0])
        inside = number >= 0
        cells = np.concatenate((self.cells, number[inside]))
        values = np.concatenate((self.values, scores[inside].astype(float)))
        best = np.lexsort((np.arange(len(cells)), -values[:, 0], cells))  # of equal scores the older
        first = best[np.unique(cells[best], return_index=True)[1]]
        self.cells, self.values = cells[first], values[first]
        self.codes = np.concatenate((self.codes, codes[inside]))[first]
        self._gradients = np.concatenate((self._gradients, slopes[inside]))[first]
        self._go_on(codes, slopes, gains)

    def _cells_of(self, scores: np.ndarray) -> np.ndarray:
        """The number of the cell of each ``(m, 3)``, -1 outside of the map."""
        assert self.settings.bounds is not None
        low, high = np.array(self.settings.bounds).T
        size = self.settings.cells
        place = np.floor((scores[:, 1:] - low) / (high - low) * size)
        inside = (np.isfinite(scores).all(1)) & ((place >= 0) & (place < size)).all(1)
        return np.where(inside, np.where(inside[:, None], place, 0) @ (1, size), -1).astype(np.int64)

    def _gains(self, number: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """What codes bring: whether their cell was empty, and how far its score goes up, ``(m, 2)``; else -inf."""
        at = np.searchsorted(self.cells, number)
        filled = np.append(self.cells, -1)[at] == number
        former = np.append(self.values[:, 0], 0.0)[at]
        gains = np.stack((~filled, np.where(filled, scores - former, scores)), 1).astype(float)
        return np.where((number >= 0)[:, None], gains, -np.inf)

    def _go_on(self, codes: np.ndarray, slopes: np.ndarray, gains: np.ndarray) -> None:
        """Climbs learn from what their codes, the last of those told, have brought, or begin anew."""
        climbs, climbed = self.settings.climbs
        if not self._climbs:
            self._climbs = [self._begun() for _ in range(climbs if len(self.cells) else 0)]
            return
        for i, own in enumerate(np.split(np.arange(len(codes))[-climbs * climbed :], climbs)):
            order = np.lexsort(-gains[own].T[::-1])
            if (gains[own[order[0]]] > 0).any():
                self._climbs[i].tell(codes[own], slopes[own], np.argsort(order))
            else:
                self._climbs[i] = self._begun()

    def _begun(self) -> Climb:
        elite = self._rng.integers(len(self.cells))
        return Climb(self.codes[elite], self._gradients[elite], self.settings.climbs[1], self.settings.gradient)

    def result(self) -> Candidates:
        """All filled cells, the best score first."""
        order = np.argsort(-self.values[:, 0], kind="stable")
        return Candidates(self.codes[order], self.values[order, 0])

    def state(self) -> State:
        content = self.cells, self.codes, self.values, self._gradients, generator_state(self._rng)
        return {**dict(zip(ARRAYS, content, strict=True)), **together(climb.state() for climb in self._climbs)}

    def restore(self, state: State) -> None:
        (climbs, climbed), m, d = self.settings.climbs, np.size(state.get("cells", ())), self._latent
        check_names(state, (*ARRAYS, *(f"{i}.{name}" for i in range(climbs if m else 0) for name in STATE)))
        cells, codes = numbers(state, "cells", (m,), np.int64), numbers(state, "codes", (m, d))
        values, slopes = numbers(state, "values", (m, 3), np.float64), numbers(state, "gradients", (m, 3, d))
        rng = generator_of(state)
        begun = [Climb(codes[0], slopes[0], climbed, self.settings.gradient) for _ in range(climbs if m else 0)]
        for i, climb in enumerate(begun):
            climb.restore(part_of(state, i))
        self.cells, self.codes, self.values, self._gradients = cells, codes, values, slopes
        self._rng, self._climbs = rng, begun
