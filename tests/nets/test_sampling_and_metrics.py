import numpy as np
import pytest
import torch
from scipy import stats

from nets.layers import unit_spins
from nets.metrics import adagan_coverage, features, neighbour_metrics
from nets.sampling import lead

SIGMAS = 4


class Identity:
    latent_dim = 2

    def decode(self, z):
        return z


def bowl(z):
    """A logit with its maximum at (2, -1), curvature 3 and 1."""
    return -1.5 * (z[:, 0] - 2) ** 2 - 0.5 * (z[:, 1] + 1) ** 2


def test_ascent_goes_to_the_maximum_of_the_logit_at_the_rate_of_its_curvature():
    start = torch.tensor([[0.0, 0.0], [5.0, -4.0]])
    once = lead(Identity(), bowl, start, 1, 0.1)
    torch.testing.assert_close(once, start + 0.1 * torch.tensor([[6.0, -1.0], [-9.0, 3.0]]))
    torch.testing.assert_close(lead(Identity(), bowl, start, 500, 0.1), torch.tensor([[2.0, -1.0]] * 2))


def test_langevin_samples_prior_times_odds():
    """exp(logit) N(z; 0, 1) is a Gaussian of precisions 1 + 3 and 1 + 1 and means 3 * 2/4 and -1/2."""
    rng = torch.Generator().manual_seed(0)
    z = lead(Identity(), bowl, torch.zeros(4000, 2), 600, 0.01, rng, chunk=4000).numpy()
    for axis, (mean, variance) in enumerate(((1.5, 0.25), (-0.5, 0.5))):
        assert abs(z[:, axis].mean() - mean) < SIGMAS * stats.sem(z[:, axis])
        assert abs(z[:, axis].var() / variance - 1) < SIGMAS * np.sqrt(2 / len(z)) + 0.02  # the step's own bias


def test_ascent_does_not_depend_on_the_chunks():
    start = torch.randn(10, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(lead(Identity(), bowl, start, 5, 0.1, chunk=3), lead(Identity(), bowl, start, 5, 0.1))


def spins(n, seed=0, L=16):
    return unit_spins(torch.randn(n, 3, L, L, generator=torch.Generator().manual_seed(seed)))


def test_features_are_those_of_a_state_and_all_its_translates():
    x = spins(3)
    torch.testing.assert_close(features(torch.roll(x, (3, 5), (2, 3))), features(x), rtol=1e-4, atol=1e-5)
    assert features(x).shape == (3, 7 * 15 + 7)
    assert not torch.allclose(features(x[:1]), features(x[1:2]), atol=0.1)
    lone = torch.zeros(1, 3, 16, 16)
    lone[0, 2] = 0.5 + 0.5 * torch.cos(2 * torch.pi * 2 * torch.arange(16) / 16)
    assert (features(lone) > 1).sum() == 1


def points(n, centre=0.0, seed=0, d=3):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + centre


def test_neighbour_metrics_by_hand():
    """On a line, k = 1: real balls of radius 1, 1, 9 and generated balls of 0.7, 0.7, 18.8."""
    real, generated = torch.tensor([[0.0], [1.0], [10.0]]), torch.tensor([[0.5], [1.2], [20.0]])
    found = neighbour_metrics(real, generated, k=1)
    assert found["precision"] == pytest.approx(2 / 3)  # 20 is 10 from 10
    assert found["recall"] == pytest.approx(1)
    assert found["density"] == pytest.approx((2 + 2 + 0) / 3)
    assert found["coverage"] == pytest.approx(1)


def test_neighbour_metrics_of_the_same_distribution_and_of_another():
    same = neighbour_metrics(points(500), points(500, seed=1))
    assert min(same.values()) > 0.85
    far = neighbour_metrics(points(500), points(500, centre=20.0, seed=1))
    assert max(far.values()) == 0
    one_state = neighbour_metrics(points(500), 0.01 * points(500, seed=1))
    assert one_state["precision"] == 1
    assert one_state["recall"] < 0.05
    assert one_state["coverage"] < 0.2
    with pytest.raises(ValueError, match="more than k = 5 points, found 5"):
        neighbour_metrics(points(5), points(50))


def test_adagan_coverage_is_the_mass_for_one_distribution_and_falls_with_a_mode():
    model, held_out = points(2000), points(2000, seed=1)
    same = adagan_coverage(points(2000, seed=2), model, held_out)
    assert abs(same - 0.95) < 0.02
    two = torch.cat((points(1000, seed=2), points(1000, centre=15.0, seed=3)))
    assert adagan_coverage(two, model, held_out) == pytest.approx(same / 2, abs=0.02)
    assert adagan_coverage(points(2000, seed=2), 0.1 * model, 0.1 * held_out) < 0.1
