"""The protocol of a trial program: what a sweep does at each point of its space.

A program is a generator of trainings, each an artifact of the store, that is sent the card of each as it is done.  It
knows neither Ray nor where a training runs.  To add one: a file with a class of :class:`TrialProgram`, and a line in
:data:`TRIAL_PROGRAMS`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BeforeValidator, SerializeAsAny

from nets.metrics import ensemble_figures
from nets.phases import Phases
from orchestrator.page import Section
from orchestrator.training.reference import reference_figures
from orchestrator.training.request import TrainConfig
from physics.model import SpinModel
from physics.registry import Registry, Tagged
from physics.render import evenly

Card = dict[str, Any]
Mode = Literal["min", "max"]
PICTURED = 100  # trainings whose states a page shows


class Finished(NamedTuple):
    """What a sweep has made, for its page.

    Attributes:
        stages: a row a training: trial, point, seed, order, what the program says of it, figures, model.
        summary: a row a trial: trial, point, seed, what the program reports.
        pooled: a row a point, see :meth:`TrialProgram.pooled`.
        data: figures of the training data, by the name of the data set.
        pictures: generated states ``(n, components, L, L)`` of each model.
        model: the spin model of the data.
        compared: what the page shows of the collapsed state, see :mod:`orchestrator.sweeps.collapsed_state`.
        ended: the trials that ended before their last training, each with its cause.
        phases: where an E-VAE of these data is expected to collapse, if that is known.
    """

    stages: pd.DataFrame
    summary: pd.DataFrame
    pooled: pd.DataFrame
    data: dict[str, dict[str, float]]
    pictures: dict[str, np.ndarray]
    model: SpinModel
    compared: Sequence[Section] = ()
    ended: Sequence[str] = ()
    phases: Phases | None = None

    @property
    def pictured(self) -> pd.DataFrame:
        """Stages of the trials whose states the page shows: of all, or evenly of so many that it is no book."""
        trials = self.stages["trial"].unique()
        most = PICTURED * len(trials) // len(self.stages)
        return self.stages[self.stages["trial"].isin(trials[evenly(len(trials), max(1, most))])]

    @property
    def pictured_text(self) -> str:
        trials, shown = self.stages["trial"].nunique(), self.pictured["trial"].nunique()
        return f"Of {trials:,} trials {shown} are shown. " if shown < trials else ""


class TrialProgram(Tagged, ABC):
    """Settings of a trial program; ``training`` is the request of the sweep at one point of its space."""

    @abstractmethod
    def check(self, training: TrainConfig) -> None:
        """Raise ValueError unless the program can start from this training."""

    @abstractmethod
    def trainings(self, training: TrainConfig) -> Generator[TrainConfig, Card, None]:
        """The trainings in their order; each yield is sent the card of the training that it yielded."""

    @abstractmethod
    def length(self, training: TrainConfig) -> int:
        """How many trainings there are at most."""

    @abstractmethod
    def max_steps(self, training: TrainConfig) -> int:
        """Training steps of all of them at most."""

    @abstractmethod
    def metric(self, training: TrainConfig) -> tuple[str, Mode]:
        """Which reported figure a sweep is optimised by, if it is not told another, and whether it is to be small."""

    @abstractmethod
    def reported(self, training: TrainConfig) -> list[str]:
        """Names of the figures of :meth:`report`."""

    @abstractmethod
    def report(self, stages: pd.DataFrame) -> dict[str, float]:
        """Figures of a trial from the trainings that it has done, a row each; NaN where they do not say yet."""

    def pooled(self, summary: pd.DataFrame, stages: pd.DataFrame) -> pd.DataFrame:
        """Figures of trials that differ in their seed alone, a row a point, from a row a trial and a row a training."""
        return pd.DataFrame()

    def columns(self, card: Card) -> dict[str, Any]:
        """What tells one training of a trial from another, for the table of all trainings."""
        return {}

    def sections(self, finished: Finished) -> list[Section]:
        """What the page of a sweep shows besides its tables."""
        return []


TRIAL_PROGRAMS: Registry[TrialProgram] = Registry(
    TrialProgram,
    "trial program",
    {
        "training": "orchestrator.sweeps.single:SingleTraining",
        "collapse": "orchestrator.sweeps.collapse:CollapseScan",
        "posterior": "orchestrator.sweeps.posterior:PosteriorScan",
    },
)

AnyTrialProgram = Annotated[
    SerializeAsAny[TrialProgram], BeforeValidator(partial(TRIAL_PROGRAMS.parse, default="training"))
]
"""A field of settings that holds any trial program; a single training, if it names none."""


def training_figures(training: TrainConfig) -> list[str]:
    """Names of the figures on the card of a training."""
    validation = [f"validation_{name}" for name in training.system.held_out]
    data = [f"data_{name}" for name in ("kspace_mse", "energy_mean", "energy_std")]
    posterior = ["active_units"] if training.system.encoder else []
    own = [
        *ensemble_figures(training.dataset.hamiltonian),
        "diversity",
        "diversity_error",
        *posterior,
        "prior_reconstruction",
    ]
    return [*own, *data, *validation, *reference_figures(training)]
