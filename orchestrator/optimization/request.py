"""A search of a latent space as a person asks for it."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from physics.registry import Seed, Settings, digest
from search.genetic import GeneticSettings
from search.objectives import AnyObjective, parse_objective
from search.optimizer import AnyOptimizer


class OptimizeConfig(Settings):
    """A search of a model's latent space.

    Attributes:
        objective: a name, or settings with a ``name``.
        optimizer: ``name`` chooses which, "genetic" by default.
        iterations: times that codes are asked for and their scores told.
    """

    objective: AnyObjective = parse_objective("mz_max")
    optimizer: AnyOptimizer = GeneticSettings()
    iterations: Annotated[int, Field(gt=0, le=10**9)] = 2000
    seed: Seed = 0

    @model_validator(mode="after")
    def _gradient(self) -> Self:
        if self.optimizer.uses_gradient and not self.objective.differentiable:
            raise ValueError(
                f"optimizer.name: expected one without gradients, since {self.objective.name} has none, "
                f"found {self.optimizer.name}"
            )
        return self

    def name_in(self, model: str) -> str:
        """Of the optimum found in the latent space of a model."""
        recipe: dict[str, Any] = {"config": self.recipe(), "model": model}
        return f"{self.objective.name.replace(':', '-')}-{digest(recipe)}"
