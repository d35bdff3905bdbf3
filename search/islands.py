"""Islands: searches side by side, each of which sends its best codes to the next now and then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from search.memetic import MemeticSettings
from search.optimizer import (
    OPTIMIZERS,
    AnyOptimizer,
    Candidates,
    Optimizer,
    OptimizerSettings,
    State,
    check_names,
    numbers,
    part_of,
    together,
)

ISLANDS = 4
TOLD = "told"  # name in a state, beside those of every island


class IslandsSettings(OptimizerSettings):
    """Searches in a ring, each with a seed of its own; all their codes are scored together.

    Attributes:
        population: codes of all islands; by default as many for each as its optimizer has.
        islands: how many.
        optimizer: of each island; one that takes migrants.
        migration: iterations between two migrations.
        migrants: the best so many codes of an island take the place of the worst of the next.
    """

    name: Literal["islands"] = "islands"
    population: Annotated[int, Field(ge=4, le=10**7)] = 32 * ISLANDS
    islands: Annotated[int, Field(ge=2, le=10**4)] = ISLANDS
    optimizer: AnyOptimizer = MemeticSettings()
    migration: PositiveInt = 50
    migrants: PositiveInt = 1

    @model_validator(mode="before")
    @classmethod
    def _shared_out(cls, given: Any) -> Any:
        """The population of all from that of an island, or the other way round, unless both are given."""
        if not isinstance(given, Mapping):
            return given
        inner = given.get("optimizer", {})
        own = dict(inner) if isinstance(inner, Mapping) else {"name": inner} if isinstance(inner, str) else {}
        islands, population = given.get("islands", ISLANDS), given.get("population")
        if type(islands) is not int or islands < 1 or isinstance(inner, OptimizerSettings):
            return given
        if type(population) is int and population % islands == 0:
            return {**given, "optimizer": {"population": population // islands, **own}}
        if population is None:
            each = OPTIMIZERS.parse(own, default="memetic").population
            return {**given, "optimizer": own, "population": each * islands}
        return {**given, "optimizer": own}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        each = self.optimizer.population
        if self.population != self.islands * each:
            raise ValueError(
                f"population: expected {self.islands} islands x {each} codes = {self.islands * each}, "
                f"found {self.population}"
            )
        if not self.optimizer.takes_migrants:
            raise ValueError(f"optimizer.name: expected one that takes migrants, found {self.optimizer.name}")
        if self.migrants >= each:
            raise ValueError(f"migrants: expected less than the {each} codes of an island, found {self.migrants}")
        return self

    @property
    def uses_gradient(self) -> bool:  # type: ignore[override]
        return self.optimizer.uses_gradient

    def start(self, latent_dim: int, seed: int) -> Islands:
        return Islands(self, latent_dim, seed)


class Islands(Optimizer):
    """The searches of a ring."""

    def __init__(self, settings: IslandsSettings, latent_dim: int, seed: int):
        self._settings, self._latent, self._told = settings, latent_dim, 0
        seeds = np.random.SeedSequence(seed).generate_state(settings.islands)
        self._islands = [settings.optimizer.start(latent_dim, int(own)) for own in seeds]

    def ask(self) -> np.ndarray:
        return np.concatenate([island.ask() for island in self._islands])

    def tell(self, codes: np.ndarray, scores: np.ndarray, gradients: np.ndarray | None = None) -> None:
        """An iteration of every island, and a migration if it is time."""
        n = len(self._islands)
        slopes = [None] * n if gradients is None else np.split(gradients, n)
        for island, own, told, slope in zip(
            self._islands, np.split(codes, n), np.split(scores, n), slopes, strict=True
        ):
            island.tell(own, told, slope)
        self._told += 1
        if self._told % self._settings.migration == 0:
            self._migrate()

    def _migrate(self) -> None:
        found = [island.result() for island in self._islands]
        for island, (codes, scores) in zip(self._islands, [found[-1], *found[:-1]], strict=True):
            island.receive(codes[: self._settings.migrants], scores[: self._settings.migrants])

    def result(self) -> Candidates:
        """Those of all islands."""
        codes, scores = zip(*(island.result() for island in self._islands), strict=True)
        order = np.argsort(-np.concatenate(scores), kind="stable")
        return Candidates(np.concatenate(codes)[order], np.concatenate(scores)[order])

    def state(self) -> State:
        return {**together(island.state() for island in self._islands), TOLD: np.array(self._told)}

    def restore(self, state: State) -> None:
        check_names(state, self.state())
        twin = Islands(self._settings, self._latent, 0)
        for number, island in enumerate(twin._islands):
            island.restore(part_of(state, number))
        self._told, self._islands = int(numbers(state, TOLD, (), np.int64)), twin._islands
