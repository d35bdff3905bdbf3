import math

import numpy as np
import pytest
import torch

from physics.vortices import (
    charges,
    coulomb_energy,
    harmonic_turns,
    lattice_vectors,
    place_pairs,
    smooth_charges,
    turns,
    vortex_field,
)

L = 12


def field(angles):
    angles = torch.as_tensor(angles, dtype=torch.float64)
    return torch.stack((torch.cos(angles), torch.sin(angles)), -3)


def random_field(n, seed=0):
    return field(2 * math.pi * torch.rand(n, L, L, generator=torch.Generator().manual_seed(seed)))


def plaquette(*angles):
    """A uniform field but for one plaquette, counterclockwise from its lower left corner, at (3, 2)."""
    angle = torch.zeros(L, L)
    for (y, x), value in zip(((2, 3), (2, 4), (3, 4), (3, 3)), angles, strict=True):
        angle[y, x] = value
    return field(angle)


def test_a_turn_counterclockwise_around_a_plaquette_is_a_charge_of_one():
    spins = plaquette(*(np.pi / 4 + np.arange(4) * np.pi / 2))
    assert charges(spins)[2, 3] == 1
    assert charges(spins * spins.new_tensor([1.0, -1.0])[:, None, None])[2, 3] == -1
    assert smooth_charges(spins)[2, 3] == pytest.approx(1)


def test_charges_of_any_field_add_up_to_zero():
    spins = random_field(200).float()
    assert (charges(spins).sum((-2, -1)) == 0).all()
    assert charges(spins).abs().max() == 1
    antiparallel = field(math.pi * ((torch.arange(L)[:, None] + torch.arange(L)) % 2))
    assert charges(antiparallel).sum() == 0


def test_the_charge_of_a_plaquette_is_a_number_of_each_corner_of_one_sublattice():
    """k = w_a + w_d, the reason why moves of diagonal sites together change no charge that each alone keeps."""
    spins = random_field(2000)
    angle = torch.atan2(spins[:, 1], spins[:, 0])
    moved, charge = angle.clone(), charges(spins)
    rng = torch.Generator().manual_seed(1)
    for site in ((5, 5), (6, 6)):
        moved[:, site[0], site[1]] = 2 * math.pi * torch.rand(len(angle), generator=rng)
    alone = []
    for site in ((5, 5), (6, 6)):
        one = angle.clone()
        one[:, site[0], site[1]] = moved[:, site[0], site[1]]
        alone.append(charges(field(one)) - charge)
    assert torch.equal(charges(field(moved)) - charge, alone[0] + alone[1])


def test_smooth_charges_have_a_gradient_and_those_of_the_paper():
    spins = random_field(3).requires_grad_()
    x, y = spins.unbind(1)
    found = smooth_charges(spins)
    corners = [(0, 0), (0, 1), (1, 1), (1, 0)]
    at = [(2 + dy, 3 + dx) for dy, dx in corners]
    expected = sum(
        x[:, a[0], a[1]] * y[:, b[0], b[1]] - x[:, b[0], b[1]] * y[:, a[0], a[1]]
        for a, b in zip(at, at[1:] + at[:1], strict=True)
    )
    torch.testing.assert_close(found[:, 2, 3], expected / 4)
    (slope,) = torch.autograd.grad(found.square().sum(), spins)
    assert slope.abs().max() > 0


@pytest.mark.parametrize(("L", "distance", "pairs"), [(16, 1, 1), (16, 1, 12), (16, 8, 1), (16, 3.162, 5), (64, 30, 2)])
def test_fields_have_the_charges_that_are_given(L, distance, pairs):
    rng = np.random.default_rng(0)
    given = torch.from_numpy(np.stack([place_pairs(L, distance, pairs, rng) for _ in range(20)]))
    spins = vortex_field(given)
    assert torch.equal(charges(spins), given)
    assert (given != 0).sum((1, 2)).tolist() == [2 * pairs] * 20
    torch.testing.assert_close(vortex_field(given[3:4])[0], spins[3], atol=1e-2, rtol=0)


def test_the_harmonic_turns_have_least_energy_and_close():
    given = torch.from_numpy(place_pairs(L, 3, 2, np.random.default_rng(3)))
    right, up = harmonic_turns(given)
    divergence = right - torch.roll(right, 1, -1) + up - torch.roll(up, 1, -2)
    assert divergence.abs().max() < 1e-12
    for total in (right.sum(-1), up.sum(-2)):
        torch.testing.assert_close(total / (2 * math.pi), (total / (2 * math.pi)).round(), atol=1e-9, rtol=0)
        assert total.mean().abs() <= math.pi * L + 1e-9


def test_the_coulomb_energy_grows_as_the_logarithm_of_the_distance():
    given = torch.zeros(3, 256, 256)
    for i, r in enumerate((8, 16, 24)):
        given[i, 0, 0], given[i, 0, r] = 1, -1
    energy = coulomb_energy(given) / (2 * math.pi)
    expected = [math.log(r) + np.euler_gamma + 1.5 * math.log(2) for r in (8, 16, 24)]
    np.testing.assert_allclose(energy, expected, atol=0.02)


def test_the_winding_sector_of_two_far_charges_is_the_nearer_way_around():
    given = torch.zeros(2, 16, 16)
    given[0, 0, 0], given[0, 0, 6] = 1, -1
    given[1, 0, 0], given[1, 0, 10] = 1, -1
    energy = coulomb_energy(given)
    assert energy[0] == pytest.approx(float(energy[1]))


def test_turns_are_those_of_angles():
    angle = torch.tensor([[0.0, 3.0], [6.0, 1.0]])
    torch.testing.assert_close(
        turns(field(angle), -1)[0], torch.tensor([3.0, -3.0], dtype=torch.float64), atol=1e-6, rtol=0
    )


def test_distances_that_no_lattice_vector_has_are_refused():
    assert set(lattice_vectors(1, 8)) == {(1, 0), (-1, 0), (0, 1), (0, -1)}
    with pytest.raises(ValueError, match=r"such as 4\.12, found 4\.14"):
        lattice_vectors(4.14, 16)
    with pytest.raises(ValueError, match="no room for 20 pairs"):
        place_pairs(4, 1, 20, np.random.default_rng(0))
