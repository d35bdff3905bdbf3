"""The collapse scan of the E-VAE (2021): beta by decades, gamma upward, then the threshold between brackets.

Above a critical gamma the Hamiltonian loss wins over the others and the decoder makes one state whatever its code:
the lowest that the model can express.  The scan is told of each stage whether its model had collapsed, and says
which stage comes next and whose weights it starts from.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

COLLAPSED = 0.1  # of the data's k-space MSE; below it a model makes one state
DIVERSE = 0.5  # of the data's k-space MSE; above it a model is fit for searching


class Stage(NamedTuple):
    """Loss weights of a stage, and the number of the stage that it continues (None: random weights)."""

    beta: float
    gamma: float
    parent: int | None


class Bracket(NamedTuple):
    """gamma_c lies between a gamma that kept the model diverse and the next that collapsed it."""

    lower: float
    upper: float

    @property
    def critical(self) -> float:
        """The geometric mean of both; not a number where the smallest gamma already collapsed the model."""
        return math.sqrt(self.lower * self.upper) if self.lower > 0 else math.nan

    @property
    def middle(self) -> float:
        """Where to look next: the geometric mean, or a decade below the smallest gamma."""
        return float(f"{self.critical if self.lower > 0 else self.upper / 10:.4g}")


def beta_ladder(beta: float, start: float) -> list[float]:
    """From ``start`` to ``beta`` by factors of ten, the last one what is left.

    The ladder matters: started at its final value, beta collapses the posterior at once.
    """
    ladder = []
    while start < beta * (1 - 1e-9):
        ladder.append(start)
        start = float(f"{10 * start:.12g}")
    return [*ladder, beta]


def bracket(gammas: Sequence[float], collapsed: Sequence[bool]) -> Bracket | None:
    """The first gap, going up in gamma, from a diverse model to a collapsed one; None if there is none.

    The first, since far above it large gradients can throw a collapsed model out of its state again.
    """
    stages = sorted(zip(gammas, collapsed, strict=True))
    for (lower, fallen_below), (upper, fallen_above) in itertools.pairwise(stages):
        if fallen_above and not fallen_below:
            return Bracket(lower, upper)
    return None


def scan(beta: float, beta_start: float, gammas: Iterable[float], refine: int) -> Generator[Stage, bool, None]:
    """Stages of a collapse scan; send back for each whether its model had collapsed.

    Each stage continues the one before; each of ``refine`` halvings of the bracket (in ln gamma) continues the
    last stage below it.  Where the smallest gamma already collapses the model, they go down by decades instead.
    """
    number = -1
    for value in beta_ladder(beta, beta_start):
        fallen = yield Stage(value, 0.0, number if number >= 0 else None)
        number += 1
    seen = {0.0: (number, fallen)}
    for gamma in gammas:
        if gamma == 0:
            continue
        fallen = yield Stage(beta, gamma, number)
        number += 1
        seen[gamma] = (number, fallen)
    for _ in range(refine):
        gap = bracket(list(seen), [fallen for _, fallen in seen.values()])
        if gap is None:
            return
        fallen = yield Stage(beta, gap.middle, seen[gap.lower][0])
        number += 1
        seen[gap.middle] = (number, fallen)


def scan_length(beta: float, beta_start: float, gammas: Sequence[float], refine: int) -> int:
    """Stages of :func:`scan` at most."""
    return len(beta_ladder(beta, beta_start)) + sum(gamma > 0 for gamma in gammas) + refine


def crossing(stages: pd.DataFrame) -> float:
    r"""gamma_x, where the losses of the diverse and of the collapsed branch are equal.

    The collapse is a first-order transition: each branch is metastable beyond the point where their losses cross, so
    gamma_c, where a scan falls, depends on the seed and on the steps of a stage.  The loss of a model is a line,

    .. math:: L(\gamma) = L_{RC} + \beta L_{KL} + \gamma L_H

    and bounds the loss of its branch from above.  A branch is taken as the lower envelope of the lines of its models.

    Args:
        stages: at one beta, with the columns beta, collapsed and the held-out losses validation_reconstruction,
            validation_kl and validation_energy.

    Returns:
        gamma_x; 0 where the collapsed branch is the lower one without the Hamiltonian; NaN unless both branches have a
        model and cross, and of a system whose loss does not hold the energy.
    """
    if "validation_energy" not in stages:
        return math.nan
    level = stages["validation_reconstruction"] + stages["beta"] * stages["validation_kl"]
    lines = np.stack((level, stages["validation_energy"]), 1)
    fallen = stages["collapsed"].to_numpy(bool)
    diverse, collapsed = lines[~fallen], lines[fallen]
    if not len(diverse) or not len(collapsed):
        return math.nan
    if collapsed[:, 0].min() <= diverse[:, 0].min():
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = (collapsed[:, None] - diverse).reshape(-1, 2)
        meetings = -apart[:, 0] / apart[:, 1]
    for gamma in np.sort(meetings[np.isfinite(meetings) & (meetings > 0)]):
        losses = [(branch @ (1.0, gamma)).min() for branch in (diverse, collapsed)]
        if math.isclose(*losses, rel_tol=1e-9, abs_tol=1e-12):
            return float(gamma)
    return math.nan


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of positive numbers, and the ends of its 95 % interval by Student's t of their logarithms.

    Numbers that are not positive do not count; the ends are NaN for fewer than two.
    """
    logs = np.log([value for value in values if value > 0])
    if not len(logs):
        return math.nan, math.nan, math.nan
    middle = float(logs.mean())
    if len(logs) == 1:
        return math.exp(middle), math.nan, math.nan
    reach = float(stdtrit(len(logs) - 1, 0.975)) * float(logs.std(ddof=1)) / len(logs) ** 0.5
    return math.exp(middle), math.exp(middle - reach), math.exp(middle + reach)


THRESHOLD = (
    "gamma_c",
    "gamma_lower",
    "gamma_upper",
    "gamma_crossing",
    "mse_fall_in_a_decade",
    "collapsed_energy",
)


def threshold(stages: pd.DataFrame) -> dict[str, float]:
    """gamma_c with its bracket, gamma_x, the fall of the k-space MSE within a decade of gamma, the collapsed energy.

    Args:
        stages: at one beta, with the columns gamma, collapsed, kspace_mse, energy_mean and those of :func:`crossing`.

    Returns:
        The figures :data:`THRESHOLD`, NaN where there is no collapse.
    """
    stages = stages.sort_values("gamma")
    gammas, mse = stages["gamma"].to_numpy(), stages["kspace_mse"].to_numpy()
    gap = bracket(gammas.tolist(), stages["collapsed"].tolist())
    ratios = [
        mse[i] / max(mse[j], 1e-12)
        for i in range(len(gammas))
        for j in range(i + 1, len(gammas))
        if gammas[i] > 0 and gammas[j] <= 10.0001 * gammas[i]
    ]
    beyond = stages[stages["collapsed"] & (gammas >= (gap.upper if gap else math.inf))]
    energy = float(beyond["energy_mean"].min()) if len(beyond) else math.nan
    found = (gap.critical, gap.lower, gap.upper) if gap else (math.nan,) * 3
    fall = float(max(ratios, default=1.0))
    return dict(zip(THRESHOLD, (*found, crossing(stages), fall, energy), strict=True))
