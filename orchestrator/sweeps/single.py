"""A trial that is one training."""

from __future__ import annotations

from collections.abc import Generator
from numbers import Real
from typing import Literal

import pandas as pd

from orchestrator.page import Section
from orchestrator.sweeps.program import Card, Finished, Mode, TrialProgram, training_figures
from orchestrator.training.request import TrainConfig
from physics.render import colors_text, strips_figure


class SingleTraining(TrialProgram):
    """The training that the point describes; it reports the figures of the model's card."""

    name: Literal["training"] = "training"

    def check(self, training: TrainConfig) -> None:
        return

    def trainings(self, training: TrainConfig) -> Generator[TrainConfig, Card, None]:
        yield training

    def length(self, training: TrainConfig) -> int:
        return 1

    def max_steps(self, training: TrainConfig) -> int:
        return training.steps

    def metric(self, training: TrainConfig) -> tuple[str, Mode]:
        """The held-out reconstruction of a system that encodes, else the diversity of its samples."""
        return ("validation_reconstruction", "min") if training.system.held_out else ("diversity", "max")

    def reported(self, training: TrainConfig) -> list[str]:
        return training_figures(training)

    def report(self, stages: pd.DataFrame) -> dict[str, float]:
        last = stages.iloc[-1]
        known = [str(key) for key in stages.columns if str(key) not in ("seed", "order") and "." not in str(key)]
        numbers = {key: last[key] for key in known if not key.startswith("train_")}
        return {key: float(value) for key, value in numbers.items() if isinstance(value, Real)}

    def sections(self, finished: Finished) -> list[Section]:
        rows = [
            (f"trial {row.trial}, ε {row.energy_mean:z.4f}", finished.pictures[str(row.model)])
            for row in finished.pictured.itertuples()
        ]
        text = (
            f"{finished.pictured_text}A row a trial: states that its model generates from the prior, with their mean "
            "energy in J per spin. "
            f"States of a good model differ from each other and look like the data. {colors_text(finished.model)}"
        )
        return [Section("Generated states", text, strips_figure(rows, finished.model), "states.png")]
