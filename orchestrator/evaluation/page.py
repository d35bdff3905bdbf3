"""The page of an evaluation: each system beside the data, and the scatter of its trainings."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from orchestrator.page import Section
from physics.model import SpinModel
from physics.render import figure_of


def evaluation_sections(table: pd.DataFrame, summary: pd.DataFrame, model: SpinModel) -> list[Section]:
    """What the page of an evaluation shows."""
    return [
        Section("Each system", "Mean over its trainings, plus or minus their standard deviation.", rows=summary),
        Section(
            "Energy and coverage",
            "A point a training; open from the prior, filled refined by the discriminator. Dashed: the data.",
            _scatter(table, model),
            "scatter.png",
        ),
        Section("Each training", rows=table.drop(columns="data_energy")),
    ]


def _scatter(table: pd.DataFrame, model: SpinModel) -> Figure:
    shown = {
        "adagan_coverage": "coverage (AdaGAN)",
        "coverage": "coverage (k nearest)",
        model.defect_column: f"{model.defect} a state",
    }
    figure, axes = figure_of(1, len(shown), (13, 3.8))
    for number, (system, group) in enumerate(table.groupby("system")):
        for refined in (False, True):
            part = group[(group["steps"] > 0) == refined]
            style = {"color": f"C{number}", "linestyle": "none", "marker": "o", "mfc": None if refined else "none"}
            label = f"{system}, refined" if refined else system
            for axis, key in zip(axes, shown, strict=True):
                if len(part):
                    axis.plot(part["energy"], part[key], label=label, **style)
    for axis, title in zip(axes, shown.values(), strict=True):
        axis.axvline(table["data_energy"].iloc[0], color="k", ls="--", lw=1)
        axis.set(xlabel="mean energy", title=title)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize="small")
    return figure
