"""The page of an evaluation: each system beside the data, and the scatter of its trainings."""

from __future__ import annotations

import pandas as pd

from orchestrator.page import Section
from physics.model import SpinModel
from search.figures import samples_figure


def evaluation_sections(table: pd.DataFrame, summary: pd.DataFrame, model: SpinModel) -> list[Section]:
    """What the page of an evaluation shows."""
    return [
        Section("Each system", "Mean over its trainings, plus or minus their standard deviation.", rows=summary),
        Section(
            "Energy and coverage",
            "A point a training; open from the prior, filled refined by the discriminator. Dashed: the data.",
            samples_figure(table, model),
            "scatter.png",
        ),
        Section("Each training", rows=table.drop(columns="data_energy")),
    ]
