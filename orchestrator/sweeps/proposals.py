"""The points of a sweep, a batch at a time: all of a finite space, or what one of Optuna's samplers proposes.

The trials of a batch are told together and in their order, and a pruner holds a trial against those of earlier batches
alone.  So what is proposed and what is pruned does not depend on which trial ends first.
"""

from __future__ import annotations

import contextlib
import copy
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial as OptunaTrial
from optuna.trial import TrialState

from orchestrator.sweeps.boundary import BoundarySampler
from orchestrator.sweeps.request import Mode, SweepConfig
from search.space import Range

SAMPLERS = {
    "qmc": partial(optuna.samplers.QMCSampler, warn_independent_sampling=False),
    "random": optuna.samplers.RandomSampler,
    "tpe": optuna.samplers.TPESampler,
    "gp": partial(optuna.samplers.GPSampler, warn_independent_sampling=False),
    "cmaes": partial(optuna.samplers.CmaEsSampler, warn_independent_sampling=False),
}

PRUNERS = {
    "none": lambda length: optuna.pruners.NopPruner(),
    "asha": lambda length: optuna.pruners.SuccessiveHalvingPruner(),
    "hyperband": lambda length: optuna.pruners.HyperbandPruner(max_resource=length),
    "median": lambda length: optuna.pruners.MedianPruner(),
}

RANGES = {
    "uniform": FloatDistribution,
    "log_uniform": partial(FloatDistribution, log=True),
    "integer": IntDistribution,
}


@dataclass
class _Open:
    """A trial of the batch that runs.

    Attributes:
        apart: the trial in a copy of the study of its own, where its pruner sees nothing of the others of the batch.
        reports: the metric by the number of trainings behind it.
        state: how it ended, with ``values``.
    """

    trial: OptunaTrial
    apart: OptunaTrial | None = None
    reports: dict[int, float] = field(default_factory=dict)
    state: TrialState = TrialState.RUNNING
    values: list[float] | None = None


class Proposals:
    """What the trials of a sweep are, one after another.

    Attributes:
        total: how many trials there are.
        batch: how many are asked for together.
    """

    def __init__(self, config: SweepConfig):
        self.config, self.points = config, config.points()
        finite = self.points is not None
        self.total = config.seeds * len(self.points) if self.points is not None else config.trials or 0
        self.batch = self.total if finite and config.pruner == "none" else min(config.proposed, self.total)
        number = IntDistribution(0, self.total - 1) if finite else CategoricalDistribution(list(range(config.seeds)))
        self.space = {} if finite else config.space
        self.distributions = {**{key: distribution(values) for key, values in self.space.items()}, "number": number}
        self.study = self._study()
        self._asked = 0
        self._waiting: list[OptunaTrial] = []
        self._open: dict[int, _Open] = {}

    def _study(self) -> optuna.Study:
        config = self.config
        with quiet():
            return optuna.create_study(
                study_name=config.name,  # from which Hyperband takes the bracket of a trial
                sampler=self._sampler(),
                pruner=PRUNERS[config.pruner](config.trial.length(config)),
                directions=["minimize" if mode == "min" else "maximize" for mode in config.objectives.values()],
            )

    def _sampler(self) -> optuna.samplers.BaseSampler:
        config = self.config
        if config.level is not None:
            return BoundarySampler(config.space, self.distributions, config.level, config.seed)
        return SAMPLERS[config.search](seed=config.seed)

    def ask(self) -> tuple[int, dict[str, Any]] | None:
        """Number and parameters of the next trial; None while the rest of a batch is waited for, and at the end."""
        if not self._waiting and not self._open:
            for _ in range(min(self.batch, self.total - self._asked)):
                if self.points is not None:
                    self.study.enqueue_trial({"number": self._asked})
                with quiet():
                    self._waiting.append(self._drawn())
                self._asked += 1
        if not self._waiting:
            return None
        trial = self._waiting.pop(0)
        self._open[trial.number] = _Open(trial)
        return trial.number, trial.params

    def _drawn(self) -> OptunaTrial:
        """A trial of the study with a value of each key that varies at its point, and the number of its seed."""
        trial = self.study.ask()
        for key, kind in self.distributions.items():
            if key not in self.space or self.space[key].applies(trial.params):
                _suggest(trial, key, kind)
        return trial

    def prune(self, number: int, step: int, value: float) -> bool:
        """Whether a trial is to end, now that its metric is known after ``step`` trainings; NaN says nothing."""
        one = self._open[number]
        if math.isnan(value):
            return False
        if one.apart is None:
            one.apart = copy.deepcopy(one.trial)
        one.reports[step] = value
        one.apart.report(value, step)
        return one.apart.should_prune()

    def tell(self, number: int, values: list[float] | None, pruned: bool = False) -> None:
        """The metrics of a trial that ended, of which NaN counts as the worst; None if it failed."""
        one = self._open[number]
        one.values = values
        one.state = TrialState.FAIL if values is None else TrialState.PRUNED if pruned else TrialState.COMPLETE
        if self._waiting or any(other.state == TrialState.RUNNING for other in self._open.values()):
            return
        for _, ended in sorted(self._open.items()):
            self._tell(ended)
        self._open = {}

    def _tell(self, one: _Open) -> None:
        for step, value in one.reports.items():
            one.trial.report(value, step)
            one.trial.should_prune()  # notes the rung that the trial has reached
        values = None
        if one.state == TrialState.COMPLETE and one.values is not None:
            modes = self.config.objectives.values()
            values = [worst(mode) if math.isnan(v) else v for v, mode in zip(one.values, modes, strict=True)]
        self.study.tell(one.trial, values, one.state)


def _suggest(trial: OptunaTrial, key: str, kind: BaseDistribution) -> None:
    if isinstance(kind, CategoricalDistribution):
        trial.suggest_categorical(key, kind.choices)
    elif isinstance(kind, IntDistribution):
        trial.suggest_int(key, kind.low, kind.high)
    elif isinstance(kind, FloatDistribution):
        trial.suggest_float(key, kind.low, kind.high, log=kind.log)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what Optuna says of samplers that are experimental, of packages that would be faster, of infinities."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def worst(mode: Mode) -> float:
    """What Optuna is told of a figure that is not known."""
    return math.inf if mode == "min" else -math.inf


def distribution(values: Range) -> BaseDistribution:
    """What Optuna takes the values of a key from."""
    if values.values is not None:
        return CategoricalDistribution(values.values)
    kind = next(name for name in RANGES if getattr(values, name) is not None)
    return RANGES[kind](*getattr(values, kind))
