"""Random symmetries keep the energy of each configuration, and reach every translate equally often."""

import numpy as np
import pytest
import torch
from scipy import stats

from physics.chiral import ChiralMagnet
from physics.model import X, Y
from physics.symmetry import draw_powers, is_even, is_uniform, transformed, translated
from physics.xy import XY

L = 8
MODELS = {
    "bloch": ChiralMagnet(),
    "neel in a field": ChiralMagnet(B=0.3, K=0.2, dm="neel"),
    "open": ChiralMagnet(boundary="open", B=0.1),
    "wire": ChiralMagnet(boundary="wire"),
    "xy": XY(),
}


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request):
    return request.param


def random_unit_spins(model, n):
    spins = torch.randn(n, model.components, L, L, dtype=torch.float64, generator=rng())
    return spins / spins.norm(dim=1, keepdim=True)


def test_the_energy_of_each_configuration_stays(model):
    spins = random_unit_spins(model, 200)
    moved = transformed(spins, model, draw_powers(model, L, 200, rng(1)))
    assert (moved != spins).flatten(1).any(1).float().mean() > 0.4
    torch.testing.assert_close(model.energy(moved), model.energy(spins), atol=1e-12, rtol=0)
    assert (model.energy(moved.roll(1, 0)) - model.energy(spins)).abs().min() > 0  # no two are alike


def test_each_configuration_takes_its_own_powers():
    model, spins = ChiralMagnet(), random_unit_spins(ChiralMagnet(), 40)
    powers = draw_powers(model, L, 40, rng(2))
    moved = transformed(spins, model, powers)
    for number in (0, 7, 39):
        expected = spins[number]
        for name in ("quarter turn of lattice and spins", "reversal of every spin"):
            for _ in range(int(powers[name][number])):
                expected = model.symmetries(L)[name](expected)
        shift = [int(powers[f"translation along {axis}"][number]) for axis in "xy"]
        assert torch.equal(moved[number], expected.roll(shift, (X, Y)))


def test_translations_are_uniform():
    """One number in 64, whose place says how far each configuration was moved; 6,400 of them."""
    spins = torch.zeros(6400, 3, L, L)
    spins[:, 2, 0, 0] = 1
    model = ChiralMagnet(B=0.3)
    moved = transformed(spins, model, draw_powers(model, L, 6400, rng(3)))
    place = moved[:, 2].flatten(1).argmax(1)
    assert stats.chisquare(torch.bincount(place, minlength=L * L)).pvalue > 1e-3
    short = {axis: torch.randint(L - 1, (6400,), generator=rng(3)) for axis in (X, Y)}
    place = translated(spins, short)[:, 2].flatten(1).argmax(1)
    assert stats.chisquare(torch.bincount(place, minlength=L * L)).pvalue < 1e-6


def test_turns_and_reversals_are_uniform_over_the_group():
    """A spin tilted from z at one site: 4 directions of its tilt, up or down, each as often."""
    spins = torch.zeros(4000, 3, L, L)
    spins[:, 0, 0, 0], spins[:, 2] = 0.1, 1.0
    model = ChiralMagnet()
    moved = transformed(spins, model, draw_powers(model, L, 4000, rng(4)))
    x, y, z = moved.sum((-2, -1)).unbind(1)
    element = 4 * (z > 0) + 2 * (x.abs() > 0.05) + (x + y > 0)
    counts = torch.bincount(element, minlength=8)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_only_a_torus_without_a_mask_is_the_same_everywhere(disk):
    uniform = {name: is_uniform(model, L) for name, model in MODELS.items()}
    assert uniform == {"bloch": True, "neel in a field": True, "open": False, "wire": False, "xy": True}
    assert not is_uniform(ChiralMagnet(mask=disk(L)), L)


def test_a_mask_has_the_quarter_turn_if_it_is_turned_onto_itself(disk):
    wedge = np.tri(L, dtype=bool)
    assert "quarter turn of lattice and spins" in ChiralMagnet(boundary="open", mask=disk(L)).symmetries(L)
    for without in (ChiralMagnet(mask=wedge), ChiralMagnet(boundary="wire", mask=disk(L))):
        assert "quarter turn of lattice and spins" not in without.symmetries(L)


def test_edges_stay_where_they_are(disk):
    model = ChiralMagnet(mask=disk(L))
    spins = random_unit_spins(model, 10) * torch.from_numpy(model.sites(L))
    moved = transformed(spins, model, draw_powers(model, L, 10, rng(5)))
    assert torch.equal(moved.norm(dim=1) > 0, spins.norm(dim=1) > 0)


@pytest.mark.parametrize(
    ("model", "even"),
    [
        (ChiralMagnet(), True),
        (ChiralMagnet(K=0.3, dm="neel", boundary="open"), True),
        (ChiralMagnet(B=1e-3), False),
        (ChiralMagnet(B=-0.3, boundary="wire"), False),
        (XY(), True),
    ],
    ids=str,
)
def test_a_state_and_its_reverse_have_the_same_energy_in_no_field_alone(model, even):
    assert is_even(model, L) == even
