"""The boundary sampler's mathematics, on functions whose boundary is known."""

import itertools

import numpy as np
import pytest

from search.level_set import Surface, from_level, next_point, straddle
from search.space import Range

FINE = (np.stack(np.meshgrid(*[np.arange(60)] * 2), -1).reshape(-1, 2) + 0.5) / 60
COUNT = 36


def phases(points):
    """A plateau that ends in a cliff along a curve and falls by decades there, as the diversity of an E-VAE does."""
    x, y = points.T
    distance = y - 0.75 + 0.45 * x**2
    return 10.0 ** (-3 * (1 + np.tanh(15 * distance)) / 2)


def wave(points):
    x, y = points.T
    return np.sin(5 * x) + np.cos(4 * y) - 0.4


def wrong(points, function, level):
    """The area on the wrong side of the boundary of a surface through the points."""
    surface = Surface(points, from_level(function(points), level))
    return ((surface(FINE)[0] > 0) != (function(FINE) > level)).mean()


def searched(function, level, batch, seed):
    """Points found by the straddle, ``batch`` at a time."""
    rng = np.random.default_rng(seed)
    points = rng.random((8, 2))
    while len(points) < COUNT:
        surface = Surface(points, from_level(function(points), level))
        pending = np.empty((0, 2))
        for _ in range(batch):
            pending = np.vstack((pending, next_point(surface.believing(pending), rng)))
        points = np.vstack((points, pending))
    return points[:COUNT]


@pytest.mark.parametrize(("function", "level"), [(phases, 0.1), (wave, 0.0)])
@pytest.mark.parametrize("seed", range(3))
def test_the_boundary_is_nearer_than_by_a_grid_of_as_many_points(function, level, seed):
    side = (np.arange(6) + 0.5) / 6
    grid = np.array(list(itertools.product(side, side)))
    assert wrong(searched(function, level, 4, seed), function, level) < 0.7 * wrong(grid, function, level)


def test_points_of_a_batch_keep_apart():
    points = searched(wave, 0.0, 4, 0)
    batches = points[8:].reshape(-1, 4, 2)
    apart = [np.linalg.norm(a - b) for batch in batches[:3] for a, b in itertools.combinations(batch, 2)]
    assert min(apart) > 0.05


def test_a_surface_goes_through_its_values_and_knows_how_little_it_knows():
    x = np.linspace(0, 0.5, 8)[:, None]
    mean, deviation = (surface := Surface(x, np.sin(6 * x[:, 0])))(np.array([[0.25], [1.0]]))
    assert mean[0] == pytest.approx(np.sin(1.5), abs=0.05)
    assert deviation[1] > 5 * deviation[0]
    told = surface.believing(np.array([[1.0]]))(np.array([[1.0]]))
    assert told[0] == pytest.approx(mean[1], abs=1e-2)
    assert told[1] < 0.3 * deviation[1]


def test_values_are_compared_in_decades_with_a_positive_level():
    assert from_level(np.array([1.0, 0.1, 0.01, 1e-9, 0.0, -1.0]), 0.1) == pytest.approx([1, 0, -1, -2, -2, -2])
    assert from_level(np.array([1.0, -2.0]), -1.0) == pytest.approx([2, -1])
    assert straddle(np.array([0.0, 1.0]), np.array([1.0, 1.0])).tolist() == pytest.approx([1.96, 0.96])


@pytest.mark.parametrize(
    ("kind", "bounds", "middle"), [("uniform", [1, 3], 2), ("log_uniform", [1, 100], 10), ("integer", [2, 8], 5)]
)
def test_a_place_in_a_range_and_back(kind, bounds, middle):
    values = Range.model_validate({kind: bounds})
    assert [values.from_unit(u) for u in (0, 0.5, 1)] == pytest.approx([bounds[0], middle, bounds[1]])
    assert values.to_unit(middle) == pytest.approx(0.5)
