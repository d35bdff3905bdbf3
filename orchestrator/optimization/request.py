"""A search of a latent space as a person asks for it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from physics.registry import Seed, Settings, digest
from search.constraint import ENERGY_OF_DATA, Constraint, parse_constraint
from search.memetic import MemeticSettings
from search.objectives import AnyObjective, parse_objective
from search.optimizer import AnyOptimizer


class OptimizeConfig(Settings):
    """A search of a model's latent space.

    Attributes:
        objective: a name, or settings with a ``name``.
        optimizer: ``name`` chooses which, "memetic" by default.
        iterations: times that codes are asked for and their scores told.
        subject_to: what a state must fulfil, such as "nodal_points = 0" or "energy < -0.04".  If none is of the energy,
            it has to stay below the highest of the data.
        free: codes may leave the shell where the prior lives.
    """

    recipe_version: ClassVar[int] = 2  # 1: without constraints, codes free
    objective: AnyObjective = parse_objective("mz_max")
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
    def _consistent(self) -> Self:
        if self.optimizer.uses_gradient and not self.objective.differentiable:
            raise ValueError(
                f"optimizer.name: expected one without gradients, since {self.objective.name} has none, "
                f"found {self.optimizer.name}"
            )
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

    def name_in(self, model: str) -> str:
        """Of the optimum found in the latent space of a model."""
        recipe: dict[str, Any] = {"config": self.recipe(), "model": model}
        objective = "".join(letter if letter.isalnum() or letter in "._" else "-" for letter in self.objective.name)
        return f"{objective}-{digest(recipe)}"
