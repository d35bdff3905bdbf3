import numpy as np
import pytest
from pydantic import ValidationError

from search.front import on_front
from search.pareto import ParetoSettings, points_of_view, uncrowded


def told(codes, bend):
    """Two values of the first component and of the length of the rest; the front is y = 1 - x^bend, the rest 0."""
    x, rest = codes[:, 0] / 2 + 0.5, np.square(codes[:, 1:]).sum(1)
    place = np.clip(x, 1e-3, 1)
    values = np.stack((x - rest - 9 * np.maximum(x - 1, 0) ** 2, -(1 - place**bend - rest)), 1)  # the second small
    slopes = np.zeros((len(codes), 2, codes.shape[1]))
    slopes[:, 0, 0] = 0.5 - 9 * np.maximum(x - 1, 0)
    slopes[:, 1, 0] = 0.5 * bend * place ** (bend - 1) * ((x > 1e-3) & (x < 1))
    slopes[:, 0, 1:], slopes[:, 1, 1:] = -2 * codes[:, 1:], 2 * codes[:, 1:]
    return values, slopes


@pytest.mark.parametrize("bend", [2.0, 0.5])
def test_the_whole_front_is_found_whichever_way_it_is_bent(bend):
    search = ParetoSettings(population=32, against=("energy_min",)).start(5, 0)
    for _ in range(200):
        codes = search.ask()
        search.tell(codes, *told(codes, bend))
    x, y = search.values.T
    inside = (x > 0.02) & (x < 0.98)
    assert np.abs(y[inside] - (1 - x[inside] ** bend)).max() < 0.03
    assert np.diff(np.sort(np.append(x[inside], (0, 1)))).max() < 0.08


def searched(**settings):
    """A search, and all values that it was told."""
    search, met = ParetoSettings(population=16, **settings).start(5, 1), []
    for _ in range(40):
        codes = search.ask()
        values, slopes = told(codes, 1.5)
        met.append(values * (1, -1))
        search.tell(codes, values, slopes)
    return search, np.concatenate(met)


def test_no_state_of_the_front_is_beaten_and_it_falls_from_the_best_of_the_objective():
    search, met = searched(front=2000)
    assert (np.diff(search.values[:, 0]) < 0).all() and (np.diff(search.values[:, 1]) > 0).all()
    as_good = (met[None] >= search.values[:, None]).all(2)
    better = (met[None] > search.values[:, None]).any(2)
    assert as_good.any(1).all() and not (as_good & better).any()


def test_a_front_with_no_more_room_keeps_its_ends():
    search, met = searched(front=20)
    assert len(search.front) == 20 and on_front(-search.values).all()
    np.testing.assert_allclose(search.values.max(0), met.max(0))


def test_crowded_points_leave_first_and_the_ends_stay():
    values = np.stack((np.array([0, 0.1, 0.11, 0.12, 0.5, 1.0]), 1 - np.array([0, 0.1, 0.11, 0.12, 0.5, 1.0])), 1)
    assert uncrowded(values, 4).tolist() == [0, 1, 4, 5] or uncrowded(values, 4).tolist() == [0, 3, 4, 5]
    assert uncrowded(values, 9).tolist() == [0, 1, 2, 3, 4, 5]


def test_points_of_view_reach_from_one_value_to_the_other():
    np.testing.assert_allclose(points_of_view(3, 2), [[0, 1], [0.5, 0.5], [1, 0]])
    three = points_of_view(50, 3)
    np.testing.assert_allclose(three.sum(1), 1)
    np.testing.assert_array_equal(three[:3], np.eye(3))


def test_what_is_no_observable_with_a_direction_is_refused():
    with pytest.raises(ValidationError, match="expected observables with _max or _min, found 'energy'"):
        ParetoSettings(against=("energy",))
