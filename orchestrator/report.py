"""Figures as PNG and one self-contained HTML page for each sweep and optimization."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")

import jinja2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import yaml
from matplotlib.figure import Figure

from orchestrator.config import OptimizeConfig, SweepConfig
from physics.hamiltonian import Hamiltonian
from physics.observables import nodal_points
from physics.render import draw_energy_density, draw_spins, montage, spin_colors

SHOWN = 8  # generated states a stage in the report


@dataclass(frozen=True)
class Section:
    title: str
    text: str = ""
    image: str | None = None
    rows: pd.DataFrame | None = None
    code: str = ""


def figure_text(value: Any) -> str:
    """A number to four digits, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return buffer.getvalue()


def page(title: str, summary: str, sections: list[Section]) -> bytes:
    environment = jinja2.Environment(loader=jinja2.PackageLoader("orchestrator"), autoescape=True)
    environment.filters["figure"] = figure_text
    text = environment.get_template("report.html").render(title=title, summary=summary, sections=sections)
    return text.encode()


def _embed(content: bytes) -> str:
    return base64.b64encode(content).decode()


def sweep(
    name: str,
    config: SweepConfig,
    frame: pd.DataFrame,
    thresholds: pd.DataFrame,
    data: dict[str, float],
    pictures: dict[str, np.ndarray],
    spins: np.ndarray,
) -> dict[str, bytes]:
    """report.html and its figures: curves of figures 2 and 5 of the E-VAE paper, and states of every stage."""
    curves, states = png(_curves(frame, data)), png(_states(frame, pictures))
    examples = png(_examples(spins))
    found = thresholds.dropna(subset=["gamma_c"])
    lines = [
        f"beta = {row.beta:g}, seed {row.seed}: "
        f"gamma_c = {row.gamma_c:.4g} in [{row.gamma_lower:g}, {row.gamma_upper:g}]"
        for row in found.itertuples()
    ]
    columns = ["trial", "seed", "beta", "gamma", "validation_reconstruction", "validation_kl"]
    columns += ["energy_mean", "mz_mean", "nodal_points", "kspace_mse", "collapsed", "model"]
    sections = [
        Section("Thresholds", rows=thresholds),
        Section(
            "Losses and collapse",
            "Left, against beta on the way up; right, against gamma at the final beta. Dashed: the data. "
            "Solid: generated from the prior or the validation set; dotted: training.",
            _embed(curves),
        ),
        Section(
            "Generated states",
            f"{SHOWN} states a stage, decoded from the same codes all along a chain.",
            _embed(states),
        ),
        Section("Training data", image=_embed(examples)),
        Section("Stages", rows=frame[columns]),
        Section("Configuration", code=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)),
    ]
    summary = (
        f"Collapse scan of {config.model.name} on {config.dataset.name}: data energy {data['energy_mean']:.5f} "
        f"± {data['energy_std']:.5f}. " + ("; ".join(lines) or "No collapse within the scan.")
    )
    return {
        "report.html": page(f"Sweep {name}", summary, sections),
        "curves.png": curves,
        "states.png": states,
    }


def _curves(frame: pd.DataFrame, data: dict[str, float]) -> Figure:
    rows = [
        ("validation_reconstruction", "train_reconstruction", "L_RC", None),
        ("validation_kl", "train_kl", "L_KL", None),
        ("energy_mean", "train_energy", "energy per spin", data["energy_mean"]),
        ("kspace_mse", None, "k-space MSE", data["kspace_mse"]),
    ]
    figure, axes = plt.subplots(4, 2, figsize=(10, 12), sharex="col", sharey="row", layout="constrained")
    for _, chain in frame.groupby("trial"):
        color = f"C{int(chain['trial'].iloc[0]) % 10}"
        beta = chain.sort_values("order")["beta"].iloc[-1]
        label = f"beta {beta:g}, seed {chain['seed'].iloc[0]}"
        upward = chain[chain["gamma"] == 0].sort_values("beta")
        final = chain[(chain["beta"] == beta) & (chain["gamma"] > 0)].sort_values("gamma")
        for (key, training, _, _), (left, right) in zip(rows, axes, strict=True):
            for axis, x, part in ((left, "beta", upward), (right, "gamma", final)):
                axis.plot(part[x], part[key], "o-", color=color, ms=4, label=label)
                if training:
                    axis.plot(part[x], part[training], ":", color=color)
    for (_, _, label, level), (left, right) in zip(rows, axes, strict=True):
        left.set_ylabel(label)
        for axis in (left, right):
            axis.set_xscale("log")
            axis.grid(alpha=0.3)
            if level is not None:
                axis.axhline(level, color="k", ls="--", lw=1)
    axes[1, 0].set_yscale("log")
    axes[3, 0].set_yscale("log")
    axes[3, 0].set_xlabel("beta")
    axes[3, 1].set_xlabel("gamma")
    axes[0, 1].legend(fontsize="small")
    return figure


