"""The Optuna study of a sweep, a file that ``optuna-dashboard`` opens."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from orchestrator.sweeps.program import Mode
from orchestrator.sweeps.proposals import distribution, quiet
from search.space import Range

FILE = "optuna.db"


@dataclass(frozen=True)
class Told:
    """What a study holds of a trial.

    Attributes:
        point: the values of the keys that were swept.
        values: the metrics after each training; NaN where they are not known.
        state: one that is COMPLETE without its metrics is kept as FAIL, as Optuna does.
        about: whatever else is known of it.
        cards: of its trainings, which say when they were made.
    """

    point: Mapping[str, Any]
    values: list[list[float]]
    state: TrialState
    about: Mapping[str, Any] = field(default_factory=dict)
    cards: list[dict[str, Any]] = field(default_factory=list)


def study_file(name: str, space: Mapping[str, Range], objectives: Mapping[str, Mode], told: Iterable[Told]) -> bytes:
    """An SQLite file with the one study ``name``, its trials in the order given."""
    told = list(told)
    found = {key: [one.point[key] for one in told if key in one.point] for key in space}
    distributions = {key: _distribution(values, found[key]) for key, values in space.items() if found[key]}
    with quiet(), tempfile.TemporaryDirectory(prefix="orch-study-") as folder:
        storage = optuna.storages.RDBStorage(f"sqlite:///{folder}/{FILE}")
        directions = ["minimize" if mode == "min" else "maximize" for mode in objectives.values()]
        study = optuna.create_study(storage=storage, study_name=name, directions=directions)
        study.set_metric_names(list(objectives))
        study.add_trials([_frozen(one, distributions) for one in told])
        storage.remove_session()
        storage.engine.dispose()
        return Path(folder, FILE).read_bytes()


def _frozen(one: Told, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    last = one.values[-1] if one.values else [math.nan]
    known = not any(map(math.isnan, last))
    state = TrialState.FAIL if one.state == TrialState.COMPLETE and not known else one.state
    single = len(last) == 1
    reports = {step: values[0] for step, values in enumerate(one.values, 1) if single and not math.isnan(values[0])}
    begun, ended = _times(one.cards)
    varied = {key: kind for key, kind in distributions.items() if key in one.point}
    frozen = optuna.create_trial(
        state=state,
        values=last if state == TrialState.COMPLETE else None,
        params={key: _plain(one.point[key]) for key in varied},
        distributions=varied,
        intermediate_values=reports,
        user_attrs=dict(one.about),
    )
    frozen.datetime_start, frozen.datetime_complete = begun or frozen.datetime_start, ended or frozen.datetime_complete
    return frozen


def _times(cards: list[dict[str, Any]]) -> tuple[datetime | None, datetime | None]:
    """When the first training began and the last one ended, as far as their cards say so."""
    ends = [datetime.fromisoformat(card["created"]) for card in cards if "created" in card]
    if not ends:
        return None, None
    begins = [end - timedelta(seconds=card.get("seconds", 0)) for end, card in zip(ends, cards, strict=False)]
    return (moment.astimezone().replace(tzinfo=None) for moment in (min(begins), max(ends)))  # type: ignore[return-value]


def _distribution(values: Range, found: list[Any]) -> BaseDistribution:
    """Of a range of numbers its own; of a choice, the values that trials had."""
    if values.bounds:
        return distribution(values)
    return CategoricalDistribution(list(dict.fromkeys(map(_plain, found))))


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str | None) else str(value)
