"""What a state that a search found is worth: is it uniform, do the data hold it, what is left of it at rest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nets.metrics import measure
from physics.model import SpinModel
from search.objectives import Objective

UNIFORM = 0.99  # length of the mean spin from which on a state is uniform


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


def judged(code: np.ndarray, spins: Tensor, model: SpinModel, objective: Objective, data: Tensor) -> Winner:
    r"""A winner with its figures.

    * score, and the observables and defects of the state; ``rested_`` and the same names at rest at T = 0;
    * moved: the mean of (S - S')^2 / 4 between the state and that at rest, 0 to 1;
    * nearest_data: the least mean of (S - S')^2 / 4 between the state and one of the data, which are not translated;
    * code_norm: |z| / sqrt(d), 1 for codes of the prior up to some 1 / sqrt(2 d);
    * uniform: the length of the mean spin of the sites that exist, 1 of a uniform state.

    Args:
        code: ``(d,)``.
        spins: what it decodes to, ``(components, L, L)``.
        data: configurations ``(n, components, L, L)`` that were not trained on.
    """
    found = spins[None].cpu()
    there = int(model.sites(spins.shape[-1]).sum())

    def apart(states: Tensor) -> Tensor:
        return (states.cpu() - found).square().sum((1, 2, 3)) / (4 * there)

    figures = _figures(found, model, objective)
    figures |= {
        "nearest_data": apart(data).min().item(),
        "code_norm": float(np.linalg.norm(code) / math.sqrt(len(code))),
        "uniform": (found.sum((2, 3)) / there).norm().item(),
    }
    relaxed = model.relaxed(found.numpy())
    if relaxed is None:
        return Winner(found[0], None, figures)
    rested = torch.from_numpy(relaxed)
    figures |= {f"rested_{key}": value for key, value in _figures(rested, model, objective).items()}
    return Winner(found[0], rested[0], figures | {"moved": apart(rested).item()})


def _figures(spins: Tensor, model: SpinModel, objective: Objective) -> dict[str, float]:
    measured = {str(key): float(value) for key, value in measure(spins, model).iloc[0].items()}
    return {"score": objective.value(spins, model).item(), **measured}


def remarks(figures: Mapping[str, float], latent_dim: int, highest_energy: float) -> list[str]:
    """Sentences on a winner that one should know before one believes it.

    Args:
        figures: see :func:`judged`.
        highest_energy: of the data.
    """
    said = []
    if figures["uniform"] >= UNIFORM:
        said.append("It is uniform: all spins are parallel, which takes no search.")
    if figures["energy"] > highest_energy:
        said.append(f"Its energy is above that of all data, at most {highest_energy:.5g}.")
    if figures["code_norm"] > 1 + 3 / math.sqrt(2 * latent_dim):
        said.append(f"Its code lies outside of the prior, |z| / sqrt(d) = {figures['code_norm']:.3g}.")
    return said
