"""What a generative model is judged by."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from physics.hamiltonian import Hamiltonian
from physics.observables import kspace_mse, magnetization, nodal_points, structure_factor, topological_charge


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


def features(spins: Tensor, reach: int = 8) -> Tensor:
    """What two configurations are compared by, ``(n, reach (2 reach + 1))``: equal for translates of one state.

    Square roots of the structure factor of S_z, without the uniform part, at the wave vectors up to ``reach``
    steps 2 pi / L in each direction, one of each pair k, -k.
    """
    L = spins.shape[-1]
    reach = min(reach, L // 2 - 1)
    amplitude = structure_factor(spins).sqrt()
    k = torch.arange(-reach, reach + 1) % L
    right = amplitude[..., k[:, None], torch.arange(1, reach + 1)].flatten(-2)
    return torch.cat((right, amplitude[..., 1 : reach + 1, 0]), -1)


def neighbour_metrics(real: Tensor, generated: Tensor, k: int = 5) -> dict[str, float]:
    """Precision, recall (Kynkäänniemi et al., 2019), density and coverage (Naeem et al., 2020) of features.

    A ball around each point reaches to its k-th neighbour among its own kind.  Precision: generated points inside
    some ball of the real; recall: real points inside some ball of the generated; density: real balls that a
    generated point lies in, over k; coverage: real balls with a generated point in them.

    Args:
        real, generated: ``(n, features)`` and ``(m, features)``.

    Raises:
        ValueError: no more than k points of either.
    """
    if min(len(real), len(generated)) <= k:
        raise ValueError(f"neighbour_metrics: expected more than k = {k} points, found {len(real)}, {len(generated)}")
    real_radius, generated_radius = (torch.cdist(x, x).kthvalue(k + 1).values for x in (real, generated))
    apart = torch.cdist(real, generated)
    in_real = apart <= real_radius[:, None]
    return {
        "precision": in_real.any(0).float().mean().item(),
        "recall": (apart <= generated_radius).any(1).float().mean().item(),
        "density": in_real.sum(0).float().mean().item() / k,
        "coverage": in_real.any(1).float().mean().item(),
    }


def adagan_coverage(real: Tensor, generated: Tensor, held_out: Tensor, mass: float = 0.95) -> float:
    """Share of the data where the model's density is above t, with t such that it is for ``mass`` of the model's own.

    P_data(p_model > t) with P_model(p_model > t) = mass (Tolstikhin et al., 2017).  The density is a Gaussian kernel
    estimate on ``generated``, its width Scott's, n^(-1/(d + 4)) times the mean standard deviation; t comes from
    ``held_out``, other samples of the model, since on its own samples an estimate in many dimensions is all peaks.
    """
    n, d = generated.shape
    width = n ** (-1 / (d + 4)) * generated.std(0).mean().clamp(min=1e-12)

    def log_density(x: Tensor) -> Tensor:
        return torch.logsumexp(-0.5 * (torch.cdist(x, generated) / width).square(), 1) - math.log(n)

    threshold = log_density(held_out).quantile(1 - mass)
    return (log_density(real) > threshold).float().mean().item()