def _states(frame: pd.DataFrame, pictures: dict[str, np.ndarray]) -> Figure:
    chains = [chain.sort_values(["beta", "gamma"]) for _, chain in frame.groupby("trial")]
    rows = sum(len(chain) + 1 for chain in chains)
    figure, axes = plt.subplots(rows, 1, figsize=(10, 1.2 * rows), layout="constrained")
    remaining = iter(np.atleast_1d(axes))
    for chain in chains:
        heading = next(remaining)
        heading.axis("off")
        heading.text(0, 0.2, f"trial {chain['trial'].iloc[0]}, seed {chain['seed'].iloc[0]}", fontsize=12)
        for row in chain.itertuples():
            axis = next(remaining)
            axis.imshow(montage(spin_colors(pictures[str(row.model)][:SHOWN]), SHOWN), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.set_ylabel(
                f"β {row.beta:g}\nγ {row.gamma:g}\nε {row.energy_mean:.4f}",
                rotation=0, ha="right", va="center", fontsize=8,
            )  # fmt: skip
    return figure


def _examples(spins: np.ndarray) -> Figure:
    figure, axis = plt.subplots(figsize=(10, 2.6), layout="constrained")
    axis.imshow(montage(spin_colors(spins[: 2 * SHOWN]), SHOWN), interpolation="nearest")
    axis.axis("off")
    return figure


def optimum(
    name: str,
    config: OptimizeConfig,
    hamiltonian: Hamiltonian,
    spins: np.ndarray,
    history: np.ndarray,
    figures: dict[str, float],
    scores: np.ndarray,
    label: str,
) -> dict[str, bytes]:
    """report.html and winner.png: the state, its energy density, the history, the training distribution beside it.

    Args:
        spins: the winner, ``(3, L, L)``.
        history: best and mean score of every iteration, ``(iterations, 2)``.
        scores: the objective of training configurations, as in figure 5e, f of the 2023 paper.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    draw_spins(left, spins, label)
    draw_energy_density(right, spins, hamiltonian, "energy of each site")
    for y, x in nodal_points(torch.from_numpy(spins), hamiltonian).nonzero().tolist():
        for axis in (left, right):
            axis.plot(x, y, "o", mfc="none", mec="red", ms=10)
    winner = png(figure)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    left.plot(history[:, 0], label="best")
    left.plot(history[:, 1], label="mean of the population")
    left.set(xlabel="iteration", ylabel=config.objective)
    left.legend()
    right.hist(scores, bins=40, color="0.6")
    right.axvline(figures["score"], color="red", label=f"optimum {figures['score']:.4g}")
    right.set(xlabel=config.objective, ylabel=f"of {len(scores)} training configurations")
    right.legend()
    progress = png(figure)
    rows = pd.DataFrame([figures]).T.reset_index()
    rows.columns = pd.Index(["figure", "value"])
    sections = [
        Section("The optimum", "Red circles: nodal points.", _embed(winner)),
        Section("History, and the training data beside it", image=_embed(progress)),
        Section("Figures", rows=rows),
        Section("Configuration", code=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)),
    ]
    return {
        "report.html": page(f"Optimum {name}", label, sections),
        "winner.png": winner,
        "history.png": progress,
    }
