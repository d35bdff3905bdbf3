"""What samplers reach of an objective at the cost of a search: tempering, and annealing in a field."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import torch

from orchestrator.cluster import Pool
from orchestrator.data import shards
from orchestrator.data.request import DatasetConfig
from orchestrator.data.run import SECONDS_PER_UPDATE
from orchestrator.store import Store
from physics.chiral import ChiralMagnet
from physics.ground_state import equal_searches, one_digit
from physics.model import SpinModel
from search.constraint import Penalised
from search.objectives import Objective
from search.winner import figures_of, ranked, valued

MOST_UPDATES = 5e9  # of spins, by each rival: about 20 s of CPU
FIELDS = 0.15, 0.3, 0.45, 0.6  # of D^2 / J, in which a rival anneals in turn


def rivals(
    dataset: DatasetConfig, penalised: Penalised, cpu_seconds: float, store: Store, pool: Pool
) -> tuple[pd.DataFrame, list[str]]:
    """The best state of each rival, see :func:`search.winner.ranked`, and the data sets that were made for it.

    Each row has as well its ``rested_`` values, and ``share``, the rival's cost over that of the search.

    Args:
        pool: of actors that make data sets, see :func:`orchestrator.data.run.make_here`.

    Raises:
        ValueError: no sampler of ours is a rival on this spin model.
    """
    model, L, objective = dataset.hamiltonian, dataset.L, penalised.objective
    updates = one_digit(min(cpu_seconds / SECONDS_PER_UPDATE, MOST_UPDATES))
    wanted = list(_datasets(dataset, objective, updates))
    together = [found for _, made in wanted for found in made]
    for _ in pool.map(together):
        pass
    rows = []
    for name, made in wanted:
        best, cost = [], 0.0
        for found in made:
            cost += found.configurations * found.sampler.spin_updates(L) * SECONDS_PER_UPDATE
            states = shards.read(found.name, store)[:].tensor()
            best.append(states[ranked(states, model, penalised)[1][0]])
        rows.append(
            {"state": name, **_row(torch.stack(best), model, penalised), "share": cost / max(cpu_seconds, 1e-9)}
        )
    return pd.DataFrame(rows), [f"datasets/{found.name}" for found in together]


def _datasets(
    dataset: DatasetConfig, objective: Objective, updates: float
) -> Iterator[tuple[str, list[DatasetConfig]]]:
    """The data sets of each rival, of about that many spin updates together."""
    model, L = dataset.hamiltonian, dataset.L
    tempering = equal_searches(model, L, updates)["tempering"]
    yield "tempering", [DatasetConfig(L=L, hamiltonian=model, sampler=tempering.sampler, configurations=tempering.runs)]
    if not isinstance(model, ChiralMagnet) or not model.D:
        return
    sign = _preferred(objective, model, L)
    in_fields = []
    for field in FIELDS:
        magnet = model.model_copy(update={"B": model.B + sign * field * model.D**2 / model.J})
        search = equal_searches(magnet, L, updates / len(FIELDS))["annealing"]
        in_fields.append(DatasetConfig(L=L, hamiltonian=magnet, sampler=search.sampler, configurations=search.runs))
    yield "annealing in a field", in_fields


def _preferred(objective: Objective, model: SpinModel, L: int) -> int:
    """Which way a field should point: where all spins along it have the higher score."""
    up = torch.zeros(1, model.components, L, L)
    up[:, -1] = torch.as_tensor(model.sites(L))
    return 1 if objective.score(up, model) >= objective.score(-up, model) else -1


def _row(states: torch.Tensor, model: SpinModel, penalised: Penalised) -> dict[str, float]:
    """The best of states ``(n, components, L, L)``."""
    table, order = ranked(states, model, penalised)
    found = figures_of(table)
    relaxed = model.relaxed(states[order[:1]].numpy())
    if relaxed is None:
        return found
    rested = figures_of(valued(torch.from_numpy(relaxed), model, penalised.objective))
    return found | {f"rested_{key}": value for key, value in rested.items()}
