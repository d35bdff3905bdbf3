"""The page of a data set: what its configurations are like, and how they were made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from nets.conditional import averages, grouped
from nets.words import words
from orchestrator.data import shards
from orchestrator.data.request import DatasetConfig
from orchestrator.data.spectrum import BETA_C
from orchestrator.page import Origin, Section, listed, page, spread, strip_section
from physics.masks import sites_text
from physics.render import colors_text, figure_of, histograms_figure, rings_text, state_figure, structure_figure
from physics.sampler import Samples
from search.figures import averages_figure

SAMPLED_SITES = 2**21  # of configurations that the page looks at one by one
FIGURES = (
    "Mean ± standard deviation over all configurations of what is measured of each, and how near they come to the "
    "lowest energy. A sampler that finds ground states has many configurations at it."
)
AVERAGES = (
    "What configurations with equal labels have on average, against the label that takes most values, with standard "
    "errors. They are independent, so that a smooth curve within its errors is what one would expect."
)
NUMBERS = (
    "The same in numbers: means and their standard errors, of fluctuations such as the heat capacity by the jackknife. "
    "Each row is a group of configurations with equal labels."
)
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
    said: Sequence[str],
    source: Origin,
) -> dict[str, bytes]:
    """The page and its files.

    Args:
        columns: observables and labels of every configuration.
        figures: of the card.
        note: how it was made.
        said: see :func:`remarks`.
    """
    sample, model = looked_at(config, spins), config.hamiltonian
    defects = model.count_defects(sample).numpy()
    frame = pd.DataFrame({name: values for name, values in columns.items() if values.ndim == 1})
    lowest = int(np.argmin(columns["energy"]))
    sections = [
        Section("Figures", FIGURES, rows=_figures(config, frame, sample, defects)),
        Section(
            "Distributions",
            f"How many of all configurations have each value; {model.defect} are those of {len(sample)} of them. "
            "Red: the exact lowest energy, where it is known, which no configuration can be below.",
            _histograms(frame, defects, config),
        ),
        Section(
            "Structure factor",
            f"How strong waves of each wave vector k are, mean over {len(sample)} configurations, without the uniform "
            "part: spots or a ring show a texture with a period. Right, against the length of k; dotted, the wave "
            "number of the model's ground state.",
            structure_figure(sample, model),
        ),
        strip_section(
            "Configurations",
            f"The first {min(16, len(sample))} of those looked at. {colors_text(model)}",
            sample[:16].numpy(),
            model,
        ),
        Section(
            "The configuration of lowest energy",
            f"Left, its spins; right, the energy of each site, half of its bonds and its own field, whose mean is ε. "
            f"{rings_text(model)}",
            state_figure(spins[lowest].numpy(), model, _lowest(config, columns["energy"][lowest])),
        ),
        *([_curves(config, columns)] if any(values.ndim == 2 for values in columns.values()) else []),
        *(_thermal(config, columns) if "temperature" in columns else []),
        *_linear_vae(figures),
        Section("Made by", note),
    ]
    summary = (
        f"{len(frame)} configurations of the spin model {model.name} on a lattice of L = {config.L}"
        f"{_sites(config)}, by {config.sampler.name}."
    )
    return page(f"Data set {config.name}", summary, sections, source, model, said)


def looked_at(config: DatasetConfig, spins: shards.Spins) -> torch.Tensor:
    """Configurations that the page looks at one by one, spread evenly over all."""
    sampled = min(len(spins), max(16, SAMPLED_SITES // config.L**2))
    return spins[np.linspace(0, len(spins) - 1, sampled).astype(int)]


def remarks(config: DatasetConfig, columns: dict[str, np.ndarray], spins: shards.Spins) -> list[str]:
    """What was asked of the sampler and is not reached, see :meth:`physics.sampler.Sampler.remarks`."""
    if config.imported:
        return []
    labels = {name: columns[name] for name in config.sampler.labels}
    return config.sampler.remarks(Samples(looked_at(config, spins).numpy(), labels), config.hamiltonian)


def _sites(config: DatasetConfig) -> str:
    there = config.hamiltonian.sites(config.L)
    return "" if there.all() else f" ({sites_text(there)})"


def _lowest(config: DatasetConfig, energy: float) -> str:
    exact = config.hamiltonian.ground_state_energy(config.L)
    return f"ε = {energy:z.6f}" + (f", exact lowest {exact:z.6f}" if exact is not None else "")


def _figures(config: DatasetConfig, frame: pd.DataFrame, sample: torch.Tensor, defects: np.ndarray) -> pd.DataFrame:
    model = config.hamiltonian
    exact = model.ground_state_energy(config.L)
    lowest = float(frame["energy"].min())
    rows: list[tuple[str, Any, str]] = [("configurations", len(frame), "")]
    rows += [(name, spread(frame[name]), observable.words) for name, observable in model.observables.items()]
    rows += [
        ("energy_min", f"{lowest:z.6f}", "the lowest energy of a configuration"),
        ("within 1e-4 of the lowest", int((frame["energy"] - lowest < EXACT).sum()), "configurations so near to it"),
    ]
    if exact is not None:
        rows += [
            ("energy_exact", f"{exact:z.6f}", "of the ground state, which is known for this model"),
            ("at the exact energy", int((frame["energy"] - exact < EXACT).sum()), "configurations within 1e-4 of it"),
        ]
    of = f"of {len(sample)} configurations that were looked at"
    rows += [
        (f"{model.defect} a configuration", float(defects.mean()), f"mean {of}"),
        ("largest torque (J)", float(model.torque(sample).max()), f"{of}; 0 in a state at rest"),
    ]
    return pd.DataFrame(rows, columns=["figure", "value", "what it is"])


def _histograms(frame: pd.DataFrame, defects: np.ndarray, config: DatasetConfig) -> Figure:
    model = config.hamiltonian
    columns = {words(str(name), model): frame[name].to_numpy() for name in frame} | {model.defect: defects}
    exact = model.ground_state_energy(config.L)
    return histograms_figure(columns, {} if exact is None else {words("energy", model): exact})


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
    figure = averages_figure({"data": table}, groups.labels, model)
    return [Section("Averages", AVERAGES, figure), Section("Averages in numbers", NUMBERS, rows=wide)]


def _linear_vae(figures: dict[str, float]) -> list[Section]:
    if "beta_c" not in figures:
        return []
    return [Section("The linear VAE", BETA_C, rows=listed({"beta_c": figures["beta_c"]}))]


def _curves(config: DatasetConfig, columns: dict[str, np.ndarray]) -> Section:
    """Labels that are rows of numbers, such as the acceptance between rungs: their means over the configurations."""
    curves = config.sampler.curves(columns, config.hamiltonian, config.L)
    figure, axes = figure_of(1, len(curves), (5 * len(curves), 3.2), squeeze=False)
    for axis, (curve, mean) in zip(axes[0], curves, strict=True):
        axis.plot(curve.at, mean, "o-", ms=3, color="k")
        axis.set(xlabel=curve.against, ylabel=curve.label)
        axis.grid(alpha=0.3)
    return Section("What the sampler notes", config.sampler.about_curves, figure)
