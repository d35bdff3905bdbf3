"""Figures as PNG and one self-contained HTML page for each data set, sweep, optimization and ground state."""

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
from pydantic import BaseModel
from torch import Tensor

from orchestrator.config import DatasetConfig, OptimizeConfig, SweepConfig, TemperConfig, TrainConfig
from physics.hamiltonian import Hamiltonian
from physics.observables import nodal_points, structure_factor
from physics.render import draw_energy_density, draw_spins, montage, spin_colors
from physics.tempering import Tempered

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


def embed(content: bytes) -> str:
    return base64.b64encode(content).decode()


def yaml_section(config: BaseModel) -> Section:
    return Section("Configuration", code=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def listed(figures: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({"figure": list(figures), "value": list(figures.values())})


def dataset(config: DatasetConfig, columns: pd.DataFrame, sample: np.ndarray, bound: float | None, note: str) -> bytes:
    """The data card: histograms of all configurations, and of a sample its defects, structure factor and pictures.

    Args:
        columns: energy, mz and topological_charge of every configuration.
        sample: spins ``(n, 3, L, L)``.
        bound: the exact lowest energy where it is known.
    """
    hamiltonian, spins = config.hamiltonian, torch.from_numpy(sample)
    defects = nodal_points(spins, hamiltonian).sum((-2, -1)).numpy()
    torque = hamiltonian.torque(spins).amax((-2, -1))
    figures = {
        "configurations": len(columns),
        "energy": f"{columns['energy'].mean():.5f} ± {columns['energy'].std():.5f}",
        "lowest energy": float(columns["energy"].min()),
        **({"exact lowest energy": bound} if bound is not None else {}),
        "M_z": f"{columns['mz'].mean():.4f} ± {columns['mz'].std():.4f}",
        "topological charge": f"{columns['topological_charge'].mean():.2f} ± {columns['topological_charge'].std():.2f}",
        f"nodal points a state, of {len(spins)}": float(defects.mean()),
        f"largest torque, of {len(spins)}": float(torque.max()),
    }
    sections = [
        Section("Figures", rows=listed(figures)),
        Section("Distributions", image=embed(png(_histograms(columns, defects, bound)))),
        Section(
            "Structure factor of S_z",
            f"Mean over {len(spins)} configurations; right, by the length of k. Dotted: the wave number of a spiral.",
            embed(png(_structure(spins, hamiltonian))),
        ),
        Section("Configurations", image=embed(png(_examples(sample)))),
        Section("Made by", note),
        yaml_section(config),
    ]
    return page(f"Data set {config.name}", f"{len(columns)} configurations, L = {config.L}.", sections)


def _histograms(columns: pd.DataFrame, defects: np.ndarray, bound: float | None) -> Figure:
    figure, axes = plt.subplots(1, 4, figsize=(13, 3), layout="constrained")
    for axis, (label, values) in zip(
        axes,
        {
            "energy per spin": columns["energy"],
            "M_z": columns["mz"],
            "topological charge": columns["topological_charge"].round(6),
            "nodal points": defects,
        }.items(),
        strict=True,
    ):
        axis.hist(values, bins=40, color="0.4")
        axis.set_xlabel(label)
        axis.xaxis.set_major_locator(plt.MaxNLocator(4))
    if bound is not None:
        axes[0].axvline(bound, color="red", ls="--", label="exact bound")
        axes[0].legend()
    return figure


def _structure(spins: torch.Tensor, hamiltonian: Hamiltonian) -> Figure:
    L = spins.shape[-1]
    density = torch.fft.fftshift(structure_factor(spins).mean(0)).numpy()
    density[L // 2, L // 2] = 0  # the uniform part, shown by M_z
    k = 2 * np.pi * np.fft.fftshift(np.fft.fftfreq(L))
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    edge = np.pi / L  # half a pixel
    extent = (k[0] - edge, k[-1] + edge, k[0] - edge, k[-1] + edge)
    reach = min(np.pi, 6 * np.pi / hamiltonian.period if hamiltonian.D else np.pi)
    image = left.imshow(density, origin="lower", extent=extent, cmap="magma", interpolation="nearest")
    left.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="k_x", ylabel="k_y")
    figure.colorbar(image, ax=left, fraction=0.046)
    length = np.hypot(k[:, None], k[None, :])
    bins = np.arange(0.5, L // 2) * 2 * np.pi / L
    where = np.digitize(length.ravel(), bins)
    total = np.bincount(where, density.ravel(), len(bins) + 1) / np.maximum(
        np.bincount(where, minlength=len(bins) + 1), 1
    )
    right.plot(2 * np.pi / L * np.arange(1, len(bins)), total[1:-1], "o-", ms=3, color="k")
    if hamiltonian.D:
        right.axvline(2 * np.pi / hamiltonian.period, color="red", ls=":")
    right.set(xlim=(0, reach), xlabel="|k|", ylabel="S(k)")
    return figure


def ground_state(
    config: TemperConfig,
    spins: np.ndarray,
    figures: dict[str, Any],
    runs: pd.DataFrame,
    found: list[Tempered],
) -> dict[str, bytes]:
    """report.html and winner.png of a parallel tempering: the state, every run, and how well the ladder mixed."""
    label = f"energy {figures['energy']:.6f} per spin"
    if "exact_energy" in figures:
        label += f", exact {figures['exact_energy']:.6f}"
    winner = png(_state(spins, config.hamiltonian, label))
    rungs = config.ladder.rungs()
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    left.plot(rungs, np.mean([run.energy for run in found], 0), "o-", ms=3)
    left.set(xscale="log", xlabel="T", ylabel="E/N, mean of the runs")
    right.plot(np.sqrt(rungs[1:] * rungs[:-1]), np.mean([run.acceptance for run in found], 0), "o-", ms=3)
    right.set(xscale="log", xlabel="T", ylabel="exchanges accepted", ylim=(0, 1))
    sections = [
        Section("The state", "Red circles: nodal points.", embed(winner)),
        Section("Figures", rows=listed(figures)),
        Section("Runs", rows=runs),
        Section("The ladder", image=embed(png(figure))),
        yaml_section(config),
    ]
    return {"report.html": page(f"Ground state {config.name}", label, sections), "winner.png": winner}


def _state(spins: np.ndarray, hamiltonian: Hamiltonian, label: str) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    figure.suptitle(label)
    draw_spins(left, spins)
    draw_energy_density(right, spins, hamiltonian, "energy of each site")
    for y, x in nodal_points(torch.from_numpy(spins), hamiltonian).nonzero().tolist():
        for axis in (left, right):
            axis.plot(x, y, "o", mfc="none", mec="red", ms=10)
    return figure


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
            embed(curves),
        ),
        Section(
            "Generated states",
            f"{SHOWN} states a stage, decoded from the same codes all along a chain.",
            embed(states),
        ),
        Section("Training data", image=embed(examples)),
        Section("Stages", rows=frame[columns]),
        yaml_section(config),
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
            axis.imshow(strip(pictures[str(row.model)][:SHOWN]), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.set_ylabel(
                f"β {row.beta:g}\nγ {row.gamma:g}\nε {row.energy_mean:.4f}",
                rotation=0, ha="right", va="center", fontsize=8,
            )  # fmt: skip
    return figure


def _examples(spins: np.ndarray) -> Figure:
    figure, axis = plt.subplots(figsize=(10, 2.6), layout="constrained")
    axis.imshow(strip(spins[: 2 * SHOWN]), interpolation="nearest")
    axis.axis("off")
    return figure


def strip(spins: np.ndarray) -> np.ndarray:
    """States ``(n, 3, L, L)`` side by side as an image ``(height, width, 3)``."""
    return montage(spin_colors(spins), SHOWN)


def training(
    config: TrainConfig,
    history: list[dict[str, float]],
    pictures: dict[int, Tensor],
    figures: dict[str, float],
    data: dict[str, float],
) -> dict[str, bytes]:
    """report.html and its figures: losses along a training, states generated on the way, figures beside the data's.

    Args:
        pictures: states of the same codes after some numbers of steps.
        figures, data: of the generated ensemble and of the training data; empty while training goes on.
    """
    course = pd.DataFrame(history)
    figure, axes = plt.subplots(
        1, course.shape[1] - 1, figsize=(3.2 * (course.shape[1] - 1), 2.8), layout="constrained"
    )
    for axis, loss in zip(np.atleast_1d(axes), course.columns[1:], strict=True):
        axis.plot(course["step"], course[loss], lw=1)
        axis.set(xlabel="step", title=loss)
        axis.grid(alpha=0.3)
    losses = png(figure)
    figure, axes = plt.subplots(len(pictures), 1, figsize=(10, 1.3 * len(pictures)), layout="constrained")
    for axis, (step, spins) in zip(np.atleast_1d(axes), pictures.items(), strict=True):
        axis.imshow(strip(spins.numpy()), interpolation="nearest")
        axis.set(xticks=[], yticks=[])
        axis.set_ylabel(f"step {step}", rotation=0, ha="right", va="center", fontsize=8)
    states = png(figure)
    beside = pd.DataFrame(
        {"figure": list(data), "generated": [figures[key] for key in data], "data": list(data.values())}
    )
    sections = [
        Section("Losses", image=embed(losses)),
        Section("Generated states", "From the same codes of the prior, as training went.", embed(states)),
        *([Section("Figures", rows=beside)] if data else []),
        yaml_section(config),
    ]
    summary = f"{config.system.name} on {config.dataset.name}: step {history[-1]['step']} of {config.steps}."
    content = page(f"Training {config.name}", summary, sections)
    return {"report.html": content, "losses.png": losses, "states.png": states}


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
    winner = png(_state(spins, hamiltonian, label))
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
    sections = [
        Section("The optimum", "Red circles: nodal points.", embed(winner)),
        Section("History, and the training data beside it", image=embed(progress)),
        Section("Figures", rows=listed(figures)),
        yaml_section(config),
    ]
    return {
        "report.html": page(f"Optimum {name}", label, sections),
        "winner.png": winner,
        "history.png": progress,
    }
