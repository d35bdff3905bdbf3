import numpy as np
import pytest
from scipy import stats

from search.stochastic import StochasticSettings


def test_the_first_codes_are_of_the_prior():
    codes = StochasticSettings(population=500).start(10, 0).ask()
    assert stats.kstest(codes.ravel(), "norm").pvalue > 1e-3


def test_the_weight_of_the_kl_divergence_is_a_tenth_after_every_decade():
    search = StochasticSettings(population=4, decade=10).start(2, 0)
    weights = []
    for _ in range(21):
        weights.append(search.kl_weight)
        codes = search.ask()
        search.tell(codes, np.zeros(4), np.zeros_like(codes))
    np.testing.assert_allclose([weights[0], weights[10], weights[20]], [1, 0.1, 0.01])
    assert (np.diff(weights) < 0).all()


def test_without_a_score_the_distribution_is_the_prior():
    """The KL divergence alone brings any mean and width back to 0 and 1."""
    search = StochasticSettings(population=4, learning_rate=0.05, decade=10**6).start(3, 0)
    search._gaussian = np.array([[1.0, -2.0, 0.5], [0.7, -1.0, 0.2]], np.float32)
    for _ in range(600):
        codes = search.ask()
        search.tell(codes, np.zeros(4), np.zeros_like(codes))
    np.testing.assert_allclose(search.mean, 0, atol=0.02)
    np.testing.assert_allclose(search.sigma, 1, atol=0.02)


def test_it_settles_where_score_and_kl_divergence_balance():
    """Of the score -a z^2 / 2 + b z: mu = b / (a + gamma), sigma^2 = gamma / (a + gamma)."""
    a, b, gamma = 3.0, 2.0, 1.0
    search = StochasticSettings(population=2000, learning_rate=0.02, decade=10**6).start(1, 0)
    for _ in range(400):
        codes = search.ask()
        search.tell(codes, (-0.5 * a * codes**2 + b * codes)[:, 0], b - a * codes)
    assert search.mean[0] == pytest.approx(b / (a + gamma), abs=0.03)
    assert search.sigma[0] == pytest.approx(np.sqrt(gamma / (a + gamma)), rel=0.03)


def test_it_ends_at_the_maximum_as_the_weight_goes():
    search = StochasticSettings(population=20, learning_rate=0.05, decade=60).start(4, 0)
    target = np.linspace(-1, 1, 4)
    for _ in range(400):
        codes = search.ask()
        search.tell(codes, -np.square(codes - target).sum(1), -2 * (codes - target))
    np.testing.assert_allclose(search.mean, target, atol=0.05)
    assert (search.sigma < 0.1).all()


def test_the_best_code_is_kept_when_later_ones_are_worse():
    search = StochasticSettings(population=4).start(2, 0)
    for score in (3.0, 1.0):
        codes = search.ask()
        search.tell(codes, np.full(4, score), np.zeros_like(codes))
    codes, scores = search.result()
    assert scores.tolist() == [3, 1, 1, 1, 1] and codes.shape == (5, 2)
