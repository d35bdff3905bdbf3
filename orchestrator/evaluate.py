"""Samples of a trained model, and the figures by which the papers judge it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nets.metrics import adagan_coverage, ensemble, features, neighbour_metrics
from nets.sampling import decode, lead, prior
from orchestrator import datasets, models
from orchestrator.config import SampleConfig
from orchestrator.errors import RequestError
from orchestrator.store import Store

NEIGHBOURS = 5


def sample(config: SampleConfig, name: str, store: Store) -> Tensor:
    """Spins ``(n, 3, L, L)``: from the prior, then led by the discriminator for ``steps`` steps."""
    model = models.load(name, store)
    codes = torch.from_numpy(prior(config.n, model.latent_dim, config.seed))
    if config.steps:
        noise = torch.Generator().manual_seed(config.seed) if config.langevin else None
        codes = lead(model, models.discriminator(name, store), codes, config.steps, config.step_size, noise)
    return decode(model, codes)


def evaluate(config: SampleConfig, name: str, store: Store) -> dict[str, Any]:
    """Figures of ``n`` samples beside the last ``n`` configurations of the data, of which training keeps some apart.

    Distances are between :func:`nets.metrics.features`; half of the samples make AdaGAN's density, half its threshold.
    """
    if config.n < 2 * NEIGHBOURS + 2:
        raise RequestError(f"--n {config.n}: expected at least {2 * NEIGHBOURS + 2} samples to judge by")
    dataset = models.dataset_config(name, store)
    spins = datasets.read(dataset.name, store)
    real = spins[-min(config.n, len(spins)) :].tensor()
    generated = sample(config, name, store)
    real_features, found = features(real), features(generated)
    half = len(found) // 2
    return {
        "model": name,
        **ensemble(generated, dataset.hamiltonian),
        "data_energy_mean": dataset.hamiltonian.energy(real).mean().item(),
        **neighbour_metrics(real_features, found, NEIGHBOURS),
        "adagan_coverage": adagan_coverage(real_features, found[:half], found[half:]),
    }
