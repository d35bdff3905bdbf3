"""How well a conditional system makes what its labels ask for: observables, responses and curves, group by group.

Source: XY reconstruction (2024), figures 4 and 5, equations (4) and (5).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from physics import thermal
from physics.model import SpinModel

CURVED = 100  # configurations of a group whose curves are taken, as in the paper
FEWEST = 10  # configurations of a group that has averages


class Groups(NamedTuple):
    """Configurations with equal labels.

    Attributes:
        labels: a row a group: the labels that are single numbers.
        member: the group of each configuration, ``(n,)``.
        curved: bool ``(n,)``, the first configurations of each group.
    """

    labels: pd.DataFrame
    member: np.ndarray
    curved: np.ndarray


def grouped(labels: Mapping[str, Tensor | np.ndarray]) -> Groups:
    """Configurations by their labels ``(n,)``; labels of another shape do not count."""
    table = pd.DataFrame({name: np.asarray(values) for name, values in labels.items() if values.ndim == 1})
    by = table.groupby(list(table.columns), sort=True)
    member = by.ngroup().to_numpy()
    return Groups(by.size().reset_index().drop(columns=0), member, _first(member))


def _first(member: np.ndarray) -> np.ndarray:
    """The first configurations of each group, bool ``(n,)``."""
    return (pd.Series(member).groupby(member).cumcount() < CURVED).to_numpy()


def among(groups: Groups, rows: slice) -> Groups:
    """Some of the configurations by themselves, in the same groups."""
    member = groups.member[rows]
    return Groups(groups.labels, member, _first(member))


def comparable(ensembles: Iterable[Groups]) -> bool:
    """Whether some group has enough configurations for averages in each of the ensembles, whose groups are the same."""
    counts = [np.bincount(groups.member, minlength=len(groups.labels)) for groups in ensembles]
    return bool((np.min(counts, 0) >= FEWEST).any())


def averages(columns: pd.DataFrame, groups: Groups, model: SpinModel, N: int) -> pd.DataFrame:
    """A row a group and figure: labels, name, value and standard error of every column and, at a temperature, response.

    Args:
        columns: observables and whatever else is known of each configuration, a row each.
        N: sites of a configuration.
    """
    rows = []
    for number, label in groups.labels.iterrows():
        part = columns[groups.member == number]
        if len(part) < FEWEST:
            continue
        responses = model.responses if "temperature" in label else {}
        arrays = {str(name): part[name].to_numpy() for name in part}
        found = thermal.estimates(arrays, responses, float(label.get("temperature", np.nan)), N)
        rows += [{**label, "figure": name, "value": value, "error": error} for name, (value, error) in found.items()]
    return pd.DataFrame(rows)


def r_squared(real: np.ndarray, generated: np.ndarray) -> float:
    """Coefficient of determination 1 - sum (y - y')^2 / sum (y - mean y)^2; NaN where the real are all the same.

    Source: XY reconstruction (2024), equation (4).
    """
    spread = ((real - real.mean()) ** 2).sum()
    return float(1 - ((real - generated) ** 2).sum() / spread) if spread > 0 else float("nan")


def within(real: np.ndarray, generated: np.ndarray, tolerance: float) -> float:
    """Share of points that differ by less than ``tolerance`` times the largest real.

    Source: XY reconstruction (2024), equation (5), where the tolerance is 0.05.
    """
    return float((np.abs(generated - real) < tolerance * real.max()).mean())


def accuracies(real: pd.DataFrame, generated: pd.DataFrame) -> pd.DataFrame:
    """A row a figure of two tables of :func:`averages`: R^2 over the groups, the largest difference in standard errors.

    Groups of different temperatures count by themselves: R^2 is the mean over the temperatures.
    """
    keys = [name for name in real if name not in ("figure", "value", "error")]
    both = real.merge(generated, on=[*keys, "figure"], suffixes=("", "_generated"))
    both["sigmas"] = (both["value_generated"] - both["value"]).abs() / np.hypot(both["error"], both["error_generated"])
    rows = []
    for figure, part in both.groupby("figure", sort=False):
        slices = [group for _, group in part.groupby("temperature")] if "temperature" in keys else [part]
        scores = [r_squared(s["value"].to_numpy(), s["value_generated"].to_numpy()) for s in slices if len(s) > 1]
        means = part[["value", "value_generated"]].mean()
        rows.append(
            {
                "figure": figure,
                "data": means["value"],
                "generated": means["value_generated"],
                "r_squared": float(np.mean(scores)) if scores else float("nan"),
                "largest_difference_in_errors": part["sigmas"].max(),
            }
        )
    return pd.DataFrame(rows)


def mean_curves(curves: Mapping[str, Tensor], groups: Groups) -> dict[str, Tensor]:
    """Means ``(groups, points)`` of curves ``(m, points)`` over each group's configurations; NaN where it has none."""
    member = groups.member[groups.curved]
    order = [torch.from_numpy(member == number) for number in range(len(groups.labels))]
    return {name: torch.stack([values[here].mean(0) for here in order]) for name, values in curves.items()}


def curve_accuracies(
    real: Mapping[str, Tensor], generated: Mapping[str, Tensor], model: SpinModel, L: int
) -> dict[str, float]:
    """Of mean curves ``(groups, points)``: R^2 or the share within the tolerance, the mean over the groups in both."""
    found = {}
    for name, curve in model.curves(L).items():
        pairs: Sequence[tuple[Tensor, Tensor]] = list(zip(real[name], generated[name], strict=True))
        there = [(a.numpy(), b.numpy()) for a, b in pairs if not (a.isnan().any() or b.isnan().any())]
        if curve.tolerance is None:
            scores = [r_squared(a, b) for a, b in there]
        else:
            scores = [within(a, b, curve.tolerance) for a, b in there]
        found[name] = float(np.mean(scores)) if scores else float("nan")
    return found
