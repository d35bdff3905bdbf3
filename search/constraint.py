"""What the states that a search looks for must fulfil: an observable below, above or at a value."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from physics.model import SpinModel
from physics.registry import cut, nearest
from search.objectives import Objective, checked_value

STIFFNESS = 10.0  # standard deviations of the objective that one of a constraint's observable outweighs
MARGIN = 0.02  # of a standard deviation: how far inside of an inequality the penalty ends
DATA = "data"  # as a bound: the worst value of the data
FORM = re.compile(r"\s*(\w+)\s*(<=|>=|==|<|>|=)\s*(\S+)\s*")


class Constraint(NamedTuple):
    """An observable, or the number of defects, of a state.

    Attributes:
        relation: "<", ">" or "=".
        bound: in the observable's unit; None for the worst value of the data.
    """

    name: str
    relation: str
    bound: float | None

    def __str__(self) -> str:
        return f"{self.name} {self.relation} {DATA if self.bound is None else format(self.bound, '.7g')}"


ENERGY_OF_DATA = Constraint("energy", "<", None)


def parse_constraint(text: str) -> Constraint:
    """Such as "nodal_points = 0", "energy < -0.040" or "energy < data"; ``<=`` and ``>=`` are as ``<`` and ``>``.

    "energy < inf" is never broken: no limit of the energy.

    Raises:
        ValueError: it is not of that form.
    """
    found = FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"expected OBSERVABLE < NUMBER, > or =, found {cut(text)!r}")
    name, relation, bound = found.groups()
    try:
        value = None if bound == DATA and relation[0] != "=" else float(bound)
    except ValueError:
        value = math.nan
    never_broken = {"<": math.inf, ">": -math.inf}.get(relation[0])
    if value is not None and not math.isfinite(value) and value != never_broken:
        raise ValueError(f"{cut(text)}: expected a number or data (with < or >), found {cut(bound)!r}")
    return Constraint(name, relation[0], value)


def check_constraint(constraint: Constraint, model: SpinModel) -> None:
    """Raise ValueError unless configurations of the model have such an observable."""
    known = dict.fromkeys([*model.observables, model.defect_column])
    if constraint.name not in known:
        raise ValueError(
            f"subject_to: expected one of {', '.join(known)}, found {constraint.name!r}"
            f"{nearest(constraint.name, known, listed=False)}"
        )


def spread_of(values: pd.Series) -> float:
    """Their standard deviation; 1 of values that are all the same or no numbers."""
    spread = float(values.std())
    return spread if spread > 0 else 1.0


class Limit(NamedTuple):
    """A constraint in numbers, with the standard deviation of its observable in the data."""

    constraint: Constraint
    bound: float
    scale: float

    @classmethod
    def of(cls, constraint: Constraint, data: Mapping[str, pd.Series]) -> Limit:
        """By the observables of the data."""
        values = data[constraint.name]
        worst = values.max() if constraint.relation == "<" else values.min()
        bound = float(worst) if constraint.bound is None else constraint.bound
        return cls(constraint, bound, spread_of(values))

    def violation(self, spins: Tensor, model: SpinModel, margin: float = 0.0) -> Tensor:
        """By how many standard deviations states ``(B, components, L, L)`` break it, ``(B,)``; 0 of those that do not.

        Args:
            margin: inside of an inequality, in standard deviations.
        """
        name, relation, _ = self.constraint
        defects = name == model.defect_column
        values = model.count_defects(spins).to(spins) if defects else model.observables[name].measure(spins)
        beyond = (values - self.bound) / self.scale
        if relation == "=":
            return beyond.abs()
        return ((beyond if relation == "<" else -beyond) + margin).clamp(min=0)

    def __str__(self) -> str:
        return f"{self.constraint.name} {self.constraint.relation} {self.bound:.5g}"


class Penalised(NamedTuple):
    """An objective whose score falls where limits are broken.

    Its maximum lies within them unless the objective gains more than 10 of its spreads for one of the limited
    observable's; what is kept as found has to keep them in any case, see :func:`search.winner.candidates`.

    Attributes:
        spread: standard deviation of the objective in the data.
    """

    objective: Objective
    limits: Sequence[Limit]
    spread: float

    @classmethod
    def of(
        cls,
        objective: Objective,
        constraints: Sequence[Constraint],
        data: Mapping[str, pd.Series],
        values: pd.Series,
    ) -> Penalised:
        """By the observables of the data, and the values of the objective."""
        return cls(objective, [Limit.of(constraint, data) for constraint in constraints], spread_of(values))

    def score(self, spins: Tensor, model: SpinModel) -> Tensor:
        """Score minus 10 spreads for each standard deviation of a violation, ``(B,)``."""
        score = self.objective.sign * checked_value(self.objective, spins, model)
        for limit in self.limits:
            margin = 0.0 if limit.constraint.relation == "=" else MARGIN
            score = score - STIFFNESS * self.spread * limit.violation(spins, model, margin)
        return score

    def broken(self, spins: Tensor, model: SpinModel) -> Tensor:
        """Whether a state breaks a limit, or has no number there, bool ``(B,)``."""
        violations = [~(limit.violation(spins, model) <= 1e-6) for limit in self.limits]
        return torch.stack(violations).any(0) if violations else torch.zeros(len(spins), dtype=torch.bool)
