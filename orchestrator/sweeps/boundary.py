"""An Optuna sampler that looks for where a figure crosses a level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import qmc

from search.level_set import Surface, from_level, next_point
from search.space import Range

FIRST = 8  # points that are spread evenly, before any are proposed


class BoundarySampler(optuna.samplers.BaseSampler):
    """Points where the straddle of a Gaussian process is large, see :mod:`search.level_set`.

    The first :data:`FIRST` are a Sobol sequence.  Trials that still run, and those that ended without a value, count as
    if they had the value that is expected of them, so the others keep away from them.

    Args:
        space: by name, the parameters; those that are a range of numbers are searched.
        distributions: what Optuna knows them as.
    """

    def __init__(
        self, space: Mapping[str, Range], distributions: Mapping[str, BaseDistribution], level: float, seed: int
    ):
        self.space = {key: values for key, values in space.items() if values.bounds}
        self.distributions = {key: distributions[key] for key in self.space}
        self.level, self.seed = level, seed
        self.others = optuna.samplers.RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.distributions

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Any) -> dict[str, Any]:
        known = [
            (self._place(other), other.value)
            for other in study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
            if np.isfinite(other.value)
        ]
        if trial.number < FIRST or len(known) < 2:
            place = self._spread(trial.number)
        else:
            points, values = map(np.array, zip(*known, strict=True))
            unknown = [
                self._place(other)
                for other in study.get_trials(deepcopy=False)
                if other.number != trial.number and (other.value is None or not np.isfinite(other.value))
            ]
            surface = Surface(points, from_level(values, self.level))
            place = next_point(surface.believing(np.array(unknown)), np.random.default_rng([self.seed, trial.number]))
        return {key: values.from_unit(u) for (key, values), u in zip(self.space.items(), place.tolist(), strict=True)}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.others.sample_independent(study, trial, param_name, param_distribution)

    def _place(self, trial: FrozenTrial) -> list[float]:
        return [values.to_unit(trial.params[key]) for key, values in self.space.items()]

    def _spread(self, number: int) -> np.ndarray:
        return qmc.Sobol(len(self.space), rng=self.seed).random(FIRST)[number % FIRST]
