"""Samples of a model as a person asks for them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveFloat

from physics.metropolis import Temperature
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


class ReconstructConfig(Settings):
    """``n`` fields with given vortices at a temperature.

    Attributes:
        L: sites along each edge, which may be more than the model was trained on; as many, if None.
        charges: x, y and charge of each vortex; see :func:`physics.states.read_charges`.
        polish: Metropolis sweeps that each field is given, its charges held, which bring it to equilibrium.
        overrelaxation: sweeps at constant energy after each of them.
    """

    L: Annotated[int, Field(ge=8, le=4096)] | None = None
    charges: Annotated[tuple[tuple[int, int, int], ...], Field(max_length=10**6)] = ()
    temperature: Temperature = 0.1
    n: Annotated[int, Field(ge=2, le=10**6)] = 1000
    polish: Annotated[int, Field(ge=0, le=10**6)] = 0
    overrelaxation: Annotated[int, Field(ge=0, le=10**6)] = 4
    seed: Seed = 0
