"""Figures of what is found in a latent space."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from physics.model import SpinModel
from physics.render import circle_defects, draw_spins, figure_of

ZOOM = 8  # sites on each side of a defect


def map_figure(
    maps: dict[str, np.ndarray], ticks: np.ndarray, axes_of: tuple[int, int], places: list[tuple[int, int]]
) -> Figure:
    """Maps ``(points, points)`` of a latent plane over ``ticks`` of two components, with the places k, l and m."""
    figure, axes = figure_of(1, len(maps), (4.6 * len(maps), 4))
    half = 0.5 * (ticks[1] - ticks[0])
    extent = (ticks[0] - half, ticks[-1] + half, ticks[0] - half, ticks[-1] + half)
    for axis, (key, values) in zip(np.atleast_1d(axes), maps.items(), strict=True):
        image = axis.imshow(values, origin="lower", extent=extent, cmap="inferno", interpolation="nearest")
        axis.set(title=key.replace("_", " "), xlabel=f"z{axes_of[0]}", ylabel=f"z{axes_of[1]}")
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
    figure, axes = figure_of(3, len(stages), (2.6 * len(stages), 8))
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
        axes[2, column].imshow(cam.numpy(), cmap="jet", vmin=0, vmax=brightest, origin="lower")
        axes[2, column].set(xticks=[], yticks=[])
    return figure


def losses_figure(losses: Tensor) -> Figure:
    """The reconstruction loss along an inverse mapping."""
    figure, axis = figure_of(1, 1, (5, 3))
    axis.semilogy(losses.numpy(), color="k")
    axis.set(xlabel="iteration", ylabel="L_RC, the best start")
    return figure


def samples_figure(table: pd.DataFrame, model: SpinModel) -> Figure:
    """Coverage and defects of samples against their mean energy, a point a training (2023, figure 2e).

    Args:
        table: with the columns system, steps, energy, data_energy and those drawn.
    """
    shown = {
        "adagan_coverage": "coverage (AdaGAN)",
        "coverage": "coverage (k nearest)",
        model.defect_column: f"{model.defect} a state",
    }
    figure, axes = figure_of(1, len(shown), (13, 3.8))
    for number, (system, group) in enumerate(table.groupby("system")):
        for refined in (False, True):
            part = group[(group["steps"] > 0) == refined]
            style = {"color": f"C{number}", "linestyle": "none", "marker": "o", "mfc": None if refined else "none"}
            label = f"{system}, refined" if refined else system
            for axis, key in zip(axes, shown, strict=True):
                if len(part):
                    axis.plot(part["energy"], part[key], label=label, **style)
    for axis, title in zip(axes, shown.values(), strict=True):
        axis.axvline(table["data_energy"].iloc[0], color="k", ls="--", lw=1)
        axis.set(xlabel="mean energy", title=title)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize="small")
    return figure


def search_figure(history: np.ndarray, values: np.ndarray, optimum: float, name: str) -> Figure:
    """The values of an objective along a search, and the optimum beside those of training configurations.

    Args:
        history: best so far and mean of every iteration, ``(iterations, 2)``.
    """
    figure, (left, right) = figure_of(1, 2, (10, 3.6))
    left.plot(history[:, 0], label="best so far")
    left.plot(history[:, 1], label="mean of the population")
    left.set(xlabel="iteration", ylabel=name)
    left.legend()
    right.hist(values, bins=np.linspace(values.min() - 1e-6, values.max() + 1e-6, 41), color="0.6")
    right.axvline(optimum, color="red", label=f"optimum {optimum:.4g}")
    right.set(xlabel=name, ylabel=f"of {len(values)} training configurations")
    right.legend()
    return figure
