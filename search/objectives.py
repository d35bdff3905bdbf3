"""Objectives: a function of configurations to a score that a search maximises.

To add one, write a function of (spins ``(B, 3, L, L)``, hamiltonian) to scores ``(B,)`` and list it here, or
name it on the command line as ``module:function``.  The gradient method needs it differentiable in torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

import torch
from torch import Tensor

from physics.hamiltonian import Hamiltonian
from physics.observables import correlation, magnetization, topological_charge

Objective = Callable[[Tensor, Hamiltonian], Tensor]


def mz_max(spins: Tensor, hamiltonian: Hamiltonian) -> Tensor:
    """Out-of-plane magnetization M_z."""
    return magnetization(spins)[..., 2]


def mz_min(spins: Tensor, hamiltonian: Hamiltonian) -> Tensor:
    """-M_z."""
    return -magnetization(spins)[..., 2]


def energy_min(spins: Tensor, hamiltonian: Hamiltonian) -> Tensor:
    """Minus the energy per spin relative to the uniform state."""
    return -hamiltonian.energy(spins)


def topological_charge_max(spins: Tensor, hamiltonian: Hamiltonian) -> Tensor:
    """|W|, the number of skyrmions, whichever way their cores point."""
    return topological_charge(spins, hamiltonian).abs()


def correlation_max(spins: Tensor, hamiltonian: Hamiltonian) -> Tensor:
    """Correlation along the diagonal over a quarter of the spiral's period, the 2022 paper's C."""
    step = max(1, round(min(hamiltonian.period, spins.shape[-1]) / 4))
    return correlation(spins, (step, step))


OBJECTIVES: dict[str, Objective] = {
    function.__name__: function for function in (mz_max, mz_min, energy_min, topological_charge_max, correlation_max)
}


def objective(name: str) -> Objective:
    """The objective of that name, or the function that ``module:function`` names.

    Raises:
        ValueError: there is none.
    """
    if name in OBJECTIVES:
        return OBJECTIVES[name]
    module, colon, function = name.partition(":")
    if not colon:
        raise ValueError(f"objective: expected one of {', '.join(OBJECTIVES)} or module:function, found {name!r}")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"objective {name}: {error}") from None
    try:
        score = found(torch.nn.functional.normalize(torch.ones(2, 3, 16, 16), dim=1), Hamiltonian())
    except Exception as error:
        raise ValueError(f"objective {name}: fails on two configurations of 16 x 16: {error}") from None
    if not isinstance(score, Tensor) or score.shape != (2,):
        raise ValueError(f"objective {name}: expected a score for each of 2 configurations, found {score!r}")
    return found
