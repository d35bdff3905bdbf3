import itertools
import math

import numpy as np
import pytest
import torch

from physics.chiral import ChiralMagnet
from physics.observables import (
    correlation,
    field_angle,
    kspace_mse,
    local_alignment,
    magnetization,
    nodal_points,
    structure_factor,
    topological_charge,
    topological_charge_continuum,
)
from physics.replicas import relax
from physics.textures import skyrmion_lattice, skyrmions, spiral
from physics.xy import XY

L = 32
MAGNET = ChiralMagnet(D=0.6)


def uniform(*direction):
    return torch.tensor(direction, dtype=torch.float64)[:, None, None].repeat(1, L, L)


def one_spiral(m, n):
    return torch.from_numpy(spiral(MAGNET, L, m, n))


@pytest.fixture(scope="module")
def relaxed_lattice():
    magnet = ChiralMagnet(D=0.6, B=0.2)
    return magnet, torch.from_numpy(relax(magnet, skyrmion_lattice(magnet, 64, 5, 6)[None]))


def test_magnetization_is_the_mean_spin(random_spins):
    spins = random_spins(2, L)
    expected = [[component.mean() for component in state] for state in spins.numpy()]
    np.testing.assert_allclose(magnetization(spins).numpy(), expected)


def test_topological_charge_is_an_integer_on_the_torus(random_spins):
    charge = topological_charge(random_spins(50, L))
    torch.testing.assert_close(charge, charge.round(), atol=1e-9, rtol=0)
    assert len(charge.round().unique()) > 5


def test_topological_charge_changes_sign_with_the_spins(random_spins):
    spins = random_spins(50, L)
    torch.testing.assert_close(topological_charge(-spins), -topological_charge(spins))


@pytest.mark.parametrize("dm", ["bloch", "neel"])
def test_skyrmions_with_the_core_down_count_minus_one_each(dm):
    magnet = ChiralMagnet(dm=dm)
    for centres in ([(9, 9)], [(9, 9), (24, 22)]):
        spins = torch.from_numpy(skyrmions(magnet, L, centres, 7))
        assert topological_charge(spins).item() == pytest.approx(-len(centres))
        assert topological_charge(spins, ChiralMagnet(boundary="open")).item() == pytest.approx(-len(centres))


