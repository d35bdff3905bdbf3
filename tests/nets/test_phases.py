"""The predicted collapse of the E-VAE, against numbers that were computed apart from it."""

import pytest
import torch

from nets.linear_vae import linear_vae
from nets.losses import reconstruction
from nets.phases import Branch, Phases, phases
from physics.chiral import ChiralMagnet

SPECTRUM = torch.linspace(0.6, 0, 300)
KNOWN = Phases(SPECTRUM, 10, -0.2222, Branch(0.303, -0.2), Branch(0.47, -0.2233))


def test_branches_have_equal_losses_where_they_cross():
    gamma = KNOWN.gamma_u
    assert gamma == pytest.approx(7.17, abs=0.01)
    assert 0.303 - 0.2 * gamma == pytest.approx(0.47 - 0.2233 * gamma)
    gamma = KNOWN.gamma_x(1e-3)
    assert linear_vae(SPECTRUM, 1e-3, 10).loss - 0.2222 * gamma == pytest.approx(0.47 - 0.2233 * gamma)
    assert KNOWN.beta_c == pytest.approx(2 * 0.6 / 300)
    assert KNOWN.gamma_x(1e-4) > KNOWN.gamma_x(1e-3)


def test_branches_that_do_not_meet_have_no_crossing():
    assert KNOWN._replace(energy=-0.23).gamma_x(1e-3) == float("inf")


def test_branches_of_configurations_are_those_of_their_decoders():
    """As the losses measure a decoder that makes one state, over the data and all of their translates."""
    torch.manual_seed(0)
    spins = torch.nn.functional.normalize(torch.randn(50, 3, 8, 8) + torch.tensor([0, 0, 0.8])[:, None, None], dim=1)
    model = ChiralMagnet(D=0.6, B=0.2)
    found = phases(spins, SPECTRUM, model, 10)
    energies = model.observables["energy"].measure(spins)
    lowest = spins[energies.argmin()]
    mean = spins.mean((0, 2, 3))
    uniform = (mean / mean.norm())[:, None, None].expand(3, 8, 8)
    for branch, state in ((found.uniform, uniform), (found.ground, lowest)):
        shifted = [state.roll((dy, dx), (1, 2)).expand_as(spins) for dy in range(8) for dx in range(8)]
        expected = sum(reconstruction(made, spins).item() for made in shifted) / 64
        assert branch.reconstruction == pytest.approx(expected, rel=1e-4)
    assert found.ground.energy == pytest.approx(energies.min().item())
    assert found.uniform.energy == pytest.approx(-0.2 * float(uniform[2, 0, 0]), abs=1e-5)
    assert found.energy == pytest.approx(energies.mean().item(), rel=1e-5)
