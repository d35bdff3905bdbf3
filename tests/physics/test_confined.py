"""Magnets with a mask and open edges: nothing outside counts, and what is inside is measured over the sites there."""

import numpy as np
import pytest
import torch

from physics.annealing import Annealing
from physics.chiral import ChiralMagnet
from physics.observables import charge_density, kspace_mse, nodal_points, topological_charge
from physics.replicas import relax
from physics.states import disk
from physics.tempering import Tempering
from physics.textures import skyrmions

L = 32
MASK = torch.from_numpy(disk(L))
DISK = ChiralMagnet(D=0.6, B=0.2, boundary="open", mask=disk(L))
QUICK = [Annealing(sweeps=20, finish=50), Tempering(temperatures=3, rounds=5, torque=1e-2)]


@pytest.fixture(scope="module")
def skyrmion():
    """One at rest in the middle of the disk, zero outside."""
    start = skyrmions(DISK, L, [((L - 1) / 2, (L - 1) / 2)], 8)
    return torch.from_numpy(relax(DISK, start[None])[0])


@pytest.fixture
def pair(random_spins):
    """States that agree inside the disk, ``(4, 3, L, L)`` each, the second zero outside."""
    spins = random_spins(4, L)
    return spins, torch.where(MASK, spins, 0.0)


def test_random_spins_outside_change_nothing(pair):
    spins, inside = pair
    for name, observable in DISK.observables.items():
        assert torch.equal(observable.measure(spins), observable.measure(inside)), name
    assert torch.equal(charge_density(spins, DISK), charge_density(inside, DISK))
    assert torch.equal(DISK.structure_factor(spins), DISK.structure_factor(inside))
    assert torch.equal(DISK.defects(spins), DISK.defects(inside))
    assert torch.equal(DISK.on_sites(spins), inside)


def test_states_that_agree_inside_are_one_to_the_kspace_mse(pair, random_spins):
    spins, _ = pair
    others = torch.where(MASK, spins[0], random_spins(4, L, seed=1))
    assert kspace_mse(DISK.structure_factor(others)) == 0
    assert kspace_mse(DISK.structure_factor(spins)) > 0.1


def test_every_site_counts_once_in_means_and_in_the_structure_factor(pair):
    spins, _ = pair
    z = spins[:, 2, MASK]
    torch.testing.assert_close(DISK.observables["mz"].measure(spins), z.mean(-1))
    torch.testing.assert_close(DISK.structure_factor(spins).mean((-2, -1)), z.square().mean(-1))
    up = torch.zeros(3, L, L)
    up[2] = 1
    assert DISK.observables["mz"].measure(up).item() == pytest.approx(1)
    assert DISK.filling(L) == MASK.double().mean() and ChiralMagnet().filling(L) == 1


@pytest.mark.parametrize("sampler", QUICK, ids=lambda sampler: sampler.name)
def test_samplers_leave_zero_outside(sampler):
    spins = torch.from_numpy(sampler.sample(DISK, L, 1, range(2)).spins)
    assert not spins[..., ~MASK].any()
    torch.testing.assert_close(spins.norm(dim=1)[:, MASK], torch.ones(2, int(MASK.sum())))


def test_a_skyrmion_in_a_disk_adds_minus_one_to_the_charge_of_the_twisted_edge(skyrmion):
    up = torch.zeros(1, 3, L, L)
    up[:, 2] = 1
    twisted = torch.from_numpy(relax(DISK, up.numpy())[0])
    charges = [topological_charge(state, DISK).item() for state in (skyrmion, twisted)]
    assert charges[0] - charges[1] == pytest.approx(-1, abs=0.02)
    core = ChiralMagnet(boundary="open", mask=np.hypot(*(np.mgrid[:L, :L] - (L - 1) / 2)) <= 11)
    assert topological_charge(skyrmion, core).item() == pytest.approx(-1, abs=0.01)
    assert not nodal_points(skyrmion, DISK).any()


@pytest.mark.parametrize("magnet", [DISK, ChiralMagnet(D=0.6, B=0.2, boundary="open")], ids=["disk", "open square"])
def test_nodal_points_are_planted_ones_and_not_the_edge(magnet):
    spins = torch.zeros(3, L, L)
    spins[2] = 1
    spins = magnet.on_sites(spins)
    assert not nodal_points(spins, magnet).any()
    inside, edge = (16, 16), (16, 0)
    for y, x in (inside, edge):
        spins[:, y, x] = torch.tensor([0.0, 0, -1])
    assert sorted(map(tuple, nodal_points(spins, magnet).nonzero().tolist())) == sorted((inside, edge))


def test_spins_across_an_open_edge_are_no_neighbours_of_a_nodal_point():
    """Of two equal peaks that touch, both count; the higher one takes the other where they are neighbours."""
    spins = torch.zeros(3, L, L)
    spins[2] = 1
    spins[:, 8, 0] = torch.tensor([0.0, 0, -1])
    spins[:, 8, -1] = torch.tensor([0.0, 0.8, -0.6])
    counted = {kind: nodal_points(spins, ChiralMagnet(D=0, boundary=kind)).sum() for kind in ("open", "periodic")}
    assert counted == {"open": 2, "periodic": 1}


def test_sites_have_as_many_neighbours_as_bonds():
    for magnet, ends in ((DISK, {1, 2, 3, 4}), (ChiralMagnet(boundary="wire"), {3, 4}), (ChiralMagnet(), {4})):
        found = magnet.neighbours(L)
        assert {*found[torch.from_numpy(magnet.sites(L))].tolist()} <= ends
        assert not found[torch.from_numpy(~magnet.sites(L))].any()
        parallel = torch.zeros(3, L, L, dtype=torch.float64)
        parallel[0] = 1
        plain = magnet.model_copy(update={"B": 0.0})
        torch.testing.assert_close(plain.energy_density(plain.on_sites(parallel)), -0.5 * found)
