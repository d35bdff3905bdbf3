"""What the state is that collapsed models make: at rest or not, and how far above the ground state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from nets.collapse import crossing, interval
from orchestrator.data import shards
from orchestrator.data.request import DatasetConfig
from orchestrator.data.run import SECONDS_PER_UPDATE, make
from orchestrator.page import Section
from orchestrator.store import Store
from orchestrator.training.request import TrainConfig
from orchestrator.training.trained import model_card
from physics.annealing import Annealing
from physics.chiral import ChiralMagnet
from physics.ground_state import Search, at_rest, equal_searches, one_digit, reference_search
from physics.symmetry import is_uniform
from physics.tempering import Tempering

MOST_UPDATES = 5e9  # of spins, by each of the samplers that are compared: about 20 s of CPU
GAP_DIGITS = 4  # of per cents
TITLE, GROUND_STATE = "The collapsed state", "ground state"
TEXT = (
    "What a model whose states are all alike has collapsed onto: a magnet's ground state has no gap, a metastable "
    "state one of some per cent. Of each trial the state of lowest energy among those stored with the collapsed model "
    "of lowest energy: as generated, and at rest at T = 0 under its own Hamiltonian. W is the topological charge; "
    "angle that of the strongest wave vector of S_z at rest, in degrees modulo 60 of skyrmions and 180 of stripes; gap "
    "how far an energy lies above that of the ground state, exact or the lowest that is found here, in per cent of its "
    "size. Annealing and tempering: the lowest state of as many spin updates as the trainings of a chain cost at "
    f"{1e9 * SECONDS_PER_UPDATE:g} ns each, to one digit, and {MOST_UPDATES:.0g} at most; the relative cost is what "
    "they used of it. γ_ground is where the losses of the diverse models of a trial meet that of a model which makes "
    "the ground state, whatever state the trial has collapsed onto; of the ground state the geometric mean of all "
    "trials of one point, with its 95 % interval."
)
LOOKED = "Larger weights γ of the energy, or more steps, may collapse one."
Rows = list[dict[str, Any]]


class Collapsed(NamedTuple):
    """The table for the card, the data sets that it took, and what the page shows."""

    rows: Sequence[dict[str, Any]] = ()
    parents: Sequence[str] = ()
    sections: Sequence[Section] = ()


def compare(
    stages: pd.DataFrame,
    trainings: Sequence[TrainConfig],
    pictures: Mapping[str, np.ndarray],
    cpus: float,
    store: Store,
) -> Collapsed:
    """The state of each trial that collapsed beside the ground state, and what samplers find at the cost of a chain.

    Ground-state energies that the spin model does not know are searched for by tempering, as data sets of the store.

    Args:
        stages: a row a training, with the number of its trial; of programs that know a collapse, with its ``regime``.
        trainings: the first of each trial, which has the data set of all of them.
        pictures: generated states ``(n, components, L, L)`` of each model.
        cpus: of a trial.
    """
    if "regime" not in stages:
        return Collapsed()
    fallen = stages[(stages["regime"] == "hamiltonian collapse") & stages["energy_mean"].notna()]
    if fallen.empty:
        return Collapsed(
            sections=[Section(TITLE, f"No trial has a model that makes one state whatever its code. {LOOKED}")]
        )
    lowest = fallen.loc[fallen.groupby("trial")["energy_mean"].idxmin()]
    datasets = {trainings[number].dataset.name: trainings[number].dataset for number in lowest["trial"]}
    rows: Rows = []
    parents: list[str] = []
    for name, dataset in datasets.items():
        here = lowest[[trainings[number].dataset.name == name for number in lowest["trial"]]]
        cost = cpus * _seconds(stages[stages["trial"].isin(here["trial"])], store) / len(here)
        try:
            found, made = _compared(dataset, here, pictures, cost, store)
            if is_uniform(dataset.hamiltonian, dataset.L):
                _meet(stages, here, found)
        except ValueError as error:
            return Collapsed(
                sections=[Section(TITLE, f"The state that models have collapsed onto is not compared: {error}.")]
            )
        rows += [{"dataset": name, **row} for row in found]
        parents += made
    return Collapsed(rows, parents, [Section(TITLE, TEXT, rows=_shown(rows))])


def _seconds(stages: pd.DataFrame, store: Store) -> float:
    """That the trainings took."""
    return sum(model_card(name, store).get("seconds", 0.0) for name in stages["model"])


def _compared(
    dataset: DatasetConfig, lowest: pd.DataFrame, pictures: Mapping[str, np.ndarray], cost: float, store: Store
) -> tuple[Rows, list[str]]:
    """Rows of the table for the trials with one data set, and the data sets that were made for it.

    Args:
        lowest: a row a trial, its collapsed model.
        cost: of a chain in CPU seconds.

    Raises:
        ValueError: no sampler looks for ground states of the spin model.
    """
    model, L = dataset.hamiltonian, dataset.L
    updates = one_digit(cost / SECONDS_PER_UPDATE)
    searches = equal_searches(model, L, min(updates, MOST_UPDATES))
    assert isinstance(model, ChiralMagnet)
    known = model.ground_state_energy(L)
    reference = {} if known is not None else {GROUND_STATE: reference_search(model, L)}
    made = {name: _dataset(dataset, search) for name, search in (reference | searches).items()}
    rows: Rows = []
    for row in lowest.to_dict("records"):
        states = torch.from_numpy(np.array(pictures[row["model"]]))
        label = f"trial {row['trial']}, seed {row['seed']}, γ {row['gamma']:g}"
        rows.append({"state": label, **at_rest(model, states[model.energy(states).argmin()])})
    rows += [{"state": GROUND_STATE, "energy": known, "sweeps": "exact"}] if known is not None else []
    for name, found in made.items():
        rows.append({"state": name, **_lowest(found, model, store), "sweeps": _sweeps(found)})
    for name, search in searches.items():
        next(row for row in rows if row["state"] == name)["share"] = search.spin_updates(L) / updates
    return _with_gaps(rows), [f"datasets/{found.name}" for found in made.values()]


def _with_gaps(rows: Rows) -> Rows:
    """Each with how far its energies lie above the ground state's, in per cent; not where that is zero.

    If it is not known exactly, it is the lowest of all.
    """
    ground = _ground_energy(rows)
    for row in rows:
        for energy, gap in (("energy", "gap"), ("energy_at_rest", "gap_at_rest")):
            if ground and energy in row:
                row[gap] = round(100 * (row[energy] - ground) / abs(ground), GAP_DIGITS) + 0.0  # no minus zero
    return rows


def _ground_energy(rows: Rows) -> float:
    known = next(row for row in rows if row["state"] == GROUND_STATE)
    energies = [row[key] for row in rows for key in ("energy", "energy_at_rest") if key in row]
    return known["energy"] if known["sweeps"] == "exact" else min(energies)


def _meet(stages: pd.DataFrame, lowest: pd.DataFrame, rows: Rows) -> None:
    """Into the rows: gamma where the diverse branch of each trial meets that of a model that makes the ground state.

    Its reconstruction is that of the lowest collapsed model: on data that are alike at all sites, states of the same
    magnetisation have the same.
    """
    best = lowest.loc[[lowest["energy_mean"].idxmin()]].assign(energy_mean=_ground_energy(rows))
    for row, model in zip(rows, lowest.to_dict("records"), strict=False):
        chain = stages[(stages["trial"] == model["trial"]) & (stages["beta"] == model["beta"])]
        if (meeting := crossing(chain, best)) > 0:
            row["gamma_ground"] = meeting
    if any(lowest[key].nunique(dropna=False) > 1 for key in lowest if "." in str(key)):
        return  # trials of several points have no mean
    found = [row["gamma_ground"] for row in rows if "gamma_ground" in row]
    names = ("gamma_ground", "gamma_ground_low", "gamma_ground_high")
    ground = next(row for row in rows if row["state"] == GROUND_STATE)
    ground |= {name: value for name, value in zip(names, interval(found), strict=True) if np.isfinite(value)}


def _dataset(dataset: DatasetConfig, search: Search) -> DatasetConfig:
    return DatasetConfig(
        L=dataset.L, hamiltonian=dataset.hamiltonian, sampler=search.sampler, configurations=search.runs
    )


def _lowest(dataset: DatasetConfig, model: ChiralMagnet, store: Store) -> dict[str, float]:
    """The state of lowest energy of a data set, which is made if it is not in the store."""
    make(dataset, store)
    row = int(shards.columns(dataset.name, store, ["energy"])["energy"].argmin())
    return at_rest(model, shards.read(dataset.name, store)[row])


def _sweeps(dataset: DatasetConfig) -> str:
    """How many, of how many lattices."""
    sampler, runs = dataset.sampler, dataset.configurations
    if isinstance(sampler, Tempering):
        return f"{sampler.rounds} x {sampler.temperatures} temperatures x {runs}"
    assert isinstance(sampler, Annealing)
    return f"{sampler.sweeps} x {runs}"


def _shown(rows: Rows) -> pd.DataFrame:
    """The table as the page has it: energies to six digits."""
    table = pd.DataFrame(rows)
    for key in ("energy", "energy_at_rest"):
        table[key] = [f"{value:z.6f}" if np.isfinite(value) else "-" for value in table[key]]
    if "gamma_ground" in table:
        table["gamma_ground"] = [_with_interval(row) for row in rows]
    intervals = [key for key in ("gamma_ground_low", "gamma_ground_high") if key in table]
    shared = ["dataset"] if table["dataset"].nunique() == 1 else []
    return table.drop(columns=[*shared, *intervals])


def _with_interval(row: dict[str, Any]) -> str:
    if "gamma_ground" not in row:
        return "-"
    ends = [f"{row[f'gamma_ground_{end}']:.4g}" for end in ("low", "high") if f"gamma_ground_{end}" in row]
    return f"{row['gamma_ground']:.4g}" + f" [{', '.join(ends)}]" * bool(ends)
