"""Figures of what is found in a latent space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from nets.words import words
from physics.model import Curve, SpinModel
from physics.observables import local_alignment
from physics.render import ABSENT, axis_label, circle_defects, draw_spins, figure_of
from search.archive import Archive

ZOOM = 8  # sites on each side of a defect
REACH = 30  # steps on each side of a barrier
LETTERS = "abcdef"  # of states along a front
TILES = 8  # pictures along each edge of an archive


def map_figure(
    maps: dict[str, np.ndarray],
    ticks: np.ndarray,
    axes_of: tuple[int, int],
    places: list[tuple[int, int]],
    model: SpinModel,
) -> Figure:
    """Maps ``(points, points)`` of a latent plane over ``ticks`` of two components, with the places k, l and m."""
    figure, axes = figure_of(1, len(maps), (4.6 * len(maps), 4))
    half = 0.5 * (ticks[1] - ticks[0])
    extent = (ticks[0] - half, ticks[-1] + half, ticks[0] - half, ticks[-1] + half)
    for axis, (key, values) in zip(np.atleast_1d(axes), maps.items(), strict=True):
        image = axis.imshow(values, origin="lower", extent=extent, cmap="inferno", interpolation="nearest")
        axis.set(title=words(key, model), xlabel=f"z{axes_of[0]}", ylabel=f"z{axes_of[1]}")
        figure.colorbar(image, ax=axis, fraction=0.046)
        for letter, (row, column) in zip("klm", places, strict=True):
            axis.plot(ticks[column], ticks[row], "o", mfc="none", mec="cyan", ms=5)
            axis.annotate(letter, (ticks[column], ticks[row]), (4, 4), textcoords="offset points", color="cyan")
    return figure


def ddls_figure(stages: list[tuple[int, Tensor, Tensor]], model: SpinModel) -> Figure:
    """One sample on its way: the state, its surroundings of the first defect, and Grad-CAM, a column a stage.

    Args:
        stages: step, spins ``(components, L, L)`` and Grad-CAM ``(L, L)``.
    """
    figure, axes = figure_of(3, len(stages), (2.6 * len(stages), 8.4), together=(3, 1))
    first = model.defects(stages[0][1]).nonzero()
    L = stages[0][1].shape[-1]
    y, x = first[0].tolist() if len(first) else (L // 2, L // 2)
    brightest = max(float(cam.max()) for _, _, cam in stages) or 1.0
    for column, (step, spins, cam) in enumerate(stages):
        draw_spins(axes[0, column], spins.numpy(), model, f"step {step}")
        circle_defects(axes[0, column], spins.numpy(), model)
        reach = min(ZOOM, L // 2)
        near = torch.roll(spins, (reach - y, reach - x), (-2, -1))[..., : 2 * reach, : 2 * reach]
        draw_spins(axes[1, column], near.numpy(), model)
        seen = np.where(model.sites(L), cam.numpy(), np.nan)
        image = axes[2, column].imshow(seen, cmap="inferno", vmin=0, vmax=brightest, origin="lower")
        axes[2, column].set(xticks=[], yticks=[], facecolor=str(ABSENT))
        figure.colorbar(image, ax=axes[2, column], location="bottom", fraction=0.06, pad=0.03, label="Grad-CAM")
    return figure


def losses_figure(losses: Tensor) -> Figure:
    """The reconstruction loss along an inverse mapping."""
    figure, axis = figure_of(1, 1, (5, 3))
    axis.semilogy(losses.numpy(), color="k")
    axis.set(xlabel="iteration", ylabel="L_RC of the best start")
    return figure


def samples_figure(table: pd.DataFrame, model: SpinModel) -> Figure:
    """Coverage and defects of samples against their mean energy, a point a training (2023, figure 2e).

    Rows of the table without a model are of data: a line across, dashed for held-out ones, dotted for noisy ones.

    Args:
        table: with the columns model, system, steps, energy, data_energy and those drawn.
    """
    shown = {
        "adagan_coverage": words("adagan_coverage"),
        "coverage": words("coverage"),
        model.defect_column: f"{model.defect} a state",
    }
    figure, axes = figure_of(1, len(shown), (13, 3.8))
    of_data, of_models = table[table["model"] == ""], table[table["model"] != ""]
    for number, (system, group) in enumerate(of_models.groupby("system")):
        for refined in (False, True):
            part = group[(group["steps"] > 0) == refined]
            style = {"color": f"C{number}", "linestyle": "none", "marker": "o", "mfc": None if refined else "none"}
            label = f"{system}, refined" if refined else system
            for axis, key in zip(axes, shown, strict=True):
                if len(part):
                    axis.plot(part["energy"], part[key], label=label, **style)
    for axis, (key, title) in zip(axes, shown.items(), strict=True):
        for dashes, (_, row) in zip(("--", ":"), of_data.iterrows(), strict=False):
            axis.axhline(row[key], color="k", ls=dashes, lw=1, label=row["system"])
        axis.axvline(table["data_energy"].iloc[0], color="k", ls="--", lw=1)
        axis.set(xlabel=words("energy_mean", model), title=title)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize="small")
    return figure


def averages_figure(tables: dict[str, pd.DataFrame], labels: pd.DataFrame, model: SpinModel) -> Figure:
    """Every figure of each ensemble against the label that takes most values, a line for each value of the others.

    Args:
        tables: of :func:`nets.conditional.averages`, the data first.
        labels: of the groups.
    """
    x = max(labels, key=lambda name: labels[name].nunique())
    first = next(iter(tables.values()))
    names = list(dict.fromkeys(first["figure"]))
    columns = 3
    rows = -(-len(names) // columns)
    figure, axes = figure_of(rows, columns, (13, 3.2 * rows))
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    for axis, name in zip(axes.flat, names, strict=False):
        for number, (whose, table) in enumerate(tables.items()):
            part = table[table["figure"] == name]
            others = [key for key in labels if key != x and labels[key].nunique() > 1]
            for _, line in part.groupby(others) if others else [(None, part)]:
                style = {"color": "k", "lw": 2} if number == 0 else {"color": f"C{number}", "lw": 1}
                axis.errorbar(line[x], line["value"], line["error"], marker=".", label=whose, **style)
        data = first[first["figure"] == name]["value"]
        reach = max(np.ptp(data), 0.05 * data.abs().max(), 1e-9)
        axis.set_ylim(data.min() - reach, data.max() + reach)
        axis.set(xlabel=words(str(x)), title=words(str(name), model))
    handles, said = axes.flat[0].get_legend_handles_labels()
    once = dict(zip(said, handles, strict=True))
    axes.flat[0].legend(once.values(), once.keys(), fontsize="x-small")
    return figure


def curves_beside_figure(
    ensembles: dict[str, dict[str, Tensor]], labels: pd.DataFrame, curves: dict[str, Curve]
) -> Figure:
    """Mean curves of each ensemble, the first in black: a row a curve, and the first, middle and last group.

    Args:
        ensembles: by name ``(groups, points)`` of each curve.
        labels: of the groups.
    """
    shown = sorted({0, len(labels) // 2, len(labels) - 1})
    figure, axes = figure_of(len(curves), len(shown), (4 * len(shown), 2.6 * len(curves)), squeeze=False)
    for row, (name, curve) in zip(axes, curves.items(), strict=True):
        for axis, group in zip(row, shown, strict=True):
            for number, (whose, found) in enumerate(ensembles.items()):
                style = {"color": "k", "lw": 2} if number == 0 else {"color": f"C{number}", "lw": 1}
                axis.plot(curve.at, found[name][group].numpy(), label=whose, **style)
            axis.set(xlabel=curve.against, ylabel=curve.label)
    for axis, group in zip(axes[0], shown, strict=True):
        axis.set_title(", ".join(f"{words(str(key))} {labels[key][group]:.4g}" for key in labels), fontsize="small")
    axes[0, 0].legend(fontsize="x-small")
    return figure


def search_figure(history: np.ndarray, values: np.ndarray, optimum: float, name: str) -> Figure:
    """The values of an objective along a search, and the optimum beside those of training configurations.

    Args:
        history: best so far and mean of every iteration, ``(iterations, 2)``.
    """
    figure, (left, right) = figure_of(1, 2, (10, 3.6))
    left.plot(history[:, 0], label="best so far")
    left.plot(history[:, 1], label="mean of the population")
    near = np.concatenate((history[:, 0], values))  # a mean may be far below, where limits are broken
    margin = 0.5 * max(float(np.ptp(near)), 1e-6)
    left.set_ylim(near.min() - margin, near.max() + margin)
    left.set(xlabel="iteration", ylabel=name)
    left.legend()
    right.hist(values, bins=np.linspace(values.min() - 1e-6, values.max() + 1e-6, 41), color="0.6")
    right.axvline(optimum, color="red", label=f"optimum {optimum:.4g}")
    right.set(xlabel=name, ylabel=f"of {len(values)} training configurations")
    right.legend()
    return figure


def ensembles_figure(ensembles: Mapping[str, pd.DataFrame], model: SpinModel) -> Figure:
    """Distributions of every observable, a curve an ensemble; and the last two observables against each other.

    The winner is a dotted line, and a star among the states of the first ensemble.

    Args:
        ensembles: a row a state, with its observables; the winner is the first row of the last.

    Source: latent optimization (2022), figures 3c, 4d, 4g and 5f.
    """
    first, *_, last = ensembles.values()
    names = list(model.observables)
    plane = names[-2:] if len(names) > 1 else []
    panels = len(names) + bool(plane)
    figure, axes = figure_of(1, panels, (4 * panels, 3.4))
    for axis, name in zip(np.atleast_1d(axes), names, strict=False):
        together = np.concatenate([table[name].to_numpy() for table in ensembles.values()])
        winner = last[name].iloc[0]
        low, high = np.quantile(together, [0.005, 0.995])
        bins = np.linspace(min(low, winner) - 1e-6, max(high, winner) + 1e-6, 60)
        axis.axvline(winner, color="red", ls=":")
        for label, table in ensembles.items():
            axis.hist(table[name], bins, density=True, histtype="stepfilled", alpha=0.45, label=label.replace("_", "-"))
        axis.set(xlabel=words(name, model), ylabel="density")
    np.atleast_1d(axes)[0].legend(fontsize="small")
    if plane:
        axes[-1].plot(*(first[name] for name in plane), ".", color="0.5", ms=3)
        axes[-1].plot(*(last[name].iloc[0] for name in plane), "r*", ms=12)
        axes[-1].locator_params(axis="x", nbins=4)
        x, y = (words(name, model) for name in plane)
        axes[-1].set(xlabel=x, ylabel=y)
    return figure


def archive_figure(
    archive: Archive, data: pd.DataFrame, spins: np.ndarray, table: pd.DataFrame, model: SpinModel, name: str
) -> Figure:
    """The score in every filled cell with the data as points; and states of it where they lie in the map.

    Args:
        data: observables of configurations.
        spins, table: of the states, with their observables.
    """
    (x, y), bounds, size = archive.settings.axes, archive.settings.bounds, archive.settings.cells
    assert bounds is not None
    scores = np.full(size * size, np.nan)
    scores[archive.cells] = archive.values[:, 0]
    figure, (left, right) = figure_of(1, 2, (11, 5.2))
    extent = (*bounds[0], *bounds[1])
    image = left.imshow(scores.reshape(size, size), origin="lower", extent=extent, aspect="auto", cmap="viridis")
    figure.colorbar(image, ax=left, fraction=0.046, label=f"score of {name}")
    left.plot(data[x], data[y], ",", color="red", label="training data")
    left.legend(loc="upper right", fontsize="small")
    for axis in (left, right):
        axis.set(xlim=bounds[0], ylim=bounds[1], xlabel=words(x, model), ylabel=words(y, model))
    wide, high = ((high - low) / TILES for low, high in bounds)
    places = np.floor([(table[x] - bounds[0][0]) / wide, (table[y] - bounds[1][0]) / high]).T
    for column, row in {(int(a), int(b)) for a, b in places if 0 <= a < TILES and 0 <= b < TILES}:
        first = int(np.flatnonzero((places == (column, row)).all(1))[0])  # the best that lies there
        corner = bounds[0][0] + column * wide, bounds[1][0] + row * high
        inside = (corner[0], corner[0] + 0.94 * wide, corner[1], corner[1] + 0.94 * high)
        right.imshow(model.colors(spins[first]), origin="lower", extent=inside, aspect="auto", interpolation="nearest")
    right.set(xlim=bounds[0], ylim=bounds[1])
    return figure


def front_figure(
    table: pd.DataFrame, data: pd.DataFrame, picked: Sequence[int], model: SpinModel, name: str, against: str
) -> Figure:
    """States of a front in the plane of the objective and one other value, among the data; letters where some lie.

    Args:
        table, data: with the columns score and ``against``; of the table also within.
        picked: rows of the table that have letters.
    """
    figure, axis = figure_of(1, 1, (6.4, 4.4))
    axis.plot(data["score"], data[against], ".", color="0.75", ms=3, label="training data")
    front = table[table["within"]].sort_values("score")
    axis.plot(front["score"], front[against], "k.-", ms=5, lw=1, label="front")
    axis.plot(*(table.loc[~table["within"], key] for key in ("score", against)), "kx", ms=4, label="beyond the limits")
    for letter, row in zip(LETTERS, picked, strict=False):
        place = table["score"].iloc[row], table[against].iloc[row]
        axis.plot(*place, "o", color="red", ms=5)
        axis.annotate(letter, place, (5, 5), textcoords="offset points", color="red")
    other = model.observables[against]
    axis.set(xlabel=name, ylabel=axis_label(other.label, other.unit))
    axis.legend(fontsize="small")
    axis.grid(alpha=0.3)
    return figure


class Aligned(NamedTuple):
    """States of a kind ``(n, components, L, L)`` that a model made, "" for data."""

    model: str
    kind: str
    spins: Tensor


def alignment_figure(shown: Sequence[Aligned], model: SpinModel) -> Figure:
    """States and maps of S . h, h the direction of the field: a row a model, its kinds of states side by side.

    Source: E-VAE (2021), figure 3A.
    """
    rows: dict[str, list[Aligned]] = {}
    for part in shown:
        rows.setdefault(part.model, []).append(part)
    there = model.sites(shown[0].spins.shape[-1])
    cosines = {id(part): np.where(there, local_alignment(part.spins, model).numpy(), np.nan) for part in shown}
    low = min(0.999, float(np.nanquantile(np.concatenate([found.ravel() for found in cosines.values()]), 0.01)))
    columns = 2 * max(sum(len(part.spins) for part in row) for row in rows.values())
    figure, axes = figure_of(len(rows), columns, (1.55 * columns, 1.75 * len(rows)), squeeze=False, together=(1, 2))
    for across, (label, row) in zip(axes, rows.items(), strict=True):
        for axis in across:
            axis.axis("off")
        states = [(part, number) for part in row for number in range(len(part.spins))]
        for (part, number), (left, right) in zip(states, across.reshape(-1, 2), strict=False):
            left.imshow(model.colors(part.spins[number].numpy()), origin="lower", interpolation="nearest")
            cosine = cosines[id(part)][number]
            image = right.imshow(cosine, cmap="cividis", vmin=low, vmax=1, origin="lower", interpolation="nearest")
            right.set_facecolor(str(ABSENT))
            for axis, title in ((left, part.kind), (right, "S · h")):
                axis.set_axis_on()
                axis.set(xticks=[], yticks=[])
                axis.set_title(title, fontsize=8)
        across[0].text(-0.08, 0.5, label, transform=across[0].transAxes, rotation=90, ha="right", va="center")
        figure.colorbar(image, ax=across, fraction=0.02, pad=0.01, label="S · h")
    return figure


def angles_figure(densities: Mapping[tuple[str, str], np.ndarray], edges: np.ndarray) -> Figure:
    """Distributions of the angle between spin and field, in degrees: a panel a kind of states, a curve a model.

    Args:
        densities: by model and kind; those without a model are the data, in black in every panel.

    Source: E-VAE (2021), figure 3B.
    """
    data = [density for (model, _), density in densities.items() if not model]
    kinds = list(dict.fromkeys(kind for model, kind in densities if model))
    models = list(dict.fromkeys(model for model, _ in densities if model))
    middles = 0.5 * (edges[1:] + edges[:-1])
    share = np.cumsum(np.mean(list(densities.values()), 0)) * np.diff(edges)
    reach = edges[1:][share < 0.999].max(initial=edges[8])
    figure, axes = figure_of(1, len(kinds), (5 * len(kinds), 3.8), sharey=True, squeeze=False)
    for axis, kind in zip(axes[0], kinds, strict=True):
        for density in data:
            axis.plot(middles, density, color="k", lw=1.5, label="data")
        for number, model in enumerate(models):
            if (model, kind) in densities:
                axis.plot(middles, densities[model, kind], color=f"C{number % 10}", label=model)
        axis.set(xlim=(0, reach), yscale="log", xlabel="angle between spin and field (degrees)", title=kind)
        axis.set_ylabel("share of the sites per degree")
        axis.grid(alpha=0.3)
    axes[0, 0].legend(fontsize="small")
    return figure


def crossings_figure(energies: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Energy along a line against R, the steps from its highest value, a curve a model; right, around the peak.

    Args:
        energies: by model, R and energy per spin, each ``(points,)``.

    Source: E-VAE (2021), figure 4B.
    """
    figure, (left, right) = figure_of(1, 2, (10, 3.8))
    for label, (R, energy) in energies.items():
        for axis in (left, right):
            axis.plot(R, energy, ".-", ms=3, lw=1, label=label)
    right.set_xlim(-REACH, REACH)
    for axis in (left, right):
        axis.set(xlabel="R (steps of the line)", ylabel=words("energy"))
        axis.grid(alpha=0.3)
    left.legend(fontsize="small")
    return figure
