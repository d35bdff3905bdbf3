"""Samples of trained models, and the figures by which the papers judge them, in parallel on Ray."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import ray
import torch
from matplotlib.figure import Figure
from torch import Tensor

from nets.metrics import adagan_coverage, features, neighbour_metrics
from nets.sampling import decode, lead, prior
from orchestrator import datasets, models, studies
from orchestrator.cluster import connect
from orchestrator.config import DatasetConfig, SampleConfig
from orchestrator.console import progress, say
from orchestrator.errors import RequestError
from orchestrator.report import Section, embed, figure_text, png
from orchestrator.store import Store
from physics.hamiltonian import Hamiltonian
from physics.observables import magnetization, nodal_points, structure_factor, topological_charge

BLOCK = 256  # samples made, and measured, together
NEIGHBOURS = 5
FIGURES = ("energy", "nodal_points", "coverage", "adagan_coverage", "precision", "recall", "density")


def blocks(config: SampleConfig) -> range:
    return range(-(-config.n // BLOCK))


def block(config: SampleConfig, name: str, store: Store, number: int) -> Tensor:
    """Spins of the ``number``-th block of samples, the same whoever makes it."""
    model = models.load(name, store)
    codes = torch.from_numpy(prior(config.n, model.latent_dim, config.seed))[number * BLOCK : (number + 1) * BLOCK]
    if config.steps:
        noise = np.random.SeedSequence((config.seed, number)).generate_state(1)[0]
        langevin = torch.Generator().manual_seed(int(noise)) if config.langevin else None
        codes = lead(model, models.discriminator(name, store), codes, config.steps, config.step_size, langevin)
    return decode(model, codes)


def sample(config: SampleConfig, name: str, store: Store) -> Tensor:
    """Spins ``(n, 3, L, L)``: from the prior, then led by the discriminator for ``steps`` steps."""
    return torch.cat([block(config, name, store, number) for number in blocks(config)])


class Measured(NamedTuple):
    """What is kept of states ``(n, 3, L, L)``, which themselves stay where they were made.

    Attributes:
        columns: energy, mz, topological_charge and nodal_points of each.
        features: see :func:`nets.metrics.features`, ``(n, f)``.
        amplitudes: sums of |F[S_z]| and of its square, ``(2, L, L)``, for the k-space MSE.
    """

    columns: pd.DataFrame
    features: Tensor
    amplitudes: Tensor


def measure(spins: Tensor, hamiltonian: Hamiltonian) -> Measured:
    """The figures of each state of a block."""
    amplitude = structure_factor(spins).sqrt().double()
    columns = {
        "energy": hamiltonian.energy(spins),
        "mz": magnetization(spins)[:, 2],
        "topological_charge": topological_charge(spins, hamiltonian),
        "nodal_points": nodal_points(spins, hamiltonian).sum((-2, -1)),
    }
    frame = pd.DataFrame({key: column.tolist() for key, column in columns.items()})
    return Measured(frame, features(spins), torch.stack((amplitude.sum(0), amplitude.square().sum(0))))


def joined(parts: Sequence[Measured]) -> Measured:
    """All blocks as one."""
    frames, found, sums = zip(*parts, strict=True)
    return Measured(pd.concat(frames, ignore_index=True), torch.cat(found), torch.stack(sums).sum(0))


def judge(generated: Measured, real: Measured) -> dict[str, float]:
    """Energy, nodal points and diversity of samples, and how they cover data.

    Distances are between :func:`nets.metrics.features`; half of the samples make AdaGAN's density, half its threshold.
    """
    columns, found, n = generated.columns, generated.features, len(generated.columns)
    half = n // 2
    total, squares = generated.amplitudes
    return {
        "energy": columns["energy"].mean(),
        "energy_std": columns["energy"].std(),
        "nodal_points": columns["nodal_points"].mean(),
        "mz_std": columns["mz"].std(),
        "topological_charge_std": columns["topological_charge"].std(),
        "kspace_mse": 2 * ((squares - total.square() / n) / (n - 1)).mean().item(),
        **neighbour_metrics(real.features, found, NEIGHBOURS),
        "adagan_coverage": adagan_coverage(real.features, found[:half], found[half:]),
        "data_energy": real.columns["energy"].mean(),
    }


@ray.remote(num_cpus=1, max_retries=-1)
def _measure_block(config: SampleConfig, name: str, store: Store, number: int) -> Measured:
    torch.set_num_threads(1)
    return measure(block(config, name, store, number), models.dataset_config(name, store).hamiltonian)


def _data(config: SampleConfig, dataset: DatasetConfig, store: Store) -> Measured:
    """The last ``n`` configurations, which training has seen but for its validation share."""
    rows = torch.arange(dataset.configurations)[-config.n :]
    spins = datasets.read(dataset.name, store)
    return joined([measure(spins[part], dataset.hamiltonian) for part in rows.split(BLOCK)])


def evaluate(config: SampleConfig, names: Sequence[str], store: Store) -> tuple[str, dict[str, Any]]:
    """A study of ``n`` samples of each model: from the prior and, with ``steps``, led by its discriminator as well.

    Source: VAE-GAN hybrid (2023), figure 2e.

    Raises:
        RequestError: too few samples, or models of different data sets.
    """
    if config.n < 2 * NEIGHBOURS + 2:
        raise RequestError(f"--n {config.n}: expected at least {2 * NEIGHBOURS + 2} samples to judge by")
    dataset = models.dataset_config(names[0], store)
    for name in names:
        if models.dataset_config(name, store) != dataset:
            raise RequestError(f"{name}: expected a model of the data set {dataset.name} as {names[0]} is")
    study, card = studies.found("evaluate", config, names, store)
    if card is not None:
        return study, card
    ways = [
        (name, config.model_copy(update={"steps": steps}))
        for name in names
        for steps in ([0, config.steps] if config.steps and models.has(name, "discriminator", store) else [0])
    ]
    connect()
    say(f"{config.n} samples of each of {len(names)} models, {len(ways) * len(blocks(config))} blocks")
    calls = [[_measure_block.remote(way, name, store, number) for number in blocks(config)] for name, way in ways]
    real = _data(config, dataset, store)
    rows = []
    with progress() as bar:
        task = bar.add_task("blocks", total=sum(map(len, calls)), note="")
        for (name, way), waiting in zip(ways, calls, strict=True):
            parts = []
            for call in waiting:
                parts.append(ray.get(call))
                bar.update(task, advance=1, note=name)
            system = models.label(name, store)
            rows.append({"model": name, "system": system, "steps": way.steps, **judge(joined(parts), real)})
    table = pd.DataFrame(rows)
    summary = summarised(table)
    scatter = png(_scatter(table))
    sections = [
        Section("Each system", "Mean over its trainings, plus or minus their standard deviation.", rows=summary),
        Section(
            "Energy and coverage",
            "A point a training; open from the prior, filled led by the discriminator. Dashed: the data.",
            embed(scatter),
        ),
        Section("Each training", rows=table.drop(columns="data_energy")),
    ]
    figures = {"data_energy": float(table["data_energy"].iloc[0]), "rows": rows, "summary": summary.to_dict("records")}
    return studies.commit("evaluate", config, names, store, figures, table, sections, {"scatter.png": scatter})


def summarised(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each system and number of steps: mean and standard deviation of its trainings, as text."""
    rows = []
    for (system, steps), group in table.groupby(["system", "steps"]):
        row = {"system": system, "steps": steps, "trainings": len(group)}
        for key in FIGURES:
            spread = f" ± {group[key].std():.2g}" if len(group) > 1 else ""
            row[key] = figure_text(float(group[key].mean())) + spread
        rows.append(row)
    return pd.DataFrame(rows)


def _scatter(table: pd.DataFrame) -> Figure:
    figure, axes = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    for number, (system, group) in enumerate(table.groupby("system")):
        for led in (False, True):
            part = group[(group["steps"] > 0) == led]
            style = {"color": f"C{number}", "linestyle": "none", "marker": "o", "mfc": None if led else "none"}
            label = f"{system}, led" if led else system
            for axis, key in zip(axes, ("adagan_coverage", "coverage", "nodal_points"), strict=True):
                if len(part):
                    axis.plot(part["energy"], part[key], label=label, **style)
    for axis, title in zip(axes, ("coverage (AdaGAN)", "coverage (k nearest)", "nodal points a state"), strict=True):
        axis.axvline(table["data_energy"].iloc[0], color="k", ls="--", lw=1)
        axis.set(xlabel="mean energy", title=title)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize="small")
    return figure