def test_sites_outside_the_mask_carry_no_topological_charge():
    spins = torch.from_numpy(skyrmions(MAGNET, L, [(8, 16), (24, 16)], 7))
    mask = np.arange(L) < np.full((L, 1), L // 2)
    half = spins * torch.tensor(mask)
    assert topological_charge(half, ChiralMagnet(mask=mask)).item() == pytest.approx(-1)


def test_spirals_have_no_topological_charge():
    for wave in ((1, 0), (2, 3), (3, 3)):
        assert abs(topological_charge(one_spiral(*wave))) < 1e-9


def test_continuum_charge_is_close_to_the_integer_for_a_wide_skyrmion():
    spins = torch.from_numpy(skyrmions(MAGNET, 128, [(64, 64)], 50))
    assert topological_charge_continuum(spins).item() == pytest.approx(-1, abs=0.01)


@pytest.mark.parametrize("a", [(1, 1), (3, 0), (0, 2), (-1, 4)])
def test_correlation_of_a_spiral_is_the_cosine_of_its_phase(a):
    expected = math.cos(2 * math.pi * (2 * a[0] + 5 * a[1]) / L)
    assert correlation(one_spiral(2, 5), a).item() == pytest.approx(expected)


def test_structure_factor_of_a_spiral_is_two_peaks():
    expected = torch.zeros(L, L, dtype=torch.float64)
    expected[5, 2] = expected[-5, -2] = L**2 / 4
    torch.testing.assert_close(MAGNET.structure_factor(one_spiral(2, 5)), expected)


def test_structure_factor_obeys_parseval(random_spins):
    spins = random_spins(3, L)
    torch.testing.assert_close(structure_factor(spins[:, 2]).sum((-2, -1)), spins[:, 2].square().sum((-2, -1)))


def test_kspace_mse_is_the_mean_over_all_pairs(random_spins):
    spins = random_spins(5, L)
    modulus = [np.abs(np.fft.fft2(state[2])) / L for state in spins.numpy()]
    pairs = [((a - b) ** 2).mean() for a, b in itertools.combinations(modulus, 2)]
    assert kspace_mse(MAGNET.structure_factor(spins)).item() == pytest.approx(np.mean(pairs))


def test_kspace_mse_of_translates_is_zero(random_spins):
    state = random_spins(L)
    translates = torch.stack([torch.roll(state, step, (-2, -1)) for step in ((0, 0), (3, 1), (7, -9))])
    assert kspace_mse(MAGNET.structure_factor(translates)) < 1e-20


def test_kspace_mse_of_one_state_is_refused(random_spins):
    with pytest.raises(ValueError, match="at least 2 configurations, found 1"):
        kspace_mse(MAGNET.structure_factor(random_spins(1, L)))


DEFECTS = [(0, 0), (L - 1, 10), (15, L - 1), (20, 20)]


@pytest.mark.parametrize("direction", [(0, 0, -1), (1, 0, 0)], ids=["opposite", "perpendicular"])
def test_nodal_points_are_the_planted_defects(direction):
    spins = uniform(0, 0, 1)
    for y, x in DEFECTS:
        spins[:, y, x] = torch.tensor(direction)
    found = nodal_points(torch.stack((spins, uniform(0, 0, 1))), ChiralMagnet(D=0))
    assert sorted(map(tuple, found[0].nonzero().tolist())) == sorted(DEFECTS)
    assert found.sum((-2, -1)).tolist() == [len(DEFECTS), 0]


def test_a_spin_that_leans_by_45_degrees_is_no_nodal_point():
    spins = uniform(0, 0, 1)
    spins[:, 5, 5] = torch.tensor([math.sqrt(0.5), 0, math.sqrt(0.5)])
    assert not nodal_points(spins, ChiralMagnet(D=0)).any()
    assert nodal_points(spins, ChiralMagnet(D=0), threshold=0.5).sum() == 1


def test_a_relaxed_skyrmion_lattice_has_no_nodal_points(relaxed_lattice):
    magnet, spins = relaxed_lattice
    assert topological_charge(spins).item() == pytest.approx(-30, abs=1e-3)
    assert not nodal_points(spins, magnet).any()


def test_local_alignment_is_one_at_rest(relaxed_lattice):
    magnet, spins = relaxed_lattice
    assert local_alignment(spins, magnet).min() > 1 - 1e-6
    assert local_alignment(one_spiral(2, 1), MAGNET).min() > 1 - 1e-12


def test_local_alignment_is_the_cosine_to_the_field():
    spins, angle = uniform(0, 0, 1), 0.7
    spins[:, 4, 4] = torch.tensor([math.sin(angle), 0, math.cos(angle)])
    spins[:, 20, 20] = torch.tensor([0, 0, -1])
    alignment = local_alignment(spins, ChiralMagnet(D=0, B=0.3))
    assert alignment[4, 4].item() == pytest.approx(math.cos(angle))
    assert alignment[20, 20].item() == pytest.approx(-1)
    assert alignment[10, 10].item() == pytest.approx(1)


@pytest.mark.parametrize("wave", [(0, 0), (2, 1), (0, 3)])
def test_uniform_states_and_spirals_lie_along_their_fields(wave):
    assert field_angle(one_spiral(*wave), MAGNET).max() < 1e-12


def test_a_tilted_spin_and_its_neighbours_have_the_angles_to_the_sums_of_their_neighbours():
    spins, tilt = uniform(0, 0, 1), 0.7
    spins[:, 4, 4] = torch.tensor([math.sin(tilt), 0, math.cos(tilt)])
    spins[:, 20, 20] = torch.tensor([0, 0, -1])
    angle = field_angle(spins, ChiralMagnet(D=0))
    assert angle[4, 4].item() == pytest.approx(tilt)
    assert angle[20, 20].item() == pytest.approx(math.pi)
    beside = math.atan2(math.sin(tilt), 3 + math.cos(tilt))
    np.testing.assert_allclose([angle[4, 5], angle[3, 4]], beside)
    assert angle[10, 10] == 0


def test_the_angle_is_exact_where_the_cosine_is_one():
    spins, tilt = uniform(0, 0, 1), 1e-6
    spins[:, 4, 4] = torch.tensor([math.sin(tilt), 0, math.cos(tilt)], dtype=torch.float64)
    assert field_angle(spins, ChiralMagnet(D=0, B=0.3))[4, 4].item() == pytest.approx(tilt, rel=1e-9)


def test_planar_spins_have_angles_as_well():
    spins = torch.zeros(2, L, L, dtype=torch.float64)
    spins[0] = 1
    spins[:, 7, 7] = torch.tensor([math.cos(2.5), -math.sin(2.5)])
    angle = field_angle(spins, XY())
    assert angle[7, 7].item() == pytest.approx(2.5)
    assert angle[0, 0] == 0


def test_absent_sites_have_no_angle(disk, random_spins):
    magnet = ChiralMagnet(mask=disk(L))
    spins = random_spins(3, L) * torch.as_tensor(disk(L))
    assert field_angle(spins, magnet)[:, ~disk(L)].max() == 0
