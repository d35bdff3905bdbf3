"""A search of a latent space as a person asks for it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from physics.registry import Seed, Settings, digest
from search.constraint import ENERGY_OF_DATA, Constraint, parse_constraint
from search.memetic import MemeticSettings
from search.objectives import AnyObjective, parse_objective
from search.optimizer import AnyOptimizer
from search.pareto import ParetoSettings


class Search(Settings):
    """How the latent space of a model is searched, whatever for.

    Attributes:
        optimizer: ``name`` chooses which, "memetic" by default.
        iterations: times that codes are asked for and their scores told.
        subject_to: what a state must fulfil, such as "nodal_points = 0" or "energy < -0.04".  If none is of the energy,
            it has to stay below the highest of the data.
        free: codes may leave the shell where the prior lives.
    """

    optimizer: AnyOptimizer = MemeticSettings()
    iterations: Annotated[int, Field(gt=0, le=10**9)] = 500
    subject_to: tuple[str, ...] = ()
    free: bool = False
    seed: Seed = 0

    @field_validator("subject_to", mode="before")
    @classmethod
    def _one_or_more(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _of_their_form(self) -> Self:
        for number, text in enumerate(self.subject_to):
            try:
                parse_constraint(text)
            except ValueError as error:
                raise ValueError(f"subject_to.{number}: {error}") from None
        return self

    @property
    def constraints(self) -> list[Constraint]:
        found = [parse_constraint(text) for text in self.subject_to]
        bounded = any(constraint.name == ENERGY_OF_DATA.name for constraint in found)
        return found if bounded else [ENERGY_OF_DATA, *found]


class OptimizeConfig(Search):
    """A search of a model's latent space.

    Attributes:
        objective: a name, or settings with a ``name``.
    """

    recipe_version: ClassVar[int] = 2  # 1: without constraints, codes free
    objective: AnyObjective = parse_objective("mz_max")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.optimizer.uses_gradient and not self.objective.differentiable:
            raise ValueError(
                f"optimizer.name: expected one without gradients, since {self.objective.name} has none, "
                f"found {self.optimizer.name}"
            )
        if isinstance(self.optimizer, ParetoSettings) and self.objective.name in self.optimizer.against:
            raise ValueError(f"optimizer.against: expected others than the objective, found {self.objective.name}")
        return self

    def name_in(self, model: str) -> str:
        """Of the optimum found in the latent space of a model."""
        recipe: dict[str, Any] = {"config": self.recipe(), "model": model}
        objective = "".join(letter if letter.isalnum() or letter in "._" else "-" for letter in self.objective.name)
        return f"{objective}-{digest(recipe)}"


class SearchesConfig(Search):
    """Searches side by side: each objective with each seed.

    Attributes:
        objective: one, or several.
        seeds: how many seeds, from ``seed`` on.
    """

    objective: tuple[AnyObjective, ...] = (parse_objective("mz_max"),)
    seeds: Annotated[int, Field(gt=0, le=1000)] = 1

    @field_validator("objective", mode="before")
    @classmethod
    def _some(cls, given: Any) -> Any:
        if given == [] or given == ():
            raise ValueError("expected at least one objective, found none")
        return given if isinstance(given, list | tuple) else (given,)

    @model_validator(mode="after")
    def _each_consistent(self) -> Self:
        _ = self.each
        return self

    @property
    def each(self) -> list[OptimizeConfig]:
        shared = {key: value for key, value in self if key in Search.model_fields}
        return [
            OptimizeConfig(**{**shared, "objective": objective, "seed": self.seed + number})
            for objective in self.objective
            for number in range(self.seeds)
        ]
