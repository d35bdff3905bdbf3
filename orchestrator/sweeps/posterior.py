"""The collapse of a VAE's posterior in beta as a trial program, and its figures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator
from typing import Annotated, Any, Literal

import pandas as pd
from matplotlib.figure import Figure
from pydantic import Field, PositiveFloat, model_validator

from nets.collapse import NO_BRACKET, bracket, posterior_scan
from nets.words import words
from orchestrator.page import Section
from orchestrator.sweeps.collapse import SEEDS_TEXT, check_variational, pooled, stage_training
from orchestrator.sweeps.program import Card, Finished, Mode, TrialProgram
from orchestrator.training.request import TrainConfig
from physics.registry import shown
from physics.render import figure_of

BETA_C = ("beta_c", "beta_c_lower", "beta_c_upper")


class PosteriorScan(TrialProgram):
    """beta upward along ``betas``, each stage from the one before, then halvings of the bracket of beta_c.

    beta_c is where the last unit of the code dies; a linear VAE's is 2 lambda_1 / N, see
    :func:`nets.linear_vae.critical_beta`.  Every stage is a training of at most the request's ``steps``.

    Attributes:
        warmup_steps: of the first stage, from random weights.
        refine: halvings of the bracket, in ln beta.
    """

    name: Literal["posterior"] = "posterior"
    betas: Annotated[tuple[PositiveFloat, ...], Field(min_length=2, max_length=1000)] = (1e-3, 0.01, 0.1, 1.0)
    refine: Annotated[int, Field(ge=0, le=100)] = 4
    warmup_steps: Annotated[int, Field(gt=0, le=10**9)] = 1000

    @model_validator(mode="after")
    def _rising(self) -> PosteriorScan:
        if any(a >= b for a, b in itertools.pairwise(self.betas)):
            raise ValueError(f"betas: expected rising values, found {shown(list(self.betas))}")
        return self

    def check(self, training: TrainConfig) -> None:
        check_variational(training, self.name, "beta")

    def trainings(self, training: TrainConfig) -> Generator[TrainConfig, Card, None]:
        chain = posterior_scan(self.betas, self.refine)
        names: list[str] = []
        stage = next(chain)
        while True:
            if stage.parent is None:
                made = stage_training(training, {"beta": stage.beta}, None, self.warmup_steps)
            else:
                made = stage_training(training, {"beta": stage.beta}, names[stage.parent], training.steps)
            card = yield made
            names.append(made.name)
            try:
                stage = chain.send(died(card, made.name))
            except StopIteration:
                return

    def length(self, training: TrainConfig) -> int:
        return len(self.betas) + self.refine

    def max_steps(self, training: TrainConfig) -> int:
        return self.warmup_steps + (self.length(training) - 1) * training.steps

    def metric(self, training: TrainConfig) -> tuple[str, Mode]:
        return "beta_c", "max"

    def reported(self, training: TrainConfig) -> list[str]:
        return [*BETA_C]

    def report(self, stages: pd.DataFrame) -> dict[str, float]:
        """beta_c, the geometric mean of its bracket, and the ends of the bracket; NaN where no posterior collapsed."""
        found = bracket(stages["beta"].tolist(), (stages["active_units"] == 0).tolist()) or NO_BRACKET
        return dict(zip(BETA_C, (found.critical, *found), strict=True))

    def pooled(self, summary: pd.DataFrame, stages: pd.DataFrame) -> pd.DataFrame:
        return pooled(summary, BETA_C[:1], BETA_C)

    def columns(self, card: Card) -> dict[str, Any]:
        return {"beta": card["config"]["model"]["beta"], "parent": card["config"].get("parent")}

    def sections(self, finished: Finished) -> list[Section]:
        text = (
            "Loss, KL divergence and active units of the code against β, on held-out data: with β the code says less "
            "and less, until no unit is active. Dotted: the best linear VAE; vertical: its β_c; crosses on the axis: "
            "the β_c that was measured, which is expected near to it."
        )
        return [
            Section("Seeds together", SEEDS_TEXT, rows=finished.pooled),
            Section("Collapse of the posterior", text, _curves(finished), "curves.png"),
        ]


def died(card: Card, name: str) -> bool:
    """Whether no unit of the code says anything about the input.

    Raises:
        ValueError: the model was made before models knew it.
    """
    if "active_units" not in card["figures"]:
        raise ValueError(f"models/{name}: made by an older version, without active_units; orch rm it, or another seed")
    return card["figures"]["active_units"] == 0


def _curves(finished: Finished) -> Figure:
    figure, axes = figure_of(3, 1, (6, 9), sharex=True, together=(3, 1))
    rows = ("validation_loss", "validation_kl", "active_units")
    for trial, chain in finished.stages.groupby("trial"):
        color, part = f"C{int(chain['trial'].iloc[0]) % 10}", chain.sort_values("beta")
        for key, axis in zip(rows, axes, strict=True):
            axis.plot(part["beta"], part[key], "o-", color=color, ms=4, label=f"seed {part['seed'].iloc[0]}")
        if "linear_vae_loss" in part:
            axes[0].plot(part["beta"], part["linear_vae_loss"], ":", color="k")
        found = finished.summary.set_index("trial")["beta_c"][trial]
        if not math.isnan(found):
            axes[2].plot(found, 0, "x", color=color, ms=9)
    for key, axis in zip(rows, axes, strict=True):
        axis.set(xscale="log", ylabel=words(key))
        axis.grid(alpha=0.3)
        for data in finished.data.values():
            if "beta_c" in data:
                axis.axvline(data["beta_c"], color="k", ls="--", lw=1)
    axes[0].legend(fontsize="small")
    axes[2].set_xlabel("β")
    return figure
