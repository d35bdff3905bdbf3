"""The collapse of the E-VAE (2021) as a transition: regimes of a model, scans in gamma and beta, crossing losses.

Above a critical gamma the Hamiltonian loss wins over the others and the decoder makes one state whatever its code: the
lowest that the model can express.  The transition is of first order: a diverse and a collapsed branch are both
metastable over a range of gamma, so that where a scan falls depends on the steps of a stage.  Where the losses of the
two branches are equal does not.

A scan is told of each stage what became of its model, and says which stage comes next and whose weights it starts from.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

COLLAPSED = 0.1  # of the data's k-space MSE; below it a model makes one state
DIVERSE = 0.5  # of the data's k-space MSE; above it a model is fit for searching
DATA_DEVIATIONS = 3  # standard deviations above the data's mean energy: the highest that still counts as the data's

Regime = Literal["diverse", "hamiltonian collapse", "posterior collapse", "far from the prior"]
Direction = Literal["up", "collapsed", "down", "cold"]


def regime(diversity: float, energy: float, highest: float, active_units: float) -> Regime:
    """What a VAE has become, by what it makes of codes from the prior.

    * diverse: its states differ from one another as the data do;
    * hamiltonian collapse: they are alike, and their energy is at or below the data's;
    * posterior collapse: they are alike, of higher energy, and no unit of the code says anything about the input;
    * far from the prior: they are alike, of higher energy, though units are active: the encoder's codes lie elsewhere.

    Args:
        diversity: k-space MSE of generated states over that of the data.
        energy: mean of the generated states, per spin.
        highest: of the energies that count as the data's.
        active_units: see :func:`nets.metrics.active_units`.
    """
    if not diversity < COLLAPSED:
        return "diverse"
    if energy <= highest:
        return "hamiltonian collapse"
    return "far from the prior" if active_units else "posterior collapse"


class Stage(NamedTuple):
    """Loss weights of a stage, and the number of the stage that it continues (None: random weights).

    Attributes:
        slow: whether its learning rate is the lower one, which keeps a model on its branch.
    """

    beta: float
    gamma: float
    parent: int | None
    slow: bool = False


class Outcome(NamedTuple):
    """The regime of a stage's model and its losses: on its branch the loss is ``level + gamma energy``.

    The level of a diverse model is its held-out L_RC + beta L_KL and its energy the held-out L_H.  Those of a collapsed
    one are of its states from the prior, whatever the input: such a decoder ignores its code, and L_KL can be zero.
    """

    regime: Regime
    level: float
    energy: float

    @property
    def collapsed(self) -> bool:
        return self.regime == "hamiltonian collapse"


Made = list[tuple[Stage, Outcome]]
Stages = Generator[Stage, Outcome, None]


class Bracket(NamedTuple):
    """A transition lies between a weight on one side of it and the next on the other; ``lower`` 0 where none is."""

    lower: float
    upper: float

    @property
    def critical(self) -> float:
        """The geometric mean of both; not a number where the lower end is zero."""
        return math.sqrt(self.lower * self.upper) if self.lower > 0 else math.nan


NO_BRACKET = Bracket(math.nan, math.nan)


def beta_ladder(beta: float, start: float) -> list[float]:
    """From ``start`` to ``beta`` by factors of ten, the last one what is left."""
    ladder = []
    while start < beta * (1 - 1e-9):
        ladder.append(start)
        start = float(f"{10 * start:.12g}")
    return [*ladder, beta]


def bracket(weights: Sequence[float], fallen: Sequence[bool]) -> Bracket | None:
    """The first gap, going up in the weight, from a model that has not fallen to one that has; None if there is none.

    The first, since far above it large gradients can throw a collapsed model out of its state again.
    """
    stages = sorted(zip(weights, fallen, strict=True))
    for (lower, fallen_below), (upper, fallen_above) in itertools.pairwise(stages):
        if fallen_above and not fallen_below:
            return Bracket(lower, upper)
    return None


def _visit(made: Made, stage: Stage) -> Generator[Stage, Outcome, Outcome]:
    outcome = yield stage
    made.append((stage, outcome))
    return outcome


def scan(
    beta: float,
    beta_start: float,
    gammas: Sequence[float],
    refine: int,
    tolerance: float = 0.1,
    down: bool = False,
    cold: bool = False,
) -> Stages:
    """Stages of a collapse scan; send back the :class:`Outcome` of each.

    beta rises by decades without the Hamiltonian; then gamma rises, each stage from the one before, until two stages
    in a row have collapsed.  At most ``refine`` slow stages follow at gamma_x, where the losses of the branches cross
    by what is known: from the diverse branch and from the collapsed one, until both were measured there within
    ``tolerance`` (in ln gamma).

    Args:
        down: whether gamma then falls again from the last collapsed stage, until a model is not collapsed.
        cold: whether a model then starts from random weights at each gamma, until two in a row have collapsed.
    """
    made: Made = []
    for value in beta_ladder(beta, beta_start):
        yield from _visit(made, Stage(value, 0.0, len(made) - 1 if made else None))
    rising = [gamma for gamma in gammas if gamma > 0]
    bottom = len(made) - 1
    yield from _until_collapsed(made, rising, lambda gamma: Stage(beta, gamma, len(made) - 1))
    yield from _at_the_crossing(made, bottom, refine, tolerance)
    if down:
        yield from _downward(made, rising, bottom)
    if cold:
        yield from _until_collapsed(made, rising, lambda gamma: Stage(beta, gamma, None))


def _until_collapsed(made: Made, gammas: Sequence[float], stage: Callable[[float], Stage]) -> Stages:
    fallen = 0
    for gamma in gammas:
        outcome = yield from _visit(made, stage(gamma))
        fallen = fallen + 1 if outcome.collapsed else 0
        if fallen == 2:
            return


def _at_the_crossing(made: Made, bottom: int, most: int, tolerance: float) -> Stages:
    """Stages at the crossing of the branches, each continued from the model of its branch with the least loss there."""
    given_up: set[bool] = set()  # branches that could not be followed to the crossing
    measured: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(most):
        branches: dict[bool, dict[int, Outcome]] = {False: {}, True: {}}
        for number, (_, outcome) in enumerate(made[bottom:], bottom):
            if outcome.regime != "posterior collapse":
                branches[outcome.collapsed][number] = outcome
        at = float(f"{_meeting(*(list(branch.values()) for branch in branches.values())):.4g}")
        if not at > 0:
            return
        far = [
            branch
            for branch, gammas in measured.items()
            if branch not in given_up and all(abs(math.log(gamma / at)) > tolerance for gamma in gammas)
        ]
        if not far:
            return
        collapsed, known = far[0], branches[far[0]]
        parent = min(known, key=lambda number: known[number].level + at * known[number].energy)
        outcome = yield from _visit(made, Stage(made[bottom][0].beta, at, parent, slow=True))
        measured[collapsed].append(at)
        if outcome.collapsed != collapsed:
            given_up.add(collapsed)


def _downward(made: Made, gammas: Sequence[float], bottom: int) -> Stages:
    fallen = {made[number][0].gamma: number for number in range(bottom, len(made)) if made[number][1].collapsed}
    if not fallen:
        return
    top = max(fallen)
    parent = fallen[top]
    for gamma in sorted((gamma for gamma in gammas if gamma < top), reverse=True):
        outcome = yield from _visit(made, Stage(made[bottom][0].beta, gamma, parent))
        parent = len(made) - 1
        if not outcome.collapsed:
            return


def scan_length(
    beta: float, beta_start: float, gammas: Sequence[float], refine: int, down: bool = False, cold: bool = False
) -> int:
    """Stages of :func:`scan` at most."""
    rising = sum(gamma > 0 for gamma in gammas)
    return len(beta_ladder(beta, beta_start)) + rising * (1 + cold) + (rising - 1) * (down and rising > 0) + refine


def posterior_scan(betas: Sequence[float], refine: int) -> Generator[Stage, bool, None]:
    """Stages of a scan in beta without the Hamiltonian; send back for each whether its posterior had collapsed.

    beta rises, each stage from the one before, until two in a row have collapsed.  Each of ``refine`` halvings (in
    ln beta) of the bracket of beta_c then continues the last model below it.
    """
    seen: dict[float, tuple[int, bool]] = {}
    for beta in betas:
        fallen = yield Stage(beta, 0.0, len(seen) - 1 if seen else None)
        seen[beta] = (len(seen), fallen)
        if [fallen for _, fallen in seen.values()][-2:] == [True, True]:
            break
    for _ in range(refine):
        gap = bracket(list(seen), [fallen for _, fallen in seen.values()])
        if gap is None:
            return
        middle = float(f"{gap.critical:.4g}")
        fallen = yield Stage(middle, 0.0, seen[gap.lower][0])
        seen[middle] = (len(seen), fallen)


def _meeting(diverse: Sequence[Outcome], collapsed: Sequence[Outcome]) -> float:
    r"""gamma where the lower envelopes of two sets of lines level + gamma energy are equal, see :func:`crossing`."""
    if not diverse or not collapsed:
        return math.nan
    lines = [np.array([(model.level, model.energy) for model in branch]) for branch in (diverse, collapsed)]
    if lines[1][:, 0].min() <= lines[0][:, 0].min():
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = (lines[1][:, None] - lines[0]).reshape(-1, 2)
        meetings = -apart[:, 0] / apart[:, 1]
    for gamma in np.sort(meetings[np.isfinite(meetings) & (meetings > 0)]):
        losses = [(branch @ (1.0, gamma)).min() for branch in lines]
        if math.isclose(*losses, rel_tol=1e-9, abs_tol=1e-12):
            return float(gamma)
    return math.nan


def crossing(stages: pd.DataFrame, others: pd.DataFrame | None = None) -> float:
    r"""gamma_x, where the losses of the diverse and of the collapsed branch are equal.

    The loss of a model is a line in gamma and bounds the loss of its branch from above,

    .. math:: L(\gamma) = L_{RC} + \beta L_{KL} + \gamma L_H,

    see :class:`Outcome`.  A branch is taken as the lower envelope of the lines of its models.  Models whose posterior
    has collapsed belong to neither.

    Args:
        stages: at one beta, with the columns of :func:`outcome`.
        others: further stages whose collapsed models count: of other seeds, which may have found a lower state.

    Returns:
        gamma_x; 0 where the collapsed branch is the lower one without the Hamiltonian; NaN unless both branches have a
        model and cross, and of a system whose loss does not hold the energy.
    """
    if "validation_energy" not in stages:
        return math.nan
    own = [outcome(row) for row in stages.to_dict("records")]
    every = own if others is None else [outcome(row) for row in others.to_dict("records")]
    diverse = [model for model in own if model.regime not in ("posterior collapse", "hamiltonian collapse")]
    return _meeting(diverse, [model for model in every if model.collapsed])


def outcome(figures: Mapping[Hashable, Any]) -> Outcome:
    """Of a model with its beta, its regime and the figures validation_reconstruction, validation_kl, validation_energy,
    prior_reconstruction and energy_mean.  Older cards have no prior_reconstruction; the held-out one stands for it.
    """
    if figures["regime"] == "hamiltonian collapse":
        level = figures.get("prior_reconstruction", math.nan)
        level = figures["validation_reconstruction"] if math.isnan(level) else level
        return Outcome(figures["regime"], level, figures["energy_mean"])
    level = figures["validation_reconstruction"] + figures["beta"] * figures["validation_kl"]
    return Outcome(figures["regime"], level, figures["validation_energy"])


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
    "gamma_crossing",
    "gamma_up",
    "gamma_up_lower",
    "gamma_up_upper",
    "gamma_down",
    "gamma_down_lower",
    "gamma_down_upper",
    "gamma_cold",
    "mse_fall_in_a_decade",
    "collapsed_energy",
)


def threshold(stages: pd.DataFrame) -> dict[str, float]:
    """gamma_x, the spinodals with their brackets, the fall of the k-space MSE, and the energy of the collapsed state.

    gamma_up is where a scan upward falls, gamma_down where one downward comes back, gamma_cold where trainings from
    random weights begin to fall.  They depend on the steps of a stage; gamma_x should not.

    Args:
        stages: at one beta, with the columns gamma, regime, kspace_mse, energy_mean and those of :func:`directions`
            and :func:`crossing`.

    Returns:
        The figures :data:`THRESHOLD`, NaN where there is no collapse.  A lower end of zero says that already the
        smallest gamma collapsed the model, or that none brought it back.
    """
    fallen = stages["regime"] == "hamiltonian collapse"
    stages = stages.assign(fallen=fallen, direction=directions(stages)).sort_values("gamma", kind="stable")
    up, down, cold = (_transition(stages, direction) for direction in ("up", "down", "cold"))
    energy = float(stages["energy_mean"][stages["fallen"]].min()) if fallen.any() else math.nan
    fall = _fall_in_a_decade(stages[stages["direction"] == "up"])
    found = (up.critical, *up, down.critical, *down, cold.critical, fall, energy)
    return dict(zip(THRESHOLD, (crossing(stages), *found), strict=True))


def directions(stages: pd.DataFrame) -> list[Direction]:
    """How gamma came to each stage: up from a diverse model, along from a collapsed one, down from it, or cold.

    "collapsed" says nothing of where models fall: one continued from a collapsed model at a higher gamma.  "cold" is
    from random weights.

    Args:
        stages: with the columns gamma, regime, model and parent, the model that a stage continues.
    """
    rows = stages.to_dict("records")
    known = {row["model"]: row for row in rows}
    found: list[Direction] = []
    for row in rows:
        before = known.get(row["parent"])
        if before is not None and before["regime"] == "hamiltonian collapse":
            found.append("down" if before["gamma"] > row["gamma"] else "collapsed")
        else:
            found.append("cold" if before is None and row["gamma"] > 0 else "up")
    return found


def _transition(stages: pd.DataFrame, direction: Direction) -> Bracket:
    """Where the models of a direction are no longer of the branch that they started on."""
    part = stages[stages["direction"] == direction]
    if direction == "down" and len(part):
        still = part["gamma"][part["fallen"]].to_numpy()
        back = part["gamma"][~part["fallen"]].to_numpy()
        top = still.min() if len(still) else stages["gamma"][stages["fallen"]].max()
        return Bracket(float(back[back < top].max(initial=0.0)), float(top))
    known = part["gamma"].tolist(), part["fallen"].tolist()
    if direction == "cold" and len(part):
        known = [0.0, *known[0]], [False, *known[1]]
    return bracket(*known) or NO_BRACKET


def _fall_in_a_decade(stages: pd.DataFrame) -> float:
    gammas, mse = stages["gamma"].to_numpy(), stages["kspace_mse"].to_numpy()
    ratios = [
        mse[i] / max(mse[j], 1e-12)
        for i in range(len(gammas))
        for j in range(i + 1, len(gammas))
        if gammas[i] > 0 and gammas[j] <= 10.0001 * gammas[i]
    ]
    return float(max(ratios, default=1.0))
