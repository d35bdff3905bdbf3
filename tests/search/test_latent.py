import numpy as np
import pytest
import torch

from nets.metrics import measure
from physics.chiral import ChiralMagnet
from search.latent import from_peak, invert, line, peak_width, plane, steepest_barrier, survey


class Spiral:
    """Spins turn with a wave number that is the first component of the code, from a phase that is the second."""

    latent_dim = 3

    def decode(self, z, labels=None):
        phase = z[:, 0, None, None] * torch.linspace(0, 6, 16) + z[:, 1, None, None]
        phase = phase.expand(-1, 16, -1)
        return torch.stack((torch.zeros_like(phase), phase.sin(), phase.cos()), 1)


def test_a_plane_moves_two_components_and_leaves_the_others():
    ticks = torch.tensor([-1.0, 0.0, 1.0])
    codes = plane(torch.tensor([5.0, 6.0, 7.0, 8.0]), (2, 0), ticks)
    assert codes[0, 2].tolist() == [-1.0, 6.0, 1.0, 8.0]
    assert codes[2, 0].tolist() == [1.0, 6.0, -1.0, 8.0]
    for axes in ((1, 1), (0, 4), (-1, 2)):
        with pytest.raises(ValueError, match="expected two different ones below 4"):
            plane(torch.zeros(4), axes, ticks)


def test_a_line_is_straight_and_holds_both_ends():
    codes = line(torch.tensor([[0.0, 2.0], [4.0, 0.0]]), 5)
    assert codes.tolist() == [[0, 2], [1, 1.5], [2, 1], [3, 0.5], [4, 0]]


@pytest.mark.parametrize("transposed", [False, True])
def test_the_steepest_barrier_is_found_with_a_domain_on_each_side(transposed):
    energy = np.zeros((40, 40))
    energy[:, 25] = 1.0  # a barrier
    energy[10, 25] = 2.0  # highest here
    energy[30:, 30:] = 5.0  # a high plain is no barrier
    barrier = steepest_barrier(energy.T if transposed else energy, 4)
    expected = [(10, 21), (10, 25), (10, 29)]
    assert [barrier.before, barrier.on, barrier.beyond] == [place[::-1] if transposed else place for place in expected]
    assert barrier.height == 2.0
    with pytest.raises(ValueError, match="expected a map of more than"):
        steepest_barrier(energy, 20)


def test_inverse_mapping_finds_the_code_of_a_state():
    code = torch.tensor([0.7, 0.4, 0.0])
    target = Spiral().decode(code[None])[0]
    starts = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    found, losses = invert(Spiral(), target, starts, 300)
    assert losses[-1] < 1e-6
    assert losses[0] > 0.05
    assert (losses[1:] <= losses[:-1]).all()
    assert torch.allclose(found[:2], code[:2], atol=1e-2)
    with pytest.raises(ValueError, match=r"expected spins of shape \(3, 16, 16\), found \(3, 8, 8\)"):
        invert(Spiral(), torch.zeros(3, 8, 8), starts)


def test_a_survey_measures_what_every_code_decodes_to(monkeypatch):
    codes, model = torch.randn(7, 3, generator=torch.Generator().manual_seed(0)), ChiralMagnet(B=0.2)
    spins = Spiral().decode(codes)
    whole = survey(Spiral(), codes, model, discriminator=lambda spins: spins[:, 1, 0, 0])
    assert whole["logit"].tolist() == spins[:, 1, 0, 0].tolist()
    for name, values in measure(spins, model).items():
        assert whole[name].tolist() == pytest.approx(values.tolist(), abs=1e-6)
    monkeypatch.setattr("search.latent.SURVEYED", 3)
    parts = survey(Spiral(), codes, model)
    assert parts.index.tolist() == list(range(7))
    np.testing.assert_allclose(parts, whole.drop(columns="logit"), atol=1e-6)


def test_r_counts_steps_from_the_highest_energy():
    assert from_peak(np.array([0.0, 1.0, 3.0, 2.0])).tolist() == [-2, -1, 0, 1]


@pytest.mark.parametrize(
    ("energy", "width"),
    [
        ([0, 1, 2, 1, 0], 2.0),  # a triangle
        ([0, 0, 4, 0, 0], 1.0),
        ([0, 3, 4, 0, 0], 4 / 3 + 1 / 2),
        ([1, 2, 3, 2.5, 0], 1 + 1.2),  # over the higher end
        ([0, 1, 2, 3], np.nan),
        ([2, 2, 2], np.nan),
    ],
)
def test_a_peak_is_as_wide_as_at_half_of_its_height_over_the_higher_end(energy, width):
    assert peak_width(np.array(energy, float)) == pytest.approx(width, nan_ok=True)
