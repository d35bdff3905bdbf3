import json

import numpy as np
import pytest
import torch
from scipy import stats

from nets.vae import VAE, VAEConfig
from physics.hamiltonian import Hamiltonian
from physics.textures import skyrmion_lattice, spiral
from search.genetic import Genetic
from search.gradient import ascend
from search.objectives import OBJECTIVES, objective

H = Hamiltonian(D=0.6, B=0.2)
TARGET = np.linspace(-1, 1, 20)


def sphere(codes):
    return -np.square(codes - TARGET).sum(1)


def evolve(search, generations):
    for _ in range(generations):
        codes = search.ask()
        search.tell(codes, sphere(codes))
    return search


def uniform(sign):
    spins = torch.zeros(1, 3, 32, 32)
    spins[:, 2] = sign
    return spins


def test_objectives_of_known_states():
    up, stripes = uniform(1.0), torch.from_numpy(spiral(H, 32, 2, 2)).float()[None]
    lattice = torch.from_numpy(skyrmion_lattice(H, 32, 2, 2)).float()[None]
    assert OBJECTIVES["mz_max"](up, H) == 1
    assert OBJECTIVES["mz_min"](up, H) == -1
    assert OBJECTIVES["energy_min"](up, H).item() == pytest.approx(0.2, abs=1e-5)
    assert OBJECTIVES["topological_charge_max"](lattice, H).item() == pytest.approx(4, abs=1e-4)
    assert OBJECTIVES["topological_charge_max"](stripes, H).item() == pytest.approx(0, abs=1e-4)
    along = torch.from_numpy(spiral(H, 32, 2, -2)).float()[None]
    assert OBJECTIVES["correlation_max"](along, H).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["nope", "math:nope", "no_such_module:f", "math:floor"])
def test_objectives_that_do_not_exist_are_refused(name):
    with pytest.raises(ValueError, match="objective"):
        objective(name)


def test_genetic_search_is_far_beyond_random_search():
    random = sphere(np.random.default_rng(0).standard_normal((50 * 100, 20))).max()
    assert evolve(Genetic(20, 50, mutation=0.02), 100).best[1] > 0.3 * random


def test_the_elite_is_never_lost():
    search, best = Genetic(20, 30, mutation=0.5), -np.inf
    for _ in range(30):
        evolve(search, 1)
        assert search.best[1] >= best
        best = search.best[1]


def test_the_wheel_turns_as_documented():
    n, draws = 10, 4000
    search = Genetic(1, population=n, pressure=3.0, mutation=0.0, elite=0, seed=1)
    counts = np.zeros(n)
    for _ in range(draws // n):
        search.codes, search.scores = np.arange(n, dtype=np.float32)[:, None], -np.arange(n, dtype=float)
        counts += np.bincount(search.ask()[:, 0].astype(int), minlength=n)
    wheel = np.exp(-3.0 * np.arange(n) / (n - 1))
    assert stats.chisquare(counts, draws * wheel / wheel.sum()).pvalue > 1e-3
    assert stats.chisquare(counts, np.full(n, draws / n)).pvalue < 1e-6


def test_a_restored_search_continues_exactly():
    whole = evolve(Genetic(20, 30, seed=2), 20)
    half = evolve(Genetic(20, 30, seed=2), 10).state()
    half["generator"] = json.loads(json.dumps(half["generator"]))
    continued = Genetic(20, 30, seed=99)
    continued.restore(half)
    assert np.array_equal(evolve(continued, 10).codes, whole.codes)


def test_a_score_that_is_not_a_number_ranks_last():
    search = Genetic(2, 3)
    codes = search.ask()
    search.tell(codes, np.array([np.nan, 1.0, 2.0]))
    assert np.array_equal(search.codes[-1], codes[0])


def test_ascent_reaches_the_optimum_and_codes_do_not_see_each_other():
    goal = torch.tensor([1.0, -2.0])
    score = lambda z: -(z - goal).square().sum(1)  # noqa: E731
    start = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    together, history = ascend(score, start, 600, 0.05)
    alone, _ = ascend(score, start[2:3], 600, 0.05)
    assert torch.allclose(together, goal.expand(5, 2), atol=1e-2)
    assert torch.allclose(together[2:3], alone, atol=1e-5)
    assert history.shape == (601, 5)


def test_ascent_returns_the_best_it_passed():
    best, history = ascend(lambda z: -z.square().sum(1), torch.full((1, 1), 0.05), 30, 0.5)
    assert -best.square().sum() == history.max()


def test_ascent_lowers_the_energy_of_decoded_states():
    torch.manual_seed(0)
    model = VAE(VAEConfig(L=16, latent=8)).eval().requires_grad_(False)
    _, history = ascend(lambda z: OBJECTIVES["energy_min"](model.decode(z), H), torch.randn(4, 8), 20, 0.05)
    assert (history.max(0).values > history[0] + 1e-3).all()
