import numpy as np
import torch

from search.adam import Adam


def slopes(step):
    return np.random.default_rng(step).standard_normal((5, 3)).astype(np.float32)


def test_it_climbs_as_adam_of_torch_does():
    ours, theirs = np.zeros((5, 3), np.float32), torch.zeros(5, 3, requires_grad=True)
    adam, expected = Adam(ours.shape, 0.1), torch.optim.Adam([theirs], lr=0.1, maximize=True)
    for step in range(30):
        ours = ours + adam.step(slopes(step))
        theirs.grad = torch.from_numpy(slopes(step))
        expected.step()
        np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-4, atol=1e-5)


def test_a_row_that_starts_again_or_has_no_slope_does_not_touch_the_others():
    adam, fresh, kept = (Adam((5, 3), 0.1) for _ in range(3))
    for step in range(10):
        adam.step(slopes(step))
        kept.step(slopes(step))
    adam.forget(np.array([1]))
    found, expected = adam.step(slopes(10)), kept.step(slopes(10))
    np.testing.assert_array_equal(found[[0, 2, 3, 4]], expected[[0, 2, 3, 4]])
    np.testing.assert_array_equal(found[1], fresh.step(slopes(10))[1])


def test_a_row_without_a_slope_stays_as_if_it_had_not_been_asked():
    adam, other = Adam((5, 3), 0.1), Adam((5, 3), 0.1)
    unknown = slopes(0)
    unknown[2, 1] = np.nan
    assert (adam.step(unknown)[2] == 0).all()
    found, expected = adam.step(slopes(1)), other.step(slopes(1))
    np.testing.assert_array_equal(found[2], expected[2])
    assert (found[:2] != expected[:2]).all()
