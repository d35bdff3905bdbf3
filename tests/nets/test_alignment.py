import math

import numpy as np
import pytest
import torch

from nets.alignment import BINS, Alignment, reconstructed
from physics.chiral import ChiralMagnet

MAGNET = ChiralMagnet(D=0)


def one_tilted(tilt: float, L: int = 8) -> torch.Tensor:
    spins = torch.zeros(1, 3, L, L, dtype=torch.float64)
    spins[:, 2] = 1
    spins[0, :, 3, 3] = torch.tensor([math.sin(tilt), 0, math.cos(tilt)])
    return spins


def test_a_uniform_state_has_all_of_its_angles_at_zero():
    found = Alignment.of(one_tilted(0), MAGNET)
    assert found.counts.tolist() == [64] + [0] * (BINS - 1)
    assert found.density.sum() * 180 / BINS == pytest.approx(1)
    assert found.figures()["angle_95"] < 180 / BINS


def test_a_tilted_spin_and_its_four_neighbours_stand_where_their_angles_are():
    counts = Alignment.of(one_tilted(math.pi / 2 + 1e-3), MAGNET).counts
    assert counts[0] == 59 and counts.sum() == 64
    assert counts[int(90 * BINS / 180)] == 1
    beside = math.degrees(math.atan2(1, 3))
    assert counts[int(beside * BINS / 180)] == 4


def test_parts_joined_are_the_whole():
    spins = torch.cat([one_tilted(tilt) for tilt in (0, 1, 2, 3)])
    whole = Alignment.of(spins, MAGNET)
    parts = Alignment.joined([Alignment.of(spins[:1], MAGNET), Alignment.of(spins[1:], MAGNET)])
    assert np.array_equal(parts.counts, whole.counts)
    assert parts.figures() == pytest.approx(whole.figures())
    assert whole.figures()["energy"] == pytest.approx(MAGNET.energy(spins).mean().item())


def test_half_of_the_angles_lie_below_the_median():
    counts = np.zeros(BINS, int)
    counts[[4, 8]] = 30, 10
    assert Alignment(counts, 0, 1).quantile(0.6) == pytest.approx(4.8 * 180 / BINS)
    assert Alignment(counts, 0, 1).quantile(0.5) == pytest.approx((4 + 2 / 3) * 180 / BINS)


def test_sites_that_do_not_exist_have_no_angle(disk_of_8):
    magnet = ChiralMagnet(D=0, mask=disk_of_8)
    spins = one_tilted(0) * torch.from_numpy(disk_of_8)
    assert Alignment.of(spins, magnet).counts.sum() == disk_of_8.sum()


@pytest.fixture
def disk_of_8():
    y, x = np.mgrid[:8, :8] - 3.5
    return np.hypot(x, y) <= 4


class Halving:
    """An encoder and a decoder between which the code is the mean spin, sigma 1/2."""

    def encode(self, spins):
        mean = spins.mean((-2, -1))
        return mean, torch.full_like(mean, -2 * math.log(2))

    def decode(self, z, labels=None):
        return z[:, :, None, None].expand(-1, -1, 4, 4)


def test_a_reconstruction_is_decoded_from_the_mean_and_sigma_times_the_noise():
    spins = torch.randn(20, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    made = reconstructed(Halving(), Halving(), spins, noise, chunk=8)
    torch.testing.assert_close(made[..., 0, 0], spins.mean((-2, -1)) + 0.5 * noise)
