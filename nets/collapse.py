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

import pandas as pd

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


THRESHOLD = ("gamma_c", "gamma_lower", "gamma_upper", "mse_fall_in_a_decade", "collapsed_energy")


def threshold(stages: pd.DataFrame) -> dict[str, float]:
    """gamma_c with its bracket, the fall of the k-space MSE within a decade of gamma, the collapsed energy.

    Args:
        stages: at one beta, with the columns gamma, collapsed, kspace_mse and energy_mean.

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
    return dict(zip(THRESHOLD, (*found, float(max(ratios, default=1.0)), energy), strict=True))
