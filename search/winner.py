"""What the states that a search found are worth: do the data hold them, what is left of them at rest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nets.metrics import measure
from nets.sampling import CHUNK
from physics.model import SpinModel
from search.constraint import Penalised
from search.objectives import Objective, checked_value

REST = 2e-4  # J, of a torque: twice what a descent stops at
UNIFORM = 0.99  # length of the mean spin from which on a state is uniform
KEPT_SITES = 2**22  # of the states that a search ends with: 4,096 at L = 32


def valued(spins: Tensor, model: SpinModel, objective: Objective) -> pd.DataFrame:
    """A row a state ``(n, components, L, L)``: value of the objective as ``score``, observables and defects."""
    values = torch.cat([checked_value(objective, part, model) for part in spins.split(CHUNK)])
    return measure(spins, model).assign(score=values.tolist())


def figures_of(table: pd.DataFrame) -> dict[str, float]:
    """The first row by name."""
    return {str(name): float(value) for name, value in table.iloc[0].items()}


def ranked(spins: Tensor, model: SpinModel, penalised: Penalised) -> tuple[pd.DataFrame, np.ndarray]:
    """States ``(n, components, L, L)``, a row each, and the number of each among those given: see :func:`valued`, and

    * within: whether the state keeps all limits.

    Those that do come first, the best score before the others.
    """
    table = valued(spins, model, penalised.objective)
    table["within"] = [bool(~broken) for part in spins.split(CHUNK) for broken in penalised.broken(part, model)]
    sign = 1 if penalised.objective.direction == "min" else -1
    order = np.lexsort((sign * table["score"].fillna(sign * math.inf), ~table["within"]))
    return table.iloc[order].reset_index(drop=True), order


def candidates(codes: Tensor, spins: Tensor, model: SpinModel, penalised: Penalised) -> tuple[pd.DataFrame, np.ndarray]:
    r"""States that a search ends with as :func:`ranked`, and

    * code_norm: |z| / sqrt(d), 1 for codes of the prior up to some 1 / sqrt(2 d).

    Args:
        codes, spins: ``(n, d)`` and what they decode to, ``(n, components, L, L)``.
    """
    table, order = ranked(spins, model, penalised)
    return table.assign(code_norm=(codes[order].norm(dim=1) / math.sqrt(codes.shape[1])).tolist()), order


class Winner(NamedTuple):
    """A decoded state and what it becomes.

    Attributes:
        spins: ``(components, L, L)``.
        rested: the nearby state of rest, None of a spin model that knows no way there.
        figures: see :func:`judged`.
    """

    spins: Tensor
    rested: Tensor | None
    figures: dict[str, float]


def judged(found: Mapping[str, float], spins: Tensor, model: SpinModel, objective: Objective, data: Tensor) -> Winner:
    r"""A winner with its figures, those of :func:`candidates` and

    * ``rested_`` and the same names at rest at T = 0;
    * moved: the mean of (S - S')^2 / 4 between the state and that at rest, 0 to 1;
    * rested_torque: the largest torque at rest, of a descent that was not long enough above :data:`REST`;
    * site_energy_max: the highest energy of a site, half of its bonds and its own field, from parallel spins on;
    * nearest_data: the least mean of (S - S')^2 / 4 between the state and one of the data, which are not translated;
    * uniform: the length of the mean spin of the sites that exist, 1 of a uniform state.

    Args:
        found: its row of :func:`candidates`.
        spins: ``(components, L, L)``.
        data: configurations ``(n, components, L, L)`` that were not trained on.
    """
    state = spins[None].cpu()
    there = int(model.sites(spins.shape[-1]).sum())

    def apart(states: Tensor) -> Tensor:
        return (states.cpu() - state).square().sum((1, 2, 3)) / (4 * there)

    figures = {
        **found,
        "site_energy_max": model.site_energy(state)[0, model.sites(spins.shape[-1])].max().item(),
        "nearest_data": apart(data).min().item(),
        "uniform": (state.sum((2, 3)) / there).norm().item(),
    }
    relaxed = model.relaxed(state.numpy())
    if relaxed is None:
        return Winner(state[0], None, figures)
    rested = torch.from_numpy(relaxed)
    left = figures_of(valued(rested, model, objective))
    figures |= {f"rested_{name}": value for name, value in left.items()}
    figures |= {"moved": apart(rested).item(), "rested_torque": model.torque(rested).max().item()}
    return Winner(state[0], rested[0], figures)


def remarks(figures: Mapping[str, float], latent_dim: int, highest_energy: float, limits: str) -> list[str]:
    """Sentences on a winner that one should know before one believes it.

    Args:
        figures: see :func:`judged`.
        highest_energy: of the data.
        limits: that it should keep, as text.
    """
    said = []
    if not figures["within"]:
        said.append(f"No state that was found keeps to {limits}.")
    if figures["uniform"] >= UNIFORM:
        said.append("It is uniform: all spins are parallel, which takes no search.")
    if figures["energy"] > highest_energy:
        said.append(f"Its energy is above that of all data, at most {highest_energy:.5g}.")
    if figures["code_norm"] > 1 + 3 / math.sqrt(2 * latent_dim):
        said.append(f"Its code lies outside of the prior, |z| / sqrt(d) = {figures['code_norm']:.3g}.")
    if figures.get("rested_torque", 0.0) > REST:
        said.append(f"Its state at rest is not quite: a torque of {figures['rested_torque']:.2g} J is left.")
    return said
