import numpy as np

from search.front import on_front


def test_no_point_of_the_front_is_beaten_in_everything():
    costs = np.array([[0, 3], [1, 1], [1, 1], [2, 1], [3, 0], [3, 3], [-1, np.nan]])
    assert on_front(costs).tolist() == [True, True, True, False, True, False, False]
    assert on_front(costs[:6, :1]).tolist() == [True, False, False, False, False, False]
