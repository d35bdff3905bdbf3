"""What is looked at inside a trained model, as a person asks for it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat

from physics.registry import Seed, Settings


class MapConfig(Settings):
    """A map of the latent plane of two components, the others drawn from the prior with ``seed``.

    Attributes:
        reach: the components go from -reach to reach, in ``points`` steps.
    """

    axes: tuple[NonNegativeInt, NonNegativeInt] = (0, 1)
    reach: PositiveFloat = 2.0
    points: Annotated[int, Field(ge=21, le=1001)] = 81
    seed: Seed = 0


class Inversion(Settings):
    """How the code of a given state is looked for: ``starts`` codes, each moved by Adam."""

    starts: Annotated[int, Field(gt=0, le=10_000)] = 16
    iterations: Annotated[int, Field(gt=0, le=10**6)] = 500
    learning_rate: PositiveFloat = 0.05
    seed: Seed = 0


class InvertConfig(Inversion):
    """The inverse mapping of a state."""

    state: str


class LineConfig(Inversion):
    """Straight lines between the codes of the states, each to the next."""

    states: Annotated[tuple[str, ...], Field(min_length=2, max_length=100)]
    points: Annotated[int, Field(ge=3, le=10_000)] = 61
