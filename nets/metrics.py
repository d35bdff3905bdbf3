"""What a generative model is judged by."""

from __future__ import annotations

from torch import Tensor

from physics.hamiltonian import Hamiltonian
from physics.observables import kspace_mse, magnetization, nodal_points, topological_charge


def ensemble(spins: Tensor, hamiltonian: Hamiltonian) -> dict[str, float]:
    """Figures of an ensemble of configurations ``(n, 3, L, L)``, data or generated alike."""
    energy, mz = hamiltonian.energy(spins), magnetization(spins)[:, 2]
    return {
        "energy_mean": energy.mean().item(),
        "energy_std": energy.std().item(),
        "mz_mean": mz.mean().item(),
        "mz_std": mz.std().item(),
        "topological_charge_mean": topological_charge(spins, hamiltonian).mean().item(),
        "nodal_points": nodal_points(spins, hamiltonian).sum((-2, -1)).float().mean().item(),
        "kspace_mse": kspace_mse(spins).item(),
    }
