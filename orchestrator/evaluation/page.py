"""The page of an evaluation: each system beside the data, and the scatter of its trainings."""

from __future__ import annotations

import pandas as pd
from torch import Tensor

from nets.conditional import CURVED, Groups
from nets.metrics import NOISE, STRUCTURE, Measured
from orchestrator.page import Section
from physics.model import Curve, SpinModel
from search.figures import averages_figure, curves_beside_figure, samples_figure

JUDGED = (
    "Distances are between features of two configurations: the structure factor at the lowest wave vectors, and mean "
    "and spread of the local {densities}, each kind in units of what the data have. The reference is {n} of {held_out} "
    "configurations that no model was trained on. Held-out data, {n} others, are the ceiling. The same with Gaussian "
    "noise of {noise:g} on each component of a spin are the floor: a model below it is farther from the data than "
    "noisy data are. Authenticity is the share of samples that are farther from the nearest training configuration "
    "than that is from the others: near 0 they are copies, and 1 is outside of the data."
)
BY_FIGURE = (
    "Means over the groups of the data and of this system, R² over the groups, and the largest difference of a group "
    "in its standard errors. By chance alone that difference is about 2 to 3."
)


def evaluation_sections(
    table: pd.DataFrame, summary: pd.DataFrame, model: SpinModel, reference: Measured, held_out: int
) -> list[Section]:
    """What the page of an evaluation shows, whose reference is of so many configurations held out."""
    densities = " and ".join(kind for kind in reference.features if kind != STRUCTURE)
    text = JUDGED.format(densities=densities, n=len(reference.columns), held_out=held_out, noise=NOISE)
    return [
        Section(
            "Each system", f"Mean over its trainings, plus or minus their standard deviation. {text}", rows=summary
        ),
        Section(
            "Energy and coverage",
            "A point a training: how much of the data its states cover, and their defects, against their mean energy; "
            "open from the prior, filled refined by the discriminator. Dashed: held-out data, which a good model is "
            "near; dotted: the same with noise, which it should not be below.",
            samples_figure(table, model),
            "scatter.png",
        ),
        Section(
            "Each training",
            "The same figures of every training by itself, with the standard deviations of its observables. Trainings "
            "of one system differ in their seed, so their scatter is what chance does.",
            rows=table.drop(columns="data_energy"),
        ),
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
            "Means over the configurations of each group of equal labels, with their standard errors. Black: the data, "
            "on which the curves of a system lie if it makes what its labels ask for.",
            averages_figure(tables, groups.labels, model),
            "groups.png",
            cover=True,
        ),
        Section(
            "Accuracy of the means",
            "R² over the groups, a row a figure and a column a system: how well its means follow those of the data. 1 "
            "is a perfect fit, below 0 is worse than the mean of the data.",
            rows=accuracy.map("{:z.3f}".format).reset_index(names="figure"),
        ),
        *(_curve_sections(curves, shapes, groups, model.curves(L)) if model.curves(L) else []),
        *(Section(f"{name}, figure by figure", BY_FIGURE, rows=score) for name, score in scores.items()),
    ]


def _curve_sections(
    curves: dict[str, dict[str, Tensor]], shapes: dict[str, dict[str, float]], groups: Groups, known: dict[str, Curve]
) -> list[Section]:
    labels = {name: curve.label for name, curve in known.items()}
    return [
        Section(
            "Curves",
            f"Means over {CURVED} configurations of the first, the middle and the last group of equal labels. Black: "
            "the data, which the curves of a good system cannot be told from.",
            curves_beside_figure(curves, groups.labels, known),
            "curves.png",
        ),
        Section(
            "Accuracy of the curves",
            "R² of the correlation; of the others the share of points within 5 % of the data's largest value. "
            "Means over the groups.",
            rows=pd.DataFrame(shapes).map("{:z.3f}".format).rename(index=labels).reset_index(names="curve"),
        ),
    ]
