import numpy as np
import pytest
import torch

from nets.sampling import prior
from search.prior import on_shell, thickness


def radius(z):
    return z.norm(dim=1) / z.shape[1] ** 0.5


@pytest.mark.parametrize("d", [4, 64, 128, 1000])
def test_codes_of_the_prior_hardly_move_and_all_others_end_in_its_shell(d):
    z = torch.from_numpy(prior(2000, d, 0))
    assert (on_shell(z) - z).norm(dim=1).mean() / z.norm(dim=1).mean() < (0.03 if d >= 64 else 0.1)
    for scale in (1e-3, 0.3, 3.0, 100.0):
        moved = on_shell(scale * z)
        assert ((radius(moved) - 1).abs() <= thickness(d) + 1e-5).all()
        torch.testing.assert_close(torch.cosine_similarity(moved, z), torch.ones(2000))


def test_the_map_is_smooth_and_keeps_the_order_of_lengths():
    ray = torch.nn.functional.normalize(torch.from_numpy(prior(1, 64, 0)), dim=1)
    lengths = radius(on_shell(torch.linspace(0.01, 16, 500, dtype=torch.float64)[:, None] * ray.double()))
    assert (lengths.diff() > 0).all()
    z = 2 * torch.from_numpy(prior(3, 64, 1)).double().requires_grad_()
    assert torch.autograd.gradcheck(on_shell, z)


def test_a_code_at_the_origin_stays_a_number():
    assert np.isfinite(on_shell(torch.zeros(1, 64)).numpy()).all()


def test_the_shell_is_three_standard_deviations_of_the_length_either_way():
    assert thickness(128) == pytest.approx(3 / 16) and thickness(4) == 0.9
    lengths = radius(torch.from_numpy(prior(20_000, 128, 0)))
    assert thickness(128) == pytest.approx(3 * lengths.std().item(), rel=0.03)
    assert radius(on_shell(100 * torch.ones(1, 128))).item() == pytest.approx(1 + 3 / 16, rel=1e-3)
