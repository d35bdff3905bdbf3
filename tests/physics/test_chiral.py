import json
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from physics.chiral import ChiralMagnet
from physics.model import X, Y

L = 8
E_Z = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)[:, None, None]
ABOUT_Z = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
BOUNDARIES = ("periodic", "open", "wire")


@pytest.fixture(params=("bloch", "neel"))
def dm(request):
    return request.param


@pytest.fixture(params=BOUNDARIES)
def boundary(request):
    return request.param


@pytest.fixture(name="K", params=(0.0, 0.7, -0.7), ids="K={}".format)
def anisotropy(request):
    return request.param


@pytest.fixture(params=(False, True), ids=("whole", "masked"))
def magnet(request, dm, boundary, K, disk):
    mask = disk(L) if request.param else None
    return ChiralMagnet(J=0.9, D=-0.4, B=0.3, K=K, dm=dm, boundary=boundary, mask=mask)


@pytest.fixture
def spins(random_spins):
    return random_spins(L)


def total(magnet, spins):
    """E, from energies per spin relative to the uniform state."""
    uniform = magnet.model_copy(update={"B": 0.0, "K": 0.0}).energy_density(E_Z.expand(3, L, L)).sum()
    return magnet.energy(spins) * magnet.sites(L).sum() + uniform


def turned(spins, rotation):
    return torch.einsum("ab,...byx->...ayx", rotation, spins)


def test_energy_is_the_formula_bond_by_bond(magnet, spins):
    S, sites = spins.numpy().transpose(1, 2, 0), magnet.sites(L)
    E = 0.0
    for y, x in zip(*np.nonzero(sites), strict=True):
        z = S[y, x, 2]
        E -= magnet.B * z + magnet.K * z**2
        for r, is_open in (((1, 0, 0), magnet.open_x), ((0, 1, 0), magnet.open_y)):
            j = (y + r[1]) % L, (x + r[0]) % L
            beyond_the_edge = y + r[1] == L or x + r[0] == L
            if (is_open and beyond_the_edge) or not sites[j]:
                continue
            D_ij = magnet.D * np.array(r if magnet.dm == "bloch" else np.cross((0, 0, 1), r))
            E -= magnet.J * S[y, x] @ S[j] + D_ij @ np.cross(S[y, x], S[j])
    assert total(magnet, spins).item() == pytest.approx(E, abs=1e-11)


def test_energy_densities_sum_to_the_energy(magnet, spins):
    torch.testing.assert_close(magnet.energy_density(spins).sum(), total(magnet, spins))


def test_field_is_minus_the_gradient_of_the_energy(magnet, spins):
    spins = spins.requires_grad_()
    (gradient,) = torch.autograd.grad(total(magnet, spins), spins)
    torch.testing.assert_close(magnet.effective_field(spins), -gradient)


def test_field_is_the_finite_difference_of_the_energy(magnet, spins, random_spins):
    step = 1e-3 * random_spins(L, seed=1)
    difference = total(magnet, spins + step) - total(magnet, spins - step)
    torch.testing.assert_close(difference, -2 * (magnet.effective_field(spins) * step).sum())


def test_turning_one_spin_costs_minus_its_change_times_the_field(dm, boundary, spins):
    magnet = ChiralMagnet(J=1.1, D=0.5, B=0.2, dm=dm, boundary=boundary)
    for site in ((0, 0), (3, 4), (L - 1, 0), (L - 1, L - 1)):
        after = spins.clone()
        after[:, *site] = torch.tensor([0.6, 0.0, -0.8])
        cost = -((after - spins) * magnet.effective_field(spins)).sum()
        torch.testing.assert_close(total(magnet, after) - total(magnet, spins), cost)


def test_the_uniform_state_has_the_energy_of_field_and_anisotropy(magnet):
    up = E_Z.expand(3, L, L)
    assert magnet.energy(up).item() == pytest.approx(-magnet.B - magnet.K)


@pytest.mark.parametrize("step", [(1, 0), (0, 1), (3, 5)])
def test_translations_on_the_torus_keep_the_energy(dm, K, spins, step):
    magnet = ChiralMagnet(D=0.5, B=0.2, K=K, dm=dm)
    moved = torch.roll(spins, step, (X, Y))
    torch.testing.assert_close(magnet.energy(moved), magnet.energy(spins))
    torch.testing.assert_close(magnet.energy_density(moved), torch.roll(magnet.energy_density(spins), step, (X, Y)))


def test_rotating_all_spins_keeps_the_energy_of_exchange_alone(boundary, spins):
    axes = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, -1.0], [1.0, 0.0, 3.0]], dtype=torch.float64)
    rotation, _ = torch.linalg.qr(axes)
    exchange, chiral = ChiralMagnet(D=0, boundary=boundary), ChiralMagnet(D=0.5, boundary=boundary)
    rotated = turned(spins, rotation)
    torch.testing.assert_close(exchange.energy(rotated), exchange.energy(spins))
    assert abs(chiral.energy(rotated) - chiral.energy(spins)) > 1e-3


