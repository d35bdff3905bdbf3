"""The page of a sweep: the metrics over the space, what the program shows, every training."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from nets.phases import Phases
from nets.words import words
from orchestrator.data.spectrum import BETA_C
from orchestrator.html import figure_text
from orchestrator.page import Origin, Section, page
from orchestrator.sweeps.collapse import regime_of
from orchestrator.sweeps.program import Finished
from orchestrator.sweeps.request import SweepConfig
from physics.render import figure_of
from search.level_set import Surface, from_level

WIDE = 20  # largest over smallest: from here on a logarithmic scale
FINE = 120  # points along each side of a map
SMALL = {"min": "small", "max": "large"}
WEIGHTS = ("system.beta", "system.gamma")
REGIMES = {
    "diverse": ("C2", "o"),
    "hamiltonian collapse": ("C1", "s"),
    "posterior collapse": ("C0", "^"),
    "far from the prior": ("C4", "D"),
}
"""Colour and mark of each."""
LEGEND = (
    "Lines: theory for a linear VAE. β_c, where nothing is encoded any more; γ_×, where the diverse models give way to "
    "the ground state; γ_u, where the mean spin does."
)
TRIALS = (
    "A row a trial: where it was in the space that was swept, and what it reports of its last training. What a card or "
    "a request calls a figure is shown when the mouse rests on its heading."
)
ENDED = (
    "Trials that did not do all of their trainings, with the cause: an error, a time limit, or what they ran on went "
    "away. What they had finished by then counts in the tables."
)
TRAININGS = (
    "A row a training of every trial, in the order in which a trial does them. Each is a model of the store with a "
    "page of its own, under the name in its row."
)
POINTS = "Points that lie on a curve say that the key decides; a cloud, that chance or another key does."
FRONT = (
    "The first two metrics against each other, a point a trial. Black: the front, on which no other trial is better in "
    "all metrics; a choice among these is one of taste."
)
DATA = "Means and spread of what was measured of the data sets, which the models were trained on and should reproduce."


def sweep_page(config: SweepConfig, finished: Finished, origin: Origin) -> dict[str, bytes]:
    """The page, and pictures of the metrics where keys with several numbers were swept."""
    metrics = list(config.objectives)
    swept = [key for key in config.space if key in finished.summary and finished.summary[key].nunique() > 1]
    numbers = [key for key in swept if pd.api.types.is_numeric_dtype(finished.summary[key])]
    known = finished.summary.dropna(subset=metrics)
    data = pd.DataFrame(finished.data).T.rename_axis("data set").reset_index()
    columns = [column for column in finished.stages if finished.stages[column].nunique() > 1 or column == "model"]
    more = len(finished.stages) > len(finished.summary)
    ended = pd.DataFrame({"trial": finished.ended})
    sections = [
        Section("Trials", TRIALS, rows=finished.summary),
        *([Section("Ended before their last training", ENDED, rows=ended)] if len(ended) else []),
        *(_pictures(config, finished, known, numbers) if numbers and len(known) else []),
        *finished.compared,
        *config.trial.sections(finished),
        *([Section("Trainings", TRAININGS, rows=finished.stages[columns])] if more else []),
        Section("Data", f"{DATA} {BETA_C}" if "beta_c" in data else DATA, rows=data),
    ]
    return page(
        f"Sweep {config.name}",
        _summary(config, known),
        sections,
        origin,
        finished.model,
        remarks(config, finished.summary),
    )


def remarks(config: SweepConfig, summary: pd.DataFrame) -> list[str]:
    """A sentence if a level was looked for that no two trials lie on both sides of."""
    if config.level is None:
        return []
    values = summary[config.objective[0]].dropna()
    if values.empty or values.min() <= config.level <= values.max():
        return []
    return [
        f"No trial is on the other side of the level {config.level:g}: {words(config.objective[0])} is "
        f"{values.min():.4g} to {values.max():.4g}. A wider space may hold the boundary."
    ]


def _summary(config: SweepConfig, known: pd.DataFrame) -> str:
    about = f"{config.trial.name} of {config.system.name}"
    if known.empty:
        return f"{about}: no trial has a {' and a '.join(map(words, config.objectives))}."
    if len(config.objectives) > 1:
        wanted = " and ".join(f"{SMALL[mode]} {words(metric)}" for metric, mode in config.objectives.items())
        return f"{about}: {wanted}; {int(known['front'].sum())} of {len(known)} trials are on the front."
    metric, mode = config.objective
    best = known.sort_values(metric, ascending=mode == "min").iloc[0]
    varied = [key for key in [*config.space, "seed"] if key in known and pd.notna(best[key])]
    point = ", ".join(f"{words(key)} = {figure_text(best[key], 0.0)}" for key in varied)
    span = f"{known[metric].min():.4g} to {known[metric].max():.4g}"
    if config.level is not None:
        return f"{about}: where {words(metric)} crosses {config.level:g}; it is {span}."
    return f"{about}: {words(metric)} is {span}; {SMALL[mode]}est at {point}."


def _pictures(config: SweepConfig, finished: Finished, known: pd.DataFrame, numbers: list[str]) -> list[Section]:
    sections = []
    level = "" if config.level is None else f"the level {config.level:g} is looked for"
    for metric, mode in config.objectives.items():
        file = "metric.png" if len(config.objectives) == 1 else f"{metric}.png"
        text = f"{words(metric)} against each key that was swept, a point a trial; "
        text += f"{level or f'it is to be {SMALL[mode]}'}. {POINTS}"
        sections.append(Section("The metric", text, _metric(known, numbers, metric), file))
    if len(numbers) == 2:
        text = f"The plane of both keys, a point a trial; its colour is {words(config.objective[0])}, dark where small."
        text += f" {LEGEND}" if finished.phases else ""
        if level:
            text += f" Dashed: where a Gaussian process through all trials is at {config.level:g}."
        map_of = _map(config, known.dropna(subset=numbers), numbers, finished.phases)
        sections.append(Section("The map", text, map_of, "map.png", cover=True))
        if tuple(numbers) == WEIGHTS and "diversity" in finished.stages:
            text = f"What the models have become, by what they make of codes of the prior, a point a trial. {LEGEND}"
            sections.append(Section("Regimes", text, _regimes(finished), "regimes.png", cover=True))
    if len(config.objectives) > 1:
        sections.append(Section("The front", FRONT, _front(config, known), "front.png", cover=True))
    return sections


def _is_wide(values: pd.Series) -> bool:
    return bool(values.min() > 0 and values.max() / values.min() > WIDE)


def _metric(known: pd.DataFrame, keys: list[str], metric: str) -> Figure:
    figure, axes = figure_of(1, len(keys), (4.6 * len(keys), 3.6))
    for axis, key in zip(np.atleast_1d(axes), keys, strict=True):
        axis.plot(known[key].to_numpy(float), known[metric], "ko", ms=4)
        axis.set_xscale("log" if _is_wide(known[key]) else "linear")
        axis.set(xlabel=words(key), ylabel=words(metric))
        axis.grid(alpha=0.3)
    return figure


def _front(config: SweepConfig, known: pd.DataFrame) -> Figure:
    figure, axis = figure_of(1, 1, (5, 4))
    x, y = list(config.objectives)[:2]
    axis.plot(known[x], known[y], "o", color="0.7", ms=4)
    front = known[known["front"]].sort_values(x)
    axis.plot(front[x], front[y], "ko-", ms=5, lw=1)
    axis.set(xlabel=words(x), ylabel=words(y))
    axis.grid(alpha=0.3)
    return figure


def _map(config: SweepConfig, known: pd.DataFrame, keys: list[str], phases: Phases | None) -> Figure:
    """Trials as points of a plane, coloured by the metric."""
    figure, axis = figure_of(1, 1, (6.4, 4.8))
    metric, x, y = config.objective[0], *(known[key].to_numpy(float) for key in keys)
    norm = LogNorm() if _is_wide(known[metric]) else None
    dots = axis.scatter(x, y, c=known[metric], norm=norm, cmap="viridis", s=36, edgecolors="k", linewidths=0.4)
    figure.colorbar(dots, label=words(metric))
    for key, scale in zip(keys, (axis.set_xscale, axis.set_yscale), strict=True):
        scale("log" if _is_wide(known[key]) else "linear")
    axis.set(xlabel=words(keys[0]), ylabel=words(keys[1]))
    axis.autoscale(False)
    if config.level is not None and len(known) > len(keys) + 1:
        _draw_level(axis, config, known, keys, config.level)
    if phases and tuple(keys) == WEIGHTS:
        _draw_phases(axis, phases)
    return figure


def _regimes(finished: Finished) -> Figure:
    """The last model of each trial as a point of the plane of beta and gamma, its regime as its colour."""
    figure, axis = figure_of(1, 1, (6.4, 4.8))
    last = finished.stages.groupby("trial").tail(1)
    found = pd.Series([regime_of(row) for row in last.to_dict("records")], last.index)
    for name, (color, mark) in REGIMES.items():
        part = last[found == name]
        if len(part):
            axis.plot(part[WEIGHTS[0]], part[WEIGHTS[1]], mark, color=color, mec="k", mew=0.4, ms=6, label=name)
    axis.set(xscale="log", yscale="log", xlabel="β", ylabel="γ")
    axis.autoscale(False)
    if finished.phases:
        _draw_phases(axis, finished.phases)
    axis.legend(fontsize="small")
    return figure


def _draw_level(axis: Axes, config: SweepConfig, known: pd.DataFrame, keys: list[str], level: float) -> None:
    places = np.stack([known[key].map(config.space[key].to_unit) for key in keys], 1)
    surface = Surface(places, from_level(known[config.objective[0]].to_numpy(float), level))
    side = np.linspace(0, 1, FINE)
    plane = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    mean = surface(plane)[0].reshape(FINE, FINE)
    ticks = [[config.space[key].from_unit(u) for u in side] for key in keys]
    if mean.min() < 0 < mean.max():
        axis.contour(*ticks, mean, levels=[0.0], colors="k", linestyles="--")


def _draw_phases(axis: Axes, phases: Phases) -> None:
    betas = np.geomspace(*axis.get_xlim(), FINE) if axis.get_xscale() == "log" else np.linspace(*axis.get_xlim(), FINE)
    betas = betas[(betas > 0) & (betas < phases.beta_c)]
    axis.plot(betas, [phases.gamma_x(beta) for beta in betas.tolist()], "C1-", lw=1.5, label="γ_×")
    axis.axvline(phases.beta_c, color="C0", lw=1.5, label="β_c")
    axis.plot([phases.beta_c, axis.get_xlim()[1]], [phases.gamma_u] * 2, "C4--", lw=1.5, label="γ_u")
    axis.legend(fontsize="small")
