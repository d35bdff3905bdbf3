"""The page of an evaluation: each system beside the data, and the scatter of its trainings."""

from __future__ import annotations

import pandas as pd
from torch import Tensor

from nets.conditional import CURVED, Groups
from orchestrator.page import Section
from physics.model import Curve, SpinModel
from search.figures import averages_figure, curves_beside_figure, samples_figure


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


def conditional_sections(
    tables: dict[str, pd.DataFrame],
    curves: dict[str, dict[str, Tensor]],
    scores: dict[str, pd.DataFrame],
    shapes: dict[str, dict[str, float]],
    groups: Groups,
    model: SpinModel,
    L: int,
) -> list[Section]:
    """Ensembles beside the data, group by group of equal labels; see :func:`orchestrator.evaluation.run.compared`."""
    accuracy = pd.DataFrame(
        {name: dict(zip(score["figure"], score["r_squared"], strict=True)) for name, score in scores.items()}
    )
    return [
        Section(
            "Against the labels",
            "Means over the configurations of each group of equal labels, with their standard errors.",
            averages_figure(tables, groups.labels, model),
            "groups.png",
            cover=True,
        ),
        Section(
            "Accuracy of the means",
            "R² over the groups: 1 is a perfect fit, below 0 is worse than the mean of the data.",
            rows=accuracy.map("{:.3f}".format).reset_index(names="figure"),
        ),
        *(_curve_sections(curves, shapes, groups, model.curves(L)) if model.curves(L) else []),
        *(Section(f"{name}, figure by figure", rows=score.round(5)) for name, score in scores.items()),
    ]


def _curve_sections(
    curves: dict[str, dict[str, Tensor]], shapes: dict[str, dict[str, float]], groups: Groups, known: dict[str, Curve]
) -> list[Section]:
    return [
        Section(
            "Curves",
            f"Means over {CURVED} configurations of the first, the middle and the last group. Black: the data.",
            curves_beside_figure(curves, groups.labels, known),
            "curves.png",
        ),
        Section(
            "Accuracy of the curves",
            "R² of the correlation; of the others the share of points within 5 % of the data's largest value. "
            "Means over the groups.",
            rows=pd.DataFrame(shapes).map("{:.3f}".format).reset_index(names="curve"),
        ),
    ]
