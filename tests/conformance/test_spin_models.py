import pytest
import torch
from torch.nn import functional as F

from physics.model import SPIN_MODELS
from physics.symmetry import draw_powers, transformed

L = 16


@pytest.fixture
def spins(model, random_spins):
    return random_spins(model, 4)


def test_its_settings_survive_every_way_of_writing_them(model, check_settings):
    check_settings(SPIN_MODELS, model)


def test_energy_is_the_mean_energy_density_from_the_uniform_state_on(model, spins):
    mean = model.energy_density(spins).sum((-2, -1)) / model.sites(L).sum()
    energy = model.energy(spins)
    torch.testing.assert_close(energy - energy[0], mean - mean[0], atol=1e-5, rtol=0)


def test_field_is_minus_the_gradient_of_the_energy(model, spins):
    spins.requires_grad_()
    (gradient,) = torch.autograd.grad(model.energy_density(spins).sum(), spins)
    torch.testing.assert_close(model.effective_field(spins), -gradient, atol=1e-8, rtol=0)


def test_symmetries_keep_energy_and_defects(model, spins):
    for name, transform in model.symmetries(L).items():
        moved = transform(spins)
        assert moved.shape == spins.shape and not torch.equal(moved, spins), name
        torch.testing.assert_close(model.energy(moved), model.energy(spins), msg=name)
        torch.testing.assert_close(model.energy_density(moved).sum(), model.energy_density(spins).sum(), msg=name)
        assert model.count_defects(moved).tolist() == model.count_defects(spins).tolist(), name


def test_random_symmetries_keep_the_energy_of_each_configuration(model, spins):
    powers = draw_powers(model, L, len(spins), torch.Generator().manual_seed(0))
    moved = transformed(spins, model, powers)
    assert moved.shape == spins.shape
    torch.testing.assert_close(model.energy(moved), model.energy(spins))


def test_observables_are_a_number_of_each_configuration_and_energy_is_one(model, spins):
    for name, observable in model.observables.items():
        values = observable.measure(spins)
        assert values.shape == (4,) and values.isfinite().all(), name
        torch.testing.assert_close(observable.measure(spins[2]), values[2], msg=name)
    torch.testing.assert_close(model.observables["energy"].measure(spins), model.energy(spins))


def test_defects_are_counted_where_they_are(model, spins):
    found = model.defects(spins)
    assert found.dtype == torch.int8 and found.shape == (4, L, L)
    assert model.count_defects(spins).tolist() == [state.count_nonzero() for state in found]
    assert model.defect_column.isidentifier()


def test_colors_are_rgb(model, spins):
    colors = model.colors(spins.numpy())
    assert colors.shape == (4, L, L, 3)
    assert colors.min() >= 0 and colors.max() <= 1
    assert (colors[0] != colors[1]).any()


def test_torque_is_zero_where_a_spin_lies_along_its_field(model, spins):
    torque = model.torque(spins)
    assert torque.shape == (4, L, L) and (torque >= 0).all()
    for _ in range(200):  # its field may depend on the spin itself
        spins[..., 3, 5] = F.normalize(model.effective_field(spins)[..., 3, 5], dim=-1)
    assert model.torque(spins)[..., 3, 5].max() < 1e-6


def test_known_states_are_unit_spins_at_rest(model):
    if not model.known_states(L):
        pytest.skip("none is known")
    for name, make in model.known_states(L).items():
        try:
            state = torch.from_numpy(make())
        except ValueError as error:  # of a lattice that has none
            assert name in str(error) or "lattice" in str(error)
            continue
        assert state.shape == (model.components, L, L), name
        torch.testing.assert_close(state.norm(dim=0), torch.ones(L, L), msg=name)
        assert model.torque(state).max() < 1e-3 * model.energy_scale, name


def test_local_densities_are_numbers_of_each_site_that_move_with_it(model, spins):
    found, moved = model.local_densities(spins), model.local_densities(torch.roll(spins, (3, 5), (-2, -1)))
    sites = model.sites(L)
    for name, density in found.items():
        assert density.shape == (4, L, L) and name.isidentifier()
        assert (density[:, ~torch.from_numpy(sites)] == 0).all(), name
        if "translation along x" in model.symmetries(L):
            torch.testing.assert_close(moved[name], torch.roll(density, (3, 5), (-2, -1)), msg=name)
    torch.testing.assert_close(found["energy"].sum((-2, -1)) / sites.sum(), model.energy(spins))


def test_structure_factor_is_that_of_all_translates(model, spins):
    factor = model.structure_factor(spins)
    assert factor.shape == (4, L, L) and (factor >= 0).all()
    torch.testing.assert_close(model.structure_factor(torch.roll(spins, (3, 5), (-2, -1))), factor)


def test_no_state_lies_below_the_ground_state(model, spins):
    bound = model.ground_state_energy(L)
    if bound is None:
        pytest.skip("not known")
    axes = torch.eye(model.components, dtype=spins.dtype)
    uniform = torch.cat((axes, -axes))[..., None, None].expand(-1, -1, L, L)
    assert model.energy(torch.cat((spins, uniform))).min() >= bound - 1e-9


def test_lattices_that_do_not_fit_are_refused(model):
    model.check(L)
    with pytest.raises(ValueError, match="3"):
        model.check(3)


def test_it_has_a_name_and_a_scale(model):
    assert model.label and model.energy_scale > 0
    assert model.wave_number is None or model.wave_number > 0
