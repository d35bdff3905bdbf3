"""The collapse scan of the E-VAE (2021) as a trial program, and its figures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from nets.collapse import (
    DATA_DEVIATIONS,
    THRESHOLD,
    Outcome,
    Regime,
    crossing,
    directions,
    interval,
    outcome,
    regime,
    scan,
    scan_length,
    threshold,
)
from orchestrator.html import figure_text
from orchestrator.page import Section
from orchestrator.sweeps.program import Card, Finished, Mode, TrialProgram
from orchestrator.training.request import TrainConfig
from physics.registry import shown
from physics.render import colors_text, figure_of, strips_figure


class CollapseScan(TrialProgram):
    """beta by decades from ``beta_start`` to the system's beta, then gamma along ``gammas``, each from the one before.

    Every stage is a training of at most the request's ``steps``; weights go on from the stage before, Adam's moments
    anew.  See :func:`nets.collapse.scan`.

    Attributes:
        warmup_steps: of a stage from random weights.
        rate: learning rate of the stages at gamma_x, the system's if None; a large one heats a model, since gamma makes
            the loss steep, and throws it off its branch.
        refine: stages at most that are spent on gamma_x, where the losses of both branches cross.
        tolerance: of gamma_x, in ln gamma.
        down: whether gamma then falls again, from the collapsed model until it comes back: the hysteresis loop.
        cold: whether a model then starts from random weights at each gamma.
    """

    recipe_version: ClassVar[int] = 2
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
    refine: Annotated[int, Field(ge=0, le=100)] = 4
    tolerance: PositiveFloat = 0.1
    down: bool = False
    cold: bool = False
    warmup_steps: Annotated[int, Field(gt=0, le=10**9)] = 1000
    rate: PositiveFloat | None = None

    @model_validator(mode="after")
    def _rising(self) -> CollapseScan:
        if not self.gammas or any(a >= b for a, b in itertools.pairwise(self.gammas)):
            raise ValueError(f"gammas: expected rising values, at least one, found {shown(list(self.gammas))}")
        return self

    def check(self, training: TrainConfig) -> None:
        check_variational(training, self.name, "beta", "gamma")
        beta = training.system.beta  # type: ignore[attr-defined]
        if beta < self.beta_start:
            raise ValueError(f"system.beta: expected at least trial.beta_start = {self.beta_start:g}, found {beta:g}")

    def trainings(self, training: TrainConfig) -> Generator[TrainConfig, Card, None]:
        beta = training.system.beta  # type: ignore[attr-defined]
        chain = scan(beta, self.beta_start, self.gammas, self.refine, self.tolerance, self.down, self.cold)
        names: list[str] = []
        stage = next(chain)
        while True:
            weights = {"beta": stage.beta, "gamma": stage.gamma}
            if stage.parent is None:
                made = stage_training(training, weights, None, self.warmup_steps)
            else:
                if stage.slow:
                    weights["learning_rate"] = self.rate or training.system.learning_rate
                made = stage_training(training, weights, names[stage.parent], training.steps)
            card = yield made
            names.append(made.name)
            try:
                stage = chain.send(outcome_of(card))
            except StopIteration:
                return

    def length(self, training: TrainConfig) -> int:
        beta = training.system.beta  # type: ignore[attr-defined]
        return scan_length(beta, self.beta_start, self.gammas, self.refine, self.down, self.cold)

    def max_steps(self, training: TrainConfig) -> int:
        from_random_weights = 1 + self.cold * sum(gamma > 0 for gamma in self.gammas)
        others = self.length(training) - from_random_weights
        return self.warmup_steps * from_random_weights + training.steps * others

    def metric(self, training: TrainConfig) -> tuple[str, Mode]:
        return "gamma_crossing", "min"

    def reported(self, training: TrainConfig) -> list[str]:
        return ["beta", *THRESHOLD]

    def report(self, stages: pd.DataFrame) -> dict[str, float]:
        """The figures of :func:`nets.collapse.threshold` at the final beta."""
        beta = float(stages["beta"].max())
        return {"beta": beta, **threshold(stages[stages["beta"] == beta])}

    def pooled(self, summary: pd.DataFrame, stages: pd.DataFrame) -> pd.DataFrame:
        """gamma_x and the spinodals with their intervals over the seeds, see :func:`nets.collapse.interval`.

        gamma_x of each seed is here where its diverse branch meets the collapsed branch of all seeds of its point: some
        collapse onto a metastable state, whose own line meets the diverse branch too late.
        """
        final = stages[stages["beta"] == stages["trial"].map(summary.set_index("trial")["beta"])]
        common: dict[Any, float] = {}
        for _, part in _by_point(summary, _point_keys(summary, ("beta", *THRESHOLD))):
            reached = part["trial"][part["beta"] == part["beta"].max()]  # one that ended early did not reach it
            seeds = final[final["trial"].isin(reached)]
            common |= {trial: crossing(chain, seeds) for trial, chain in seeds.groupby("trial")}
        summary = summary.assign(gamma_crossing=summary["trial"].map(common))
        return pooled(summary, ("gamma_crossing", "gamma_up", "gamma_down", "gamma_cold"), ("beta", *THRESHOLD))

    def columns(self, card: Card) -> dict[str, Any]:
        weights = card["config"]["model"]
        parent = card["config"].get("parent")
        rate = weights["learning_rate"]
        return {
            **{key: weights[key] for key in ("beta", "gamma")},
            "rate": rate,
            "regime": regime_of(card["figures"]),
            "parent": parent,
        }

    def sections(self, finished: Finished) -> list[Section]:
        return [
            Section("Seeds together", f"{SEEDS_TEXT} {COMMON_TEXT} {_bounds(finished.summary)}", rows=finished.pooled),
            Section(
                "Losses and collapse",
                "Left, against β on the way up; right, against γ at the final β: where the k-space MSE falls by orders "
                "of magnitude and the energy comes down to one value, all generated states have become one. Dashed: "
                "the data. Solid: held-out data, or generated from the prior; dotted: training. Squares: stages at "
                "γ_×; crosses: γ falling; triangles: from random weights. "
                "Vertical: γ_×, where the losses of the diverse and the collapsed models are equal.",
                _curves(finished, self.gammas),
                "curves.png",
            ),
            Section(
                "Generated states",
                f"{finished.pictured_text}A row a training, decoded from the same codes of the prior all along a "
                "chain, with β, γ and the mean energy ε in J per spin. They are unlike each other until γ makes all "
                "of them one state, which should "
                f"be the magnet's ground state. {colors_text(finished.model)}",
                _states(finished),
                "states.png",
            ),
        ]


SEEDS_TEXT = (
    "What trials that differ in their seed alone say together: geometric means and their 95 % intervals by Student's t "
    "of the logarithms. A wide interval asks for more seeds."
)
COMMON_TEXT = (
    "γ_× is here where the diverse branch of each seed meets the lowest collapsed branch of all of them; in the table "
    "of trials it is that of a seed alone, too large where that seed collapsed onto a metastable state."
)


def check_variational(training: TrainConfig, program: str, *weights: str) -> None:
    """Raise ValueError unless the system's loss has these weights, and none of them changes as it is trained."""
    fields, losses = type(training.system).model_fields, training.system.loss_weights
    for weight, loss in zip(weights, ("kl", "energy"), strict=False):
        if weight not in fields or loss not in losses:
            raise ValueError(
                f"trial {program}: expected a system with a {weight} that weighs L_{loss}, found {training.system.name}"
            )
    if training.system.ramp:
        raise ValueError(
            f"system.beta_ramp, system.gamma_after: expected 0, as the scan changes the weights, "
            f"found {training.system.ramp:g}"
        )


