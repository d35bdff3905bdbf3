"""The collapse scan of the E-VAE (2021) as a trial program, and its figures."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from nets.collapse import COLLAPSED, THRESHOLD, interval, scan, scan_length, threshold
from orchestrator.page import Section
from orchestrator.sweeps.program import Card, Finished, Mode, TrialProgram
from orchestrator.training.request import TrainConfig
from physics.registry import shown
from physics.render import figure_of, strips_figure


class CollapseScan(TrialProgram):
    """beta by decades from ``beta_start`` to the system's beta, then gamma along ``gammas``, each from the one before.

    Every stage is a training of the request's ``steps``; weights go on from the stage before, Adam's moments anew.

    Attributes:
        warmup_steps: steps of the first stage, from random weights.
        refine: halvings of the bracket of gamma_c, each a stage of its own.
    """

    name: Literal["collapse"] = "collapse"
    beta_start: PositiveFloat = 1e-6
    gammas: Annotated[tuple[NonNegativeFloat, ...], Field(max_length=1000)] = (
        1,
        10,
        30,
        100,
        300,
        1000,
        3000,
        1e4,
        3e4,
        1e5,
    )
    refine: Annotated[int, Field(ge=0, le=100)] = 2
    warmup_steps: Annotated[int, Field(gt=0, le=10**9)] = 1000

    @model_validator(mode="after")
    def _rising(self) -> CollapseScan:
        if not self.gammas or any(a >= b for a, b in itertools.pairwise(self.gammas)):
            raise ValueError(f"gammas: expected rising values, at least one, found {shown(list(self.gammas))}")
        return self

    def check(self, training: TrainConfig) -> None:
        fields = type(training.system).model_fields
        for weight in ("beta", "gamma"):
            if weight not in fields:
                raise ValueError(f"trial collapse: expected a system with a {weight}, found {training.system.name}")
        beta, ramp = training.system.beta, getattr(training.system, "beta_ramp", 0.0)  # type: ignore[attr-defined]
        if ramp:
            raise ValueError(f"system.beta_ramp: expected 0, as the scan raises beta, found {ramp:g}")
        if beta < self.beta_start:
            raise ValueError(f"system.beta: expected at least trial.beta_start = {self.beta_start:g}, found {beta:g}")

    def trainings(self, training: TrainConfig) -> Generator[TrainConfig, Card, None]:
        chain = scan(training.system.beta, self.beta_start, self.gammas, self.refine)  # type: ignore[attr-defined]
        names: list[str] = []
        stage = next(chain)
        while True:
            system = training.system.model_copy(update={"beta": stage.beta, "gamma": stage.gamma})
            parent = training.parent if stage.parent is None else names[stage.parent]
            steps = self.warmup_steps if stage.parent is None else training.steps
            made = training.model_copy(update={"system": system, "parent": parent, "steps": steps})
            card = yield made
            names.append(made.name)
            try:
                stage = chain.send(collapsed(card))
            except StopIteration:
                return

    def length(self, training: TrainConfig) -> int:
        return scan_length(training.system.beta, self.beta_start, self.gammas, self.refine)  # type: ignore[attr-defined]

    def max_steps(self, training: TrainConfig) -> int:
        return self.warmup_steps + (self.length(training) - 1) * training.steps

    def metric(self, training: TrainConfig) -> tuple[str, Mode]:
        return "gamma_c", "min"

    def reported(self, training: TrainConfig) -> list[str]:
        return ["beta", *THRESHOLD]

    def report(self, stages: pd.DataFrame) -> dict[str, float]:
        """The figures of :func:`nets.collapse.threshold` at the final beta."""
        beta = float(stages["beta"].iloc[-1])
        return {"beta": beta, **threshold(stages[stages["beta"] == beta])}

    def pooled(self, summary: pd.DataFrame) -> pd.DataFrame:
        """gamma_x and gamma_c with their intervals over the seeds, see :func:`nets.collapse.interval`."""
        keys = [key for key in summary if key not in ("trial", "seed", "beta", *THRESHOLD)] or ["beta"]
        rows = []
        for point, part in summary.groupby(keys, sort=False):
            row = {**dict(zip(keys, point, strict=True)), "seeds": len(part)}
            for figure in ("gamma_crossing", "gamma_c"):
                names = (figure, f"{figure}_low", f"{figure}_high")
                row |= dict(zip(names, interval(part[figure].tolist()), strict=True))
            rows.append(row)
        return pd.DataFrame(rows)

    def columns(self, card: Card) -> dict[str, Any]:
        weights = card["config"]["model"]
        return {"beta": weights["beta"], "gamma": weights["gamma"], "collapsed": collapsed(card)}

    def sections(self, finished: Finished) -> list[Section]:
        return [
            Section("Seeds together", "Geometric means and their 95 % intervals.", rows=finished.pooled),
            Section(
                "Losses and collapse",
                "Left, against beta on the way up; right, against gamma at the final beta. Dashed: the data. "
                "Solid: generated from the prior or the validation set; dotted: training. Vertical: gamma_crossing, "
                "where the losses of the diverse and the collapsed models are equal.",
                _curves(finished),
                "curves.png",
            ),
            Section(
                "Generated states", "Decoded from the same codes all along a chain.", _states(finished), "states.png"
            ),
        ]


def collapsed(card: Card) -> bool:
    """Whether a model makes one state whatever its code."""
    return card["figures"]["diversity"] < COLLAPSED


ROWS = [
    ("validation_reconstruction", "train_reconstruction", "L_RC"),
    ("validation_kl", "train_kl", "L_KL"),
    ("energy_mean", "train_energy", "energy per spin"),
    ("kspace_mse", None, "k-space MSE"),
]


def _curves(finished: Finished) -> Figure:
    """Figures 2 and 5 of the E-VAE paper."""
    figure, axes = figure_of(4, 2, (10, 12), sharex="col", sharey="row")
    for _, chain in finished.stages.groupby("trial"):
        color = f"C{int(chain['trial'].iloc[0]) % 10}"
        beta = chain.sort_values("order")["beta"].iloc[-1]
        label = f"beta {beta:g}, seed {chain['seed'].iloc[0]}"
        upward = chain[chain["gamma"] == 0].sort_values("beta")
        final = chain[(chain["beta"] == beta) & (chain["gamma"] > 0)].sort_values("gamma")
        for (key, training, _), pair in zip(ROWS, axes, strict=True):
            for axis, x, part in ((pair[0], "beta", upward), (pair[1], "gamma", final)):
                axis.plot(part[x], part[key], "o-", color=color, ms=4, label=label)
                if training in part:
                    axis.plot(part[x], part[training], ":", color=color)
        crossing = finished.summary.set_index("trial")["gamma_crossing"][chain["trial"].iloc[0]]
        if crossing > 0:
            for axis in axes[:, 1]:
                axis.axvline(crossing, color=color, lw=1, ls="-.")
    for (key, _, label), pair in zip(ROWS, axes, strict=True):
        pair[0].set_ylabel(label)
        for axis in pair:
            axis.set_xscale("log")
            axis.grid(alpha=0.3)
            for data in finished.data.values():
                if key in data:
                    axis.axhline(data[key], color="k", ls="--", lw=1)
    axes[1, 0].set_yscale("log")
    axes[3, 0].set_yscale("log")
    axes[3, 0].set_xlabel("beta")
    axes[3, 1].set_xlabel("gamma")
    axes[0, 1].legend(fontsize="small")
    return figure


def _states(finished: Finished) -> Figure:
    rows: list[tuple[str, np.ndarray | None]] = []
    for number, chain in finished.stages.groupby("trial"):
        rows.append((f"trial {number}, seed {chain['seed'].iloc[0]}", None))
        for row in chain.sort_values(["beta", "gamma"]).itertuples():
            label = f"β {row.beta:g}\nγ {row.gamma:g}\nε {row.energy_mean:.4f}"
            rows.append((label, finished.pictures[str(row.model)]))
    return strips_figure(rows, finished.model)
