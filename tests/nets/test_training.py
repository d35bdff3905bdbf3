"""The loop sees every row, noise that is Gaussian and new at each step, and validates in evaluation mode."""

import numpy as np
import pytest
import torch
from scipy import stats

from nets.layers import unit_spins
from nets.system import SYSTEMS, build
from nets.training import Data, fit, validate
from physics.chiral import ChiralMagnet


@pytest.fixture
def system():
    torch.manual_seed(0)
    return build(SYSTEMS.parse({"name": "vae", "L": 16, "latent": 8, "width": 2}), ChiralMagnet())


@pytest.fixture
def data():
    return Data(unit_spins(torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(0))))


@pytest.fixture
def drawn(system, monkeypatch):
    """The noise of every step of a training."""
    noise = []

    def step(settings, system, batch, draw):
        noise.append(draw(len(batch.spins), 500).numpy())
        return {"loss": torch.zeros(())}

    monkeypatch.setattr(type(system.settings), "step", step)
    return noise


def test_the_noise_of_a_training_is_gaussian(system, data, drawn):
    fit(system, data, 10, range(4), 3)
    numbers = np.concatenate(drawn).ravel()
    assert stats.kstest(numbers, "norm").pvalue > 1e-3
    assert stats.kstest(np.random.default_rng(0).random(len(numbers)), "norm").pvalue < 1e-6


def test_the_noise_of_two_steps_has_nothing_in_common(system, data, drawn):
    fit(system, data, 10, range(6), 3)
    correlation = np.corrcoef([step.ravel() for step in drawn])
    np.fill_diagonal(correlation, 0)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(drawn[0].size)


def test_another_seed_draws_other_noise_and_the_same_seed_the_same(system, data, drawn):
    for seed in (3, 3, 4):
        fit(system, data, 10, range(1), seed)
    assert np.array_equal(drawn[0], drawn[1])
    assert abs(np.corrcoef(drawn[0].ravel(), drawn[2].ravel())[0, 1]) < 0.1


def test_validation_is_in_evaluation_mode_and_leaves_the_moments_of_batch_norm(system, data):
    fit(system, data, 10, range(3), 0)
    before = {key: value.clone() for key, value in system.networks["encoder"].state_dict().items()}
    alone = validate(system, data.part(slice(0, 10)), 10, 0)
    assert all(torch.equal(value, before[key]) for key, value in system.networks["encoder"].state_dict().items())
    system.mode(training=False)
    with torch.no_grad():
        mean, log_variance = system.networks["encoder"](data.spins[:10])
    kl = 0.5 * (log_variance.exp() + mean**2 - log_variance - 1).sum(1).mean()
    assert alone["kl"] == pytest.approx(kl.item(), rel=1e-5)
