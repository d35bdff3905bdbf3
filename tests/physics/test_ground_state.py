"""How near a state is to the ground state: known textures, at rest and disturbed, turned and moved."""

import numpy as np
import pytest
import torch

from physics.chiral import ChiralMagnet
from physics.ground_state import at_rest, equal_searches, one_digit, reference_search
from physics.observables import wave_angle
from physics.textures import lattice_sites, skyrmions, spiral
from physics.xy import XY

L = 32
MAGNET = ChiralMagnet(D=0.6, B=0.2)


@pytest.fixture(scope="module")
def tempered():
    search = reference_search(MAGNET, L)
    return torch.from_numpy(search.sampler.sample(MAGNET, L, 0, range(search.runs)).spins)


@pytest.fixture(scope="module")
def ground(tempered):
    return tempered[MAGNET.energy(tempered).argmin()]


@pytest.mark.parametrize(("wave", "angle"), [((3, 0), 0), ((0, 3), 90), ((2, 2), 45), ((2, -2), 135), ((-1, 2), None)])
def test_the_angle_of_a_spiral_is_that_of_its_wave_vector(wave, angle):
    magnet = ChiralMagnet(D=0.6)
    factor = magnet.structure_factor(torch.from_numpy(spiral(magnet, L, *wave)))
    expected = np.degrees(np.arctan2(wave[1], wave[0])) % 180 if angle is None else angle
    assert wave_angle(factor).item() == pytest.approx(expected)
    assert wave_angle(torch.stack((factor, factor))).shape == (2,)


def test_the_uniform_part_is_no_wave_vector():
    z = 5 + torch.cos(2 * torch.pi * 4 * torch.arange(L) / L)[:, None].expand(L, L)
    assert wave_angle(torch.fft.fft2(z).abs().square()).item() == 90


def disturbed(spins, by):
    noise = by * torch.randn(spins.shape, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.normalize(spins + noise, dim=0)


def test_a_state_at_rest_stays_and_a_disturbed_one_comes_back(ground):
    still, back = at_rest(MAGNET, ground), at_rest(MAGNET, disturbed(ground, 0.2))
    assert still["energy"] == pytest.approx(still["energy_at_rest"], abs=1e-6)
    assert still["energy"] == pytest.approx(MAGNET.energy(ground.double()).item())
    assert back["energy"] > still["energy"] + 0.01
    assert back["energy_at_rest"] == pytest.approx(still["energy"], abs=1e-6)
    assert still["charge_at_rest"] == pytest.approx(-6) and still["angle_modulo"] == 60


def test_a_saddle_is_left_for_the_state_of_rest_below_it():
    """A square lattice of 8 skyrmions rests by its symmetry alone."""
    square = torch.from_numpy(skyrmions(MAGNET, L, lattice_sites(L, 2, 4), 5))
    found = at_rest(MAGNET, disturbed(square, 0.2))
    assert found["energy_at_rest"] < at_rest(MAGNET, square)["energy_at_rest"] - 5e-4
    assert found["charge_at_rest"] == pytest.approx(-8)


def test_orientation_is_that_of_the_state_turned_by_90_degrees_and_moved(ground):
    found = at_rest(MAGNET, ground)
    moved = at_rest(MAGNET, torch.roll(ground, (3, 7), (-2, -1)))
    assert moved["angle"] == pytest.approx(found["angle"])
    quarter = MAGNET.symmetries(L)["quarter turn of lattice and spins"]
    assert at_rest(MAGNET, quarter(ground))["angle"] == pytest.approx((found["angle"] + 90) % 60)


def test_stripes_have_their_angle_modulo_180_degrees():
    magnet = ChiralMagnet(D=0.6)
    found = at_rest(magnet, torch.from_numpy(spiral(magnet, L, -2, 2)))
    assert (found["angle"], found["angle_modulo"]) == (135, 180)
    assert found["energy"] == pytest.approx(found["energy_at_rest"], abs=1e-6)
    assert found["charge_at_rest"] == pytest.approx(0, abs=1e-6)


def test_tempering_finds_the_ground_state_that_is_known_in_every_run(tempered):
    energies = MAGNET.energy(tempered.double())
    assert energies.min().item() == pytest.approx(-0.223309, abs=5e-7)
    assert energies.max() < -0.22330


@pytest.mark.parametrize("updates", [1e8, 3e9, 1e12])
def test_searches_cost_what_they_are_allowed_in_numbers_of_one_digit(updates):
    found = equal_searches(MAGNET, L, updates)
    assert found.keys() == {"annealing", "tempering"}
    for name, search in found.items():
        assert search.spin_updates(L) == pytest.approx(updates, rel=0.5), name
    assert len(str(found["annealing"].sampler.sweeps).rstrip("0")) == 1
    assert len(str(found["tempering"].sampler.rounds).rstrip("0")) == 1
    tenfold = equal_searches(ChiralMagnet(J=10, D=6, B=2), L, updates)
    assert tenfold["tempering"].sampler.T_max == 10 * found["tempering"].sampler.T_max
    assert tenfold["annealing"].sampler.T_end == pytest.approx(10 * found["annealing"].sampler.T_end)


def test_numbers_of_one_digit():
    assert [one_digit(number) for number in (0, 0.3, 1, 14, 16, 950, 1449)] == [1, 1, 1, 10, 20, 1000, 1000]


def test_a_spin_model_that_tempering_does_not_sample_is_refused():
    for search in (lambda: reference_search(XY(), 16), lambda: equal_searches(XY(), 16, 1e9)):
        with pytest.raises(ValueError, match="expected a ChiralMagnet, found XY"):
            search()
