"""The page of a data set: what its configurations are like, and how they were made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from nets.conditional import averages, grouped
from orchestrator.data import shards
from orchestrator.data.request import DatasetConfig
from orchestrator.data.spectrum import BETA_C
from orchestrator.page import Origin, Section, listed, page, spread, strip_section
from physics.render import figure_of, histograms_figure, state_figure, structure_figure
from search.figures import averages_figure

SAMPLED_SITES = 2**21  # of configurations that the page looks at one by one
EXACT = 1e-4  # J; a state so near the exact lowest energy is counted as one


def figures_of(config: DatasetConfig, columns: dict[str, np.ndarray]) -> dict[str, float]:
    """Of the card: mean, standard deviation, least and most of every observable; the exact lowest energy, if known."""
    figures = {
        f"{name}_{key}": float(getattr(columns[name], key)())
        for name in config.hamiltonian.observables
        for key in ("mean", "std", "min", "max")
    }
    exact = config.hamiltonian.ground_state_energy(config.L)
    return figures if exact is None else figures | {"energy_exact": exact}


def dataset_page(
    config: DatasetConfig,
    columns: dict[str, np.ndarray],
    spins: shards.Spins,
    figures: dict[str, float],
    note: str,
    source: Origin,
) -> dict[str, bytes]:
    """The page and its files.

    Args:
        columns: observables and labels of every configuration.
        figures: of the card.
        note: how it was made.
    """
    sampled = min(len(spins), max(16, SAMPLED_SITES // config.L**2))
    sample = spins[np.linspace(0, len(spins) - 1, sampled).astype(int)]
    model = config.hamiltonian
    defects = model.count_defects(sample).numpy()
    frame = pd.DataFrame({name: values for name, values in columns.items() if values.ndim == 1})
    energy = f"energy {columns['energy'].min():.6f} per spin"
    exact = model.ground_state_energy(config.L)
    energy += f", exact lowest {exact:.6f}" if exact is not None else ""
    sections = [
        Section("Figures", rows=listed(_figures(config, frame, sample, defects))),
        Section(
            "Distributions",
            f"Of all configurations; {model.defect} of {len(sample)} of them. Red: the exact lowest energy, if known.",
            _histograms(frame, defects, config),
        ),
        Section(
            "Structure factor",
            f"Mean over {len(sample)} configurations; right, by the length of k. Dotted: the model's wave number.",
            structure_figure(sample, model),
        ),
        strip_section("Configurations", sample[:16].numpy(), model),
        Section(
            "The configuration of lowest energy",
            f"Red circles: {model.defect}.",
            state_figure(spins[int(np.argmin(columns["energy"]))].numpy(), model, energy),
        ),
        *([_curves(columns)] if any(values.ndim == 2 for values in columns.values()) else []),
        *(_thermal(config, columns) if "temperature" in columns else []),
        *_linear_vae(figures),
        Section("Made by", note),
    ]
    summary = f"{len(frame)} configurations, spin model {model.name}, L = {config.L}, by {config.sampler.name}."
    return page(f"Data set {config.name}", summary, sections, source)


def _figures(config: DatasetConfig, frame: pd.DataFrame, sample: torch.Tensor, defects: np.ndarray) -> dict[str, Any]:
    model = config.hamiltonian
    exact = model.ground_state_energy(config.L)
    lowest = float(frame["energy"].min())
    figures: dict[str, Any] = {"configurations": len(frame)}
    for name, observable in model.observables.items():
        unit = f" {observable.unit}" if observable.unit else ""
        figures[f"{name} ({observable.label})"] = spread(frame[name]) + unit
    figures |= {
        "lowest energy": f"{lowest:.6f}",
        "within 1e-4 of the lowest": int((frame["energy"] - lowest < EXACT).sum()),
    }
    if exact is not None:
        figures |= {
            "exact lowest energy": f"{exact:.6f}",
            "at the exact energy": int((frame["energy"] - exact < EXACT).sum()),
        }
    figures[f"{model.defect} a configuration, of {len(sample)}"] = float(defects.mean())
    figures[f"largest torque, of {len(sample)}"] = float(model.torque(sample).max())
    return figures


def _histograms(frame: pd.DataFrame, defects: np.ndarray, config: DatasetConfig) -> Figure:
    model = config.hamiltonian
    labels = {name: observable.label for name, observable in model.observables.items()}
    columns = {labels.get(str(name), str(name)): frame[name].to_numpy() for name in frame} | {model.defect: defects}
    exact = model.ground_state_energy(config.L)
    return histograms_figure(columns, {} if exact is None else {labels["energy"]: exact})


def _thermal(config: DatasetConfig, columns: dict[str, np.ndarray]) -> list[Section]:
    """Averages of the configurations at each temperature, and with each of the other labels."""
    model, known = config.hamiltonian, config.sampler.labels
    groups = grouped({name: columns[name] for name in known})
    frame = pd.DataFrame({name: columns[name] for name in model.observables})
    table = averages(frame, groups, model, int(model.sites(config.L).sum()))
    if table.empty:
        return []
    texts = [f"{value:.5g} ± {error:.2g}" for value, error in zip(table["value"], table["error"], strict=True)]
    said = table.assign(said=texts)
    keys = list(groups.labels)
    wide = said.pivot(index=keys, columns="figure", values="said")[list(dict.fromkeys(table["figure"]))].reset_index()
    text = "Means of independent configurations and their standard errors; of fluctuations by the jackknife."
    return [Section("Averages", text, averages_figure({"data": table}, groups.labels, model)), Section("", rows=wide)]


def _linear_vae(figures: dict[str, float]) -> list[Section]:
    if "beta_c" not in figures:
        return []
    return [Section("The linear VAE", BETA_C, rows=listed({"beta_c": figures["beta_c"]}))]


def _curves(columns: dict[str, np.ndarray]) -> Section:
    """Labels that are rows of numbers, such as the acceptance between rungs: their means over the configurations."""
    rows = {name: values.mean(0) for name, values in columns.items() if values.ndim == 2}
    figure, axes = figure_of(1, len(rows), (5 * len(rows), 3.2))
    for axis, (name, mean) in zip(np.atleast_1d(axes), rows.items(), strict=True):
        axis.plot(mean, "o-", ms=3, color="k")
        axis.set(xlabel="number", title=f"{name.replace('_', ' ')}, mean")
    return Section("Labels of every configuration", figure=figure)
