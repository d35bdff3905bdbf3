"""What the trials of a sweep have made: a row for each training, a row for each trial."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from optuna.trial import TrialState

from orchestrator.store import Store
from orchestrator.sweeps.request import SweepConfig
from orchestrator.sweeps.study import Told
from orchestrator.sweeps.trials import measured, table
from orchestrator.sweeps.tuning import Outcome
from orchestrator.training.trained import model_card
from search.front import on_front

STATES = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "ended": TrialState.FAIL}


class Tables:
    """The tables of a sweep.

    Attributes:
        stages: a row a training.
        summary: a row a trial that has finished a training; whether it was pruned, if there is a pruner, and whether it
            is on the front, if there are several metrics.
        pooled: a row a point, see :meth:`TrialProgram.pooled`.
        told: every trial, in the order of the summary, those without a training last.
    """

    def __init__(self, config: SweepConfig, store: Store, outcomes: list[Outcome]):
        self.told: list[Told] = []
        parts: list[pd.DataFrame] = []
        rows: list[dict[str, Any]] = []
        for number, (trial, names, state, cause) in enumerate(sorted(outcomes, key=lambda one: not one.models)):
            made = [(name, model_card(name, store)) for name in names]
            frame = table(trial, made)
            values = [measured(trial, frame[:count], config) for count in range(1, len(made) + 1)]
            about = {
                "trial": number,
                "seed": trial.training.seed,
                "models": names,
                **({"cause": cause} if cause else {}),
            }
            self.told.append(Told(trial.point, values, STATES[state], about, [card for _, card in made]))
            if made:
                parts.append(frame.assign(trial=number))
                rows.append({"trial": number, **trial.point, **trial.program.report(frame)})
        self.stages = pd.concat(parts, ignore_index=True)
        self.stages.insert(0, "trial", self.stages.pop("trial"))
        self.summary = pd.DataFrame(rows)
        self.pooled = config.trial.pooled(self.summary, self.stages)
        if config.pruner != "none":
            self.summary["pruned"] = [one.state == TrialState.PRUNED for one in self.told[: len(rows)]]
        if len(config.objectives) > 1:
            signs = [1 if mode == "min" else -1 for mode in config.objectives.values()]
            self.summary["front"] = on_front(self.summary[list(config.objectives)].to_numpy(float) * signs)

    def best(self, config: SweepConfig) -> dict[str, Any]:
        """The row of the best trial: of those that were not pruned, and on the front if there is one."""
        metric, mode = config.objective
        rows = self.summary
        for column, wanted in (("pruned", False), ("front", True)):
            if column in rows and (rows[column] == wanted).any():
                rows = rows[rows[column] == wanted]
        ordered = rows.sort_values(metric, ascending=mode == "min", na_position="last")
        return records(ordered)[0]


def records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as a card holds them."""
    return rows.replace({np.nan: None}).to_dict("records")  # type: ignore[return-value]
