import numpy as np
import pytest

from search.front import on_front


def test_no_point_of_the_front_is_beaten_in_everything():
    costs = np.array([[0, 3], [1, 1], [1, 1], [2, 1], [3, 0], [3, 3], [-1, np.nan]])
    assert on_front(costs).tolist() == [True, True, True, False, True, False, False]
    assert on_front(costs[:6, :1]).tolist() == [True, False, False, False, False, False]


@pytest.mark.parametrize("values", [1, 2, 3, 5])
def test_it_is_the_front_of_its_definition(values):
    rng = np.random.default_rng(values)
    costs = rng.integers(0, 8, (300, values)).astype(float)
    costs[rng.random(costs.shape) < 0.02] = np.nan
    better = [((costs <= one).all(1) & (costs < one).any(1)).any() for one in costs]
    assert np.array_equal(on_front(costs), ~np.isnan(costs).any(1) & ~np.array(better))
