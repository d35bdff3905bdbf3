import itertools
import math

import numpy as np
import pytest
import torch

from physics.chiral import ChiralMagnet
from physics.observables import magnetization, topological_charge
from physics.replicas import relax
from physics.textures import (
    lattice_sites,
    skyrmion_interstitial,
    skyrmion_lattice,
    skyrmions,
    spiral,
    spiral_energy,
)

L = 128
SPIRALS = {(3, 5): -0.0443619, (4, 4): -0.0443404, (4, 5): -0.0442990, (1, 6): -0.0440565}


@pytest.fixture(params=("bloch", "neel"))
def dm(request):
    return request.param


@pytest.mark.parametrize("D", [0.3, -0.3])
@pytest.mark.parametrize("wave", SPIRALS)
def test_spirals_have_the_exact_energy_at_every_site_and_are_at_rest(dm, D, wave):
    magnet = ChiralMagnet(D=D, dm=dm)
    spins = torch.from_numpy(spiral(magnet, L, *wave))
    assert spiral_energy(magnet, L, *wave) == pytest.approx(SPIRALS[wave], abs=1e-7)
    expected = torch.full((L, L), spiral_energy(magnet, L, *wave) - 2, dtype=torch.float64)
    torch.testing.assert_close(magnet.energy_density(spins), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(spins.norm(dim=0), torch.ones(L, L, dtype=torch.float64))
    assert magnet.torque(spins).max() < 1e-12


def test_the_best_spiral_has_site_energy_minus_2_04436():
    magnet = ChiralMagnet(D=0.3)
    density = magnet.energy_density(torch.from_numpy(spiral(magnet, L, 3, 5)))
    assert density.mean().item() == pytest.approx(-2.04436, abs=5e-6)


def test_the_best_commensurate_spiral_is_3_5():
    magnet = ChiralMagnet(D=0.3)
    waves = itertools.product(range(-L // 2, L // 2), repeat=2)
    energy, m, n = min((spiral_energy(magnet, L, *wave), *wave) for wave in waves)
    assert energy == pytest.approx(-0.0443619, abs=1e-7)
    assert {abs(m), abs(n)} == {3, 5}


def test_the_best_spirals_of_the_infinite_lattice():
    magnet, fine = ChiralMagnet(D=0.3), 10**7
    along_axis = round(fine / magnet.period)
    diagonal = round(fine * math.atan(0.3 / math.sqrt(2)) / (2 * math.pi))
    assert spiral_energy(magnet, fine, along_axis, 0) == pytest.approx(-0.0440307, abs=1e-7)
    assert spiral_energy(magnet, fine, diagonal, diagonal) == pytest.approx(-0.0445048, abs=1e-7)


IN_FIELD = {(5, 6): -0.05748, (4, 6): -0.05721, (4, 8): -0.05700, (6, 6): -0.05691}


def test_relaxed_skyrmion_lattices_have_the_known_energies_and_charges(dm):
    magnet = ChiralMagnet(D=0.3, B=0.05, dm=dm)
    made = [skyrmion_lattice(magnet, L, *shape) for shape in IN_FIELD]
    spins = torch.from_numpy(relax(magnet, np.stack(made)))
    np.testing.assert_allclose(magnet.energy(spins).numpy(), list(IN_FIELD.values()), atol=1e-5)
    np.testing.assert_allclose(topological_charge(spins).numpy(), [-30, -24, -32, -36], atol=1e-3)


def test_an_interstitial_is_one_more_skyrmion_and_costs_energy(dm):
    magnet = ChiralMagnet(D=0.3, B=0.05, dm=dm)
    spins = torch.from_numpy(relax(magnet, skyrmion_interstitial(magnet, L, 5, 6)[None]))
    assert topological_charge(spins).item() == pytest.approx(-31, abs=1e-3)
    assert IN_FIELD[5, 6] < magnet.energy(spins) < IN_FIELD[4, 6]


def test_skyrmion_lattices_relaxed_without_field_keep_the_known_magnetization():
    magnet = ChiralMagnet(D=0.3)
    made = np.stack([skyrmion_lattice(magnet, L, columns, 6) for columns in (5, 6)])
    spins = torch.from_numpy(relax(magnet, made))
    np.testing.assert_allclose(magnet.energy(spins).numpy(), (-0.0407, -0.0394), atol=5e-5)
    np.testing.assert_allclose(magnetization(spins)[:, 2].numpy(), (0.171, 0.204), atol=5e-4)


def test_one_skyrmion_has_its_core_down_where_it_was_put(dm):
    magnet = ChiralMagnet(dm=dm)
    spins = skyrmions(magnet, 32, [(5, 20)], 8)
    np.testing.assert_allclose(np.linalg.norm(spins, axis=0), 1)
    assert np.unravel_index(spins[2].argmin(), (32, 32)) == (20, 5)
    assert spins[2, 20, 5] == pytest.approx(-1)
    assert spins[2, 4, 21] == pytest.approx(1)


@pytest.mark.parametrize("D", [0.6, -0.6])
def test_a_skyrmion_turns_the_way_that_lowers_the_energy(dm, D):
    lower, higher = ChiralMagnet(D=D, dm=dm), ChiralMagnet(D=-D, dm=dm)
    spins = torch.from_numpy(skyrmions(lower, 32, [(16, 16)], 8))
    assert lower.energy(spins) < ChiralMagnet(D=0).energy(spins) < higher.energy(spins)


def test_lattice_sites_are_a_triangular_lattice_on_the_torus():
    centres = np.array(lattice_sites(60, 5, 6))
    offsets = (centres[:, None] - centres + 30) % 60 - 30
    distances = np.sort(np.hypot(*np.moveaxis(offsets, -1, 0)))
    assert centres.shape == (30, 2)
    np.testing.assert_allclose(distances[:, 1:7], np.tile([math.hypot(6, 10)] * 4 + [12] * 2, (30, 1)))


def test_an_odd_number_of_rows_is_refused():
    with pytest.raises(ValueError, match="even number of rows, found 5"):
        lattice_sites(L, 6, 5)
