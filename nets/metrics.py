"""What a generative model is judged by."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from physics.hamiltonian import Hamiltonian
from physics.observables import kspace_mse, magnetization, nodal_points, structure_factor, topological_charge

ROWS = 1000  # of a matrix of distances, held at once


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
    real_radius, generated_radius = _radii(real, k), _radii(generated, k)
    recalled, covered = torch.zeros(2, len(real), dtype=torch.bool, device=real.device)
    precise = balls = 0
    for part, radius in zip(generated.split(ROWS), generated_radius.split(ROWS), strict=True):
        apart = torch.cdist(real, part)
        in_real = apart <= real_radius[:, None]
        precise += int(in_real.any(0).sum())
        balls += int(in_real.sum())
        covered |= in_real.any(1)
        recalled |= (apart <= radius).any(1)
    return {
        "precision": precise / len(generated),
        "recall": recalled.float().mean().item(),
        "density": balls / (k * len(generated)),
        "coverage": covered.float().mean().item(),
    }


def _radii(x: Tensor, k: int) -> Tensor:
    """Distance of each point to its k-th neighbour."""
    return torch.cat([torch.cdist(part, x).kthvalue(k + 1).values for part in x.split(ROWS)])


def adagan_coverage(real: Tensor, generated: Tensor, held_out: Tensor, mass: float = 0.95) -> float:
    """Share of the data where the model's density is above t, with t such that it is for ``mass`` of the model's own.

    P_data(p_model > t) with P_model(p_model > t) = mass (Tolstikhin et al., 2017).  The density is a Gaussian kernel
    estimate on ``generated``, its width Scott's, n^(-1/(d + 4)) times the mean standard deviation; t comes from
    ``held_out``, other samples of the model, since on its own samples an estimate in many dimensions is all peaks.
    """
    n, d = generated.shape
    width = n ** (-1 / (d + 4)) * generated.std(0).mean().clamp(min=1e-12)

    def log_density(x: Tensor) -> Tensor:
        exponents = (-0.5 * (torch.cdist(part, generated) / width).square() for part in x.split(ROWS))
        return torch.cat([torch.logsumexp(exponent, 1) for exponent in exponents]) - math.log(n)

    threshold = log_density(held_out).quantile(1 - mass)
    return (log_density(real) > threshold).float().mean().item()
