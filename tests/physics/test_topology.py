import numpy as np
import torch
from scipy.spatial.distance import cdist

from physics.observables import correlation_function, distances
from physics.topology import FILTRATION, betti_numbers, graph_reach, minkowski

L = 8


def field(angle):
    return torch.stack((torch.cos(angle), torch.sin(angle)), -3)


def random_field(n=3):
    return field(2 * torch.pi * torch.rand(n, L, L, generator=torch.Generator().manual_seed(0), dtype=torch.float64))


def test_parallel_spins_are_one_whole_torus():
    spins = field(torch.zeros(1, L, L, dtype=torch.float64))
    for name, expected in (("area", L * L), ("perimeter", 0), ("euler_characteristic", 0)):
        assert (minkowski(spins)[name] == expected).all(), name
    assert (graph_reach(spins)["radius"] == L).all() and (graph_reach(spins)["diameter"] == L).all()
    found = betti_numbers(spins)
    assert (found["components"] == 1).all() and (found["loops"] == 2).all()


def test_the_euler_characteristic_is_components_less_loops_until_the_torus_is_closed():
    spins = random_field()
    chi, betti = minkowski(spins)["euler_characteristic"], betti_numbers(spins)
    closed = minkowski(spins)["area"] == L * L
    assert torch.equal(chi, betti["components"] - betti["loops"] + closed)
    assert (minkowski(spins)["area"].diff() >= 0).all() and (betti["components"].diff() <= 0).all()


def test_a_row_of_parallel_spins_is_a_ring():
    """All spins point away from their neighbours, but for those of a row."""
    angle = 1.5 * ((torch.arange(L)[:, None] + torch.arange(L)) % 2).double()
    angle[3] = 0.75
    small = np.flatnonzero(FILTRATION < 0.5)[-1]
    spins = field(angle)[None]
    assert minkowski(spins)["perimeter"][0, small] == 2 * L
    assert graph_reach(spins)["diameter"][0, small] == L // 2
    assert betti_numbers(spins)["loops"][0, small] == 1
    assert betti_numbers(spins)["components"][0, small] == L * L - L + 1


def test_the_correlation_function_is_the_mean_over_pairs():
    spins = random_field(2)
    at, _ = distances(L)
    y, x = np.mgrid[:L, :L].reshape(2, -1)
    step = [np.minimum(d, L - d) for d in (np.abs(np.subtract.outer(c, c)) for c in (y, x))]
    apart = np.hypot(*step)
    flat = spins.flatten(2).numpy()
    for state, found in zip(flat, correlation_function(spins), strict=True):
        dots = state.T @ state
        expected = [dots[np.abs(apart - r) < 1e-9].mean() for r in at]
        np.testing.assert_allclose(found, expected, atol=1e-12)
    assert cdist(at[:, None], np.unique(np.round(apart, 9))[:, None]).min(1).max() < 1e-8
