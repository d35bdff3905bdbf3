"""Samples of a model as a person asks for them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveFloat

from physics.registry import Seed, Settings


class SampleConfig(Settings):
    """``n`` codes of the prior, refined by discriminator-driven latent sampling (DDLS) for ``steps`` steps.

    Attributes:
        langevin: with noise and the prior (Che et al., 2020) rather than gradient ascent (2023 paper).
    """

    n: Annotated[int, Field(ge=2, le=10**6)] = 1000
    steps: Annotated[int, Field(ge=0, le=10**6)] = 0
    step_size: PositiveFloat = 0.01
    langevin: bool = False
    seed: Seed = 0
