import numpy as np

from search.climb import Climb


def test_steps_are_along_the_gradients_whatever_their_lengths():
    slopes = np.zeros((3, 6))
    slopes[0, 2], slopes[1, 0], slopes[2, 1] = 30.0, 1e-3, -1.0
    asked = Climb(np.ones(6), slopes, 4000, 0.1).ask(0) - 1
    assert (asked[:, 3:] == 0).all()
    np.testing.assert_allclose(np.square(asked).mean(0)[:3], 6 * 0.1**2, rtol=0.1)


def test_it_learns_the_direction_that_brings_most_and_goes_on_at_the_best():
    slopes = np.eye(3, 8)
    climb = Climb(np.zeros(8), slopes, 8, 0.1)
    way = []
    for seed in range(12):
        codes = climb.ask(seed)
        order = np.argsort(codes[:, 0] - codes[:, 1])  # along the second gradient and against the first
        climb.tell(codes, np.broadcast_to(slopes, (8, 3, 8)), np.argsort(order))
        way.append(codes[order[0]])
    steps = np.diff(way, axis=0)
    assert (steps[-4:, 0] < -0.1).all() and (steps[-4:, 1] > 0.1).all()
    assert np.linalg.norm(steps[-1]) > np.linalg.norm(steps[0])
