"""Straight lines between states in the latent spaces of one model or of several: what is met on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nets.metrics import measure
from nets.sampling import decode, repeated
from nets.words import words
from orchestrator.analysis.artifact import Found
from orchestrator.analysis.request import LineConfig
from orchestrator.analysis.states import code_of
from orchestrator.console import Report
from orchestrator.page import Section
from orchestrator.training.selection import told_apart
from orchestrator.training.trained import TrainedModel
from physics.render import colors_text, curves_figure, evenly, rings_text, row_figure
from search.figures import crossings_figure
from search.latent import from_peak, line, peak_width

PICTURED = 5
AROUND = np.array([-30, -10, -2, 0, 2, 10, 30])  # R of the pictures of several models, as in the 2021 paper
ALONG = (
    "What is measured of the states along the line, from its first end at 0 to its second at 1. A peak of the energy "
    "is a barrier that a straight path in the latent space meets."
)


class Line(NamedTuple):
    """A line in the latent space of a model.

    Attributes:
        label: of the model among the others.
        spins: ``(points, components, L, L)``.
        table: a row a point: observables, defects, line, position from 0 to 1, R.
        left: L_RC that the inverse mapping of either end left, NaN where the code was given.
    """

    label: str
    number: int
    spins: Tensor
    table: pd.DataFrame
    left: tuple[float, float]

    @property
    def energy(self) -> np.ndarray:
        return self.table["energy"].to_numpy()

    @property
    def barrier(self) -> float:
        """How far the highest point lies above both ends."""
        return float(self.energy.max() - max(self.energy[0], self.energy[-1]))


def interpolate(config: LineConfig, models: Sequence[TrainedModel], report: Report | None = None) -> Found:
    """States along straight lines between codes, with their observables and defects, and the barrier of each line.

    Source: E-VAE (2021), figure 4; VAE-GAN hybrid (2023), figure 5.

    Raises:
        RequestError: there is no such state, or it is of another lattice than the models'.
    """
    labels = told_apart(models) if len(models) > 1 else [""]
    lines = [
        one for trained, label in zip(models, labels, strict=True) for one in _lines(config, trained, label, report)
    ]
    table = pd.concat([found.table for found in lines], ignore_index=True)
    if len(models) == 1:
        return Found(_figures(lines, models[0]), table.drop(columns="model"), _one_by_one(config, lines, models[0]))
    return Found(_figures(lines, models[0]), table, _side_by_side(config, lines, models[0]))


def _lines(config: LineConfig, trained: TrainedModel, label: str, report: Report | None) -> list[Line]:
    """The lines of one model."""
    labels = repeated(trained.labels(1), config.points)
    codes, left = zip(*(code_of(text, config, trained, report) for text in config.states), strict=True)
    made = []
    for number in range(1, len(codes)):
        spins = decode(trained.decoder, line(torch.stack(codes[number - 1 : number + 1]), config.points), labels)
        columns = measure(spins, trained.model)
        position = np.linspace(0, 1, config.points)
        columns = columns.assign(line=number, position=position, R=from_peak(columns["energy"].to_numpy()), model=label)
        made.append(Line(label, number, spins, columns, left[number - 1 : number + 1]))
    return made


def _figures(lines: Sequence[Line], trained: TrainedModel) -> dict[str, Any]:
    defects = trained.model.defect_column
    found: dict[str, Any] = {}
    for at in lines:
        whose = f"{at.number}{f' ({at.label})' if at.label else ''}"
        found[f"barrier_{whose}"] = at.barrier
        found[f"{defects}_{whose}"] = float(at.table[defects].mean())
        if not math.isnan(width := peak_width(at.energy)):
            found[f"width_{whose}"] = width
    return found


def _one_by_one(config: LineConfig, lines: Sequence[Line], trained: TrainedModel) -> list[Section]:
    """Of one model: states and every observable along each line."""
    model, sections = trained.model, []
    picked = evenly(config.points, PICTURED)
    for at, a, b in zip(lines, config.states, config.states[1:], strict=False):
        shown = row_figure(at.spins[picked].numpy(), model, [f"ε {at.energy[i]:z.4f}" for i in picked])
        along = at.table.set_index("position").drop(columns=["line", "R", "model"])
        curves = curves_figure(along.rename(columns=lambda name: words(str(name), model)), "position on the line")
        states = f"{PICTURED} states from the first to the last, evenly along the line between their codes, with their"
        sections += [
            Section(
                f"From {a} to {b}",
                f"{states} energies ε in J per spin. {colors_text(model)} {rings_text(model)}",
                shown,
                f"line{at.number}.png",
            ),
            Section(f"Along line {at.number}", ALONG, curves),
        ]
    return sections


def _side_by_side(config: LineConfig, lines: Sequence[Line], trained: TrainedModel) -> list[Section]:
    """Of several models: their energies against R in one figure, and states around each peak."""
    sections = []
    for number, (a, b) in enumerate(zip(config.states, config.states[1:], strict=False), 1):
        here = [at for at in lines if at.number == number]
        energies = {at.label: (at.table["R"].to_numpy(), at.energy) for at in here}
        text = (
            "Energy per spin against R, the steps from its highest value, in all of the line and around the peak. A "
            "high and narrow peak is a wall between two kinds of states, which a model without barriers would not have."
        )
        sections += [
            Section(f"From {a} to {b}", text, crossings_figure(energies), f"energies{number}.png", cover=number == 1),
            *(_around(at, trained, f"states{number}-{i}.png") for i, at in enumerate(here)),
        ]
    rows = pd.DataFrame(
        {
            "model": [at.label for at in lines],
            "line": [at.number for at in lines],
            "first": [float(at.energy[0]) for at in lines],
            "barrier": [at.barrier for at in lines],
            "last": [float(at.energy[-1]) for at in lines],
            "width": [peak_width(at.energy) for at in lines],
            "L_RC first": [at.left[0] for at in lines],
            "L_RC last": [at.left[1] for at in lines],
        }
    )
    text = (
        "Energies of the ends, height of the peak over the higher of them and its full width at half of that in steps, "
        "and the reconstruction loss that the inverse mapping of each end left."
    )
    return [*sections, Section("Barriers", text, rows=rows)]


def _around(at: Line, trained: TrainedModel, file: str) -> Section:
    """States of one line around its highest energy."""
    R = at.table["R"].to_numpy()
    picked = np.unique(np.searchsorted(R, np.clip(AROUND, R[0], R[-1])))
    titles = [f"R = {R[i]}\nε {at.energy[i]:z.4f}" for i in picked]
    figure = row_figure(at.spins[picked].numpy(), trained.model, titles)
    rings = rings_text(trained.model)
    text = f"States before, at and behind the highest energy: how one texture becomes the other. {rings}"
    return Section(f"Around the peak: {at.label}", text, figure, file)
