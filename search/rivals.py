"""What samplers reach of an objective at the cost of a search: tempering, and annealing in a field."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from physics.chiral import ChiralMagnet
from physics.ground_state import Search, equal_searches
from physics.model import SpinModel
from search.constraint import Penalised
from search.objectives import Objective
from search.winner import figures_of, ranked, valued

FIELDS = 0.15, 0.3, 0.45, 0.6  # of D^2 / J, in which a rival anneals in turn


class Rival(NamedTuple):
    """Runs of a sampler, of which the best state counts.

    Attributes:
        name: of all runs that are one rival.
        model: that is sampled, the searched one or the same in a field.
    """

    name: str
    model: SpinModel
    search: Search


def rivals(model: SpinModel, L: int, objective: Objective, updates: float) -> list[Rival]:
    """Tempering, and of a chiral magnet annealing in each of four fields, of about that many spin updates a name.

    The field points where the state of all spins along it has the higher score.

    Raises:
        ValueError: our samplers do not sample this model on a lattice of L x L.
    """
    found = [Rival("tempering", model, equal_searches(model, L, updates)["tempering"])]
    if not isinstance(model, ChiralMagnet) or not model.D:
        return found
    sign = _preferred(objective, model, L)
    for field in FIELDS:
        magnet = model.model_copy(update={"B": model.B + sign * field * model.D**2 / abs(model.J)})
        search = equal_searches(magnet, L, updates / len(FIELDS))["annealing"]
        found.append(Rival("annealing in a field", magnet, search))
    return found


def _preferred(objective: Objective, model: SpinModel, L: int) -> int:
    up = torch.zeros(1, model.components, L, L)
    up[:, -1] = torch.as_tensor(model.sites(L))
    return 1 if objective.score(up, model) >= objective.score(-up, model) else -1


def best_state(rival: Rival, model: SpinModel, L: int, seed: int, penalised: Penalised) -> np.ndarray:
    """The best of a rival's runs by the searched model, see :func:`search.winner.ranked`: ``(components, L, L)``."""
    sampler, runs = rival.search
    spins = torch.from_numpy(sampler.sample(rival.model, L, seed, range(runs)).spins)
    return spins[ranked(spins, model, penalised)[1][0]].numpy()


def rated(states: np.ndarray, model: SpinModel, penalised: Penalised) -> tuple[dict[str, float], np.ndarray]:
    """The best of states ``(n, components, L, L)``: its row of :func:`search.winner.ranked`, and its spins.

    The row has as well its ``rested_`` values, if the model knows a way to rest.
    """
    table, order = ranked(torch.from_numpy(states), model, penalised)
    found, best = figures_of(table), states[order[0]]
    relaxed = model.relaxed(best[None])
    if relaxed is None:
        return found, best
    rested = figures_of(valued(torch.from_numpy(relaxed), model, penalised.objective))
    return found | {f"rested_{key}": value for key, value in rested.items()}, best