@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_rotating_spins_with_the_lattice_keeps_the_energy(dm, boundary, K, spins):
    magnet = ChiralMagnet(D=0.5, B=0.2, K=K, dm=dm, boundary=boundary)
    rotated = turned(torch.rot90(spins, dims=(X, Y)), ABOUT_Z)
    torch.testing.assert_close(magnet.energy(rotated), magnet.energy(spins))


def test_reversing_spins_and_field_keeps_the_energy(magnet, spins):
    reversed_field = magnet.model_copy(update={"B": -magnet.B})
    torch.testing.assert_close(reversed_field.energy(-spins), magnet.energy(spins))


def test_neel_is_bloch_with_spins_turned_by_90_degrees(boundary, K, spins):
    bloch, neel = (ChiralMagnet(D=0.5, B=0.2, K=K, dm=dm, boundary=boundary) for dm in ("bloch", "neel"))
    torch.testing.assert_close(neel.energy(turned(spins, ABOUT_Z)), bloch.energy(spins))
    assert abs(neel.energy(spins) - bloch.energy(spins)) > 1e-3


def test_spins_outside_the_mask_do_not_matter(dm, boundary, spins, random_spins, disk):
    sites = torch.tensor(disk(L))
    magnet = ChiralMagnet(B=0.2, K=0.3, dm=dm, boundary=boundary, mask=disk(L))
    other = torch.where(sites, spins, random_spins(L, seed=1))
    torch.testing.assert_close(magnet.energy(other), magnet.energy(spins))
    torch.testing.assert_close(magnet.effective_field(other), magnet.effective_field(spins))
    assert not magnet.effective_field(spins)[:, ~sites].any()


def test_torque_is_the_field_across_the_spin(magnet, spins):
    field = magnet.effective_field(spins).numpy()
    expected = np.linalg.norm(np.cross(spins.numpy(), field, axis=0), axis=0)
    np.testing.assert_allclose(magnet.torque(spins).numpy(), expected, atol=1e-12)


def test_a_batch_is_its_members(magnet, random_spins):
    batch = random_spins(2, 3, L)
    for measure in (magnet.energy, magnet.energy_density, magnet.effective_field):
        torch.testing.assert_close(measure(batch)[1, 2], measure(batch[1, 2]))


def test_float32_agrees_with_float64_and_stays_float32(magnet, spins):
    for measure in (magnet.energy, magnet.energy_density, magnet.effective_field):
        single = measure(spins.float())
        assert single.dtype == torch.float32
        torch.testing.assert_close(single.double(), measure(spins), atol=2e-6, rtol=0)


def test_period_is_the_wavelength_of_the_spiral():
    assert ChiralMagnet(D=-0.3).period == pytest.approx(21.558, abs=1e-3)
    assert math.isinf(ChiralMagnet(D=0).period)


def test_the_exact_bound_is_given_where_it_holds_only():
    assert ChiralMagnet(D=0.3).ground_state_energy(128) == pytest.approx(-0.0443619, abs=1e-7)
    for changes in ({"B": 0.1}, {"K": 0.1}, {"boundary": "wire"}, {"J": -1.0}):
        assert ChiralMagnet(**changes).ground_state_energy(16) is None


def test_json_and_hash_survive_a_round_trip(magnet):
    copy = ChiralMagnet.model_validate(json.loads(magnet.model_dump_json()))
    assert copy == magnet and hash(copy) == hash(magnet)
    assert len({magnet, copy, magnet.model_copy(update={"J": 2.0})}) == 2


def test_a_mask_is_the_same_as_array_tensor_or_rows(disk):
    mask = disk(L)
    rows = ["".join("01"[int(site)] for site in row) for row in mask]
    same = {ChiralMagnet(mask=mask), ChiralMagnet(mask=torch.tensor(mask)), ChiralMagnet(mask=rows)}
    assert len(same) == 1
    np.testing.assert_array_equal(same.pop().sites(L), mask)


@pytest.mark.parametrize(
    "wrong",
    [
        {"J": math.nan},
        {"D": math.inf},
        {"B": "up"},
        {"dm": "hybrid"},
        {"boundary": "closed"},
        {"Dz": 0.1},
        {"mask": np.zeros((4, 4), bool)},
        {"mask": np.ones((4, 6), bool)},
        {"mask": np.ones((4, 4, 4), bool)},
        {"mask": ("01", "1")},
        {"mask": ("01", "2x")},
    ],
    ids=str,
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ChiralMagnet(**wrong)


def test_a_mask_of_another_size_is_refused(spins, disk):
    magnet = ChiralMagnet(mask=disk(L + 2))
    for measure in (magnet.energy, magnet.energy_density, magnet.effective_field):
        with pytest.raises(ValueError, match=f"mask of {L + 2} x {L + 2} sites on a lattice of {L} x {L}"):
            measure(spins)


def test_a_magnet_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        ChiralMagnet().J = 2.0