def stage_training(training: TrainConfig, weights: dict[str, float], parent: str | None, steps: int) -> TrainConfig:
    """A training with other weights of its losses, that goes on from another model."""
    system = training.system.model_copy(update=weights)
    return training.model_copy(update={"system": system, "parent": parent or training.parent, "steps": steps})


def regime_of(figures: Mapping[Any, Any]) -> Regime:
    """What the model of a card has become, see :func:`nets.collapse.regime`; by its diversity alone if it is older."""
    highest = figures.get("data_energy_mean", math.inf) + DATA_DEVIATIONS * figures.get("data_energy_std", 0.0)
    return regime(figures["diversity"], figures["energy_mean"], highest, figures.get("active_units", 0))


def outcome_of(card: Card) -> Outcome:
    """The regime of a model and its losses."""
    figures = card["figures"]
    return outcome({**figures, "beta": card["config"]["model"]["beta"], "regime": regime_of(figures)})


def pooled(summary: pd.DataFrame, figures: tuple[str, ...], reported: tuple[str, ...]) -> pd.DataFrame:
    """Figures of trials that differ in their seed alone, a row a point, with their intervals."""
    keys = _point_keys(summary, reported)
    rows = []
    for point, part in _by_point(summary, keys):
        row = {**dict(zip(keys, point, strict=True)), "seeds": len(part)}
        for figure in figures:
            if part[figure].notna().any():
                names = (figure, f"{figure}_low", f"{figure}_high")
                row |= dict(zip(names, interval(part[figure].tolist()), strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def _point_keys(summary: pd.DataFrame, reported: tuple[str, ...]) -> list[str]:
    """Columns in which the points of a sweep differ."""
    return [str(key) for key in summary if key not in ("trial", "seed", *reported)]


def _by_point(summary: pd.DataFrame, keys: list[str]) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """The trials of each point, all of them where no key varies."""
    if keys:
        yield from summary.groupby(keys, sort=False, dropna=False)
    else:
        yield (), summary


def _bounds(summary: pd.DataFrame) -> str:
    """Of trials that collapsed from the first gamma on, or never came back."""
    said = []
    for row in summary.to_dict("records"):
        if row["gamma_up_lower"] == 0:
            said.append(
                f"Trial {row['trial']} collapsed from the first stage: γ_up < {figure_text(row['gamma_up_upper'])}."
            )
        if row["gamma_down_lower"] == 0:
            said.append(f"Trial {row['trial']} did not come back: γ_down < {figure_text(row['gamma_down_upper'])}.")
    return " ".join(said)


ROWS = [
    ("validation_reconstruction", "train_reconstruction", "", "L_RC"),
    ("validation_kl", "train_kl", "", "L_KL"),
    ("validation_energy", "train_energy", "energy_mean", "L_H (J per spin)"),
    ("energy_mean", "", "energy_mean", "ε, generated (J per spin)"),
    ("kspace_mse", "", "kspace_mse", "k-space MSE, generated"),
]
"""Figure of a card, loss of the training, figure of the data, label."""


def _curves(finished: Finished, gammas: Sequence[float]) -> Figure:
    """Figures 2 and 5 of the E-VAE paper; against beta alone where no stage has a gamma.

    Args:
        gammas: of the scan; all other stages are those at gamma_crossing.
    """
    columns = 1 + bool((finished.stages["gamma"] > 0).any())
    size = (5 * columns, 14)
    figure, axes = figure_of(len(ROWS), columns, size, sharex="col", squeeze=False, together=(len(ROWS), 1))
    for _, chain in finished.stages.groupby("trial"):
        between = ~chain["gamma"].isin([0.0, *gammas])
        chain = chain.assign(way=pd.Series(directions(chain), chain.index).mask(between, "crossing"))
        color = f"C{int(chain['trial'].iloc[0]) % 10}"
        beta = chain.sort_values("order")["beta"].iloc[-1]
        label = f"β {beta:g}, seed {chain['seed'].iloc[0]}"
        upward = chain[chain["gamma"] == 0].sort_values("beta")
        final = chain[(chain["beta"] == beta) & (chain["gamma"] > 0)].sort_values("gamma")
        risen = final[final["way"].isin(["up", "collapsed"])]
        for (key, training, *_), row in zip(ROWS, axes, strict=True):
            for axis, x, part in zip(row, ("beta", "gamma"), (upward, risen), strict=False):
                axis.plot(part[x], part[key], "o-", color=color, ms=4, label=label)
                if training in part:
                    axis.plot(part[x], part[training], ":", color=color)
            for way, mark in (("down", "x--"), ("cold", "^"), ("crossing", "s")):
                part = final[final["way"] == way]
                row[-1].plot(part["gamma"], part[key], mark, color=color, ms=5, lw=0.7, mfc="none")
        meeting = finished.summary.set_index("trial")["gamma_crossing"][chain["trial"].iloc[0]]
        if meeting > 0:
            for axis in axes[:, -1]:
                axis.axvline(meeting, color=color, lw=1, ls="-.")
    for (_, _, known, label), row in zip(ROWS, axes, strict=True):
        for axis in row:
            axis.set_ylabel(label)
            axis.set_xscale("log")
            axis.grid(alpha=0.3)
            for data in finished.data.values():
                if known in data:
                    axis.axhline(data[known], color="k", ls="--", lw=1)
    for axis in (*axes[1], *axes[-1]):
        axis.set_yscale("log")
    for axis, weight in zip(axes[-1], ("β", "γ"), strict=False):
        axis.set_xlabel(weight)
    axes[0, -1].legend(fontsize="small")
    return figure


def _states(finished: Finished) -> Figure:
    rows: list[tuple[str, np.ndarray | None]] = []
    for number, chain in finished.pictured.groupby("trial"):
        rows.append((f"trial {number}, seed {chain['seed'].iloc[0]}", None))
        for row in chain.sort_values(["beta", "gamma"]).itertuples():
            label = f"β {row.beta:g}, γ {row.gamma:g}, ε {row.energy_mean:z.4f}"
            rows.append((label, finished.pictures[str(row.model)]))
    return strips_figure(rows, finished.model)
