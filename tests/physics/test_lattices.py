import math

import numpy as np
import pytest
import torch

from physics.chiral import ChiralMagnet
from physics.lattices import Cell, cells, hole, interstitial, skyrmion_ground_state
from physics.observables import topological_charge
from physics.replicas import relax
from physics.textures import lattice_sites, skyrmion_lattice

MAGNET = ChiralMagnet(D=0.6, B=0.2)
FLIPPED = ChiralMagnet(D=0.6, B=-0.2)


@pytest.mark.parametrize(("n", "divisors"), [(1, 1), (6, 12), (7, 8), (30, 72)])
def test_a_torus_has_as_many_lattices_as_the_divisors_add_up_to(n, divisors):
    found = list(cells(n))
    assert len(found) == divisors
    shapes = {frozenset(map(tuple, np.round(cell.points(1), 6) % 1)) for cell in found}
    assert len(shapes) == divisors


@pytest.mark.parametrize("cell", [Cell(5, 3, 6), Cell(1, 4, 6), Cell(2, 1, 3)])
def test_points_are_a_lattice_on_the_torus(cell):
    """The sum of any two points is a point."""
    points = cell.points(1)
    sums = (points[:, None] + points).reshape(-1, 2)
    apart = np.abs((sums[:, None] - points + 0.5) % 1 - 0.5).max(-1).min(1)
    assert apart.max() < 1e-9
    assert len(points) == cell.a * cell.c


def test_one_cell_is_the_lattice_of_rows_moved_by_half_a_step():
    points = {tuple(point) for point in np.round(Cell(5, 3, 6).points(60), 6)}
    rows = {tuple(point) for point in np.round(np.array(lattice_sites(60, 5, 6)) % 60, 6)}
    assert points == rows


def test_spacing_is_one_in_a_triangular_lattice_and_less_in_a_square_one():
    assert Cell(2, 0, 2).spacing() == pytest.approx(math.sqrt(math.sqrt(3) / 2))
    assert Cell(7, 4, 8).spacing() == pytest.approx(1, abs=0.01)


def test_a_hole_is_the_middle_of_a_square():
    assert hole(Cell(2, 0, 2).points(32), 32).tolist() == [8, 8]


@pytest.mark.parametrize("dm", ["bloch", "neel"])
def test_the_lattice_is_at_rest_and_no_lower_state_was_found_by_tempering(dm):
    magnet = ChiralMagnet(D=0.6, B=0.2, dm=dm)
    spins = torch.from_numpy(skyrmion_ground_state(magnet, 32).spins).double()
    assert magnet.energy(spins).item() == pytest.approx(-0.223309, abs=2e-6)  # of two tempering runs of 3,000 rounds
    assert topological_charge(spins).item() == pytest.approx(-6, abs=1e-3)
    assert magnet.torque(spins).max() < 2e-4


def test_the_lattice_is_no_higher_than_those_of_rows():
    made = np.stack([skyrmion_lattice(MAGNET, 48, *shape) for shape in ((4, 4), (3, 4), (5, 4))])
    rows = MAGNET.energy(torch.from_numpy(relax(MAGNET, made)).double())
    assert MAGNET.energy(torch.from_numpy(skyrmion_ground_state(MAGNET, 48).spins).double()) <= rows.min() + 1e-6


def test_an_interstitial_is_one_more_skyrmion_at_rest_and_costs_energy():
    found = [torch.from_numpy(make()).double() for make in MAGNET.known_states(32).values()]
    lattice, defect = found
    assert topological_charge(defect).item() == pytest.approx(topological_charge(lattice).item() - 1, abs=1e-3)
    assert MAGNET.energy(defect) > MAGNET.energy(lattice) + 1e-4
    assert MAGNET.torque(defect).max() < 2e-4


@pytest.mark.parametrize("state", ["lattice", "interstitial"])
def test_a_field_downward_turns_every_spin(state):
    up, down = (magnet.known_states(32)[state]() for magnet in (MAGNET, FLIPPED))
    assert np.array_equal(down, -up)
    energies = [magnet.energy(torch.from_numpy(spins)) for magnet, spins in ((MAGNET, up), (FLIPPED, down))]
    assert energies[0] == pytest.approx(energies[1])


@pytest.mark.parametrize(
    ("magnet", "said"),
    [
        (ChiralMagnet(boundary="open"), "expected a periodic magnet with D"),
        (ChiralMagnet(D=0), "expected a periodic magnet with D"),
        (ChiralMagnet(D=0.6, B=2.0), "no lattice of skyrmions is stable in D0.6-B2"),
    ],
)
def test_a_magnet_without_a_lattice_is_refused(magnet, said):
    with pytest.raises(ValueError, match=said):
        skyrmion_ground_state(magnet, 16)


def test_the_states_of_a_model_are_copies():
    make = MAGNET.known_states(32)["interstitial"]
    make()[:] = 0
    assert np.array_equal(make(), interstitial(MAGNET, 32))
