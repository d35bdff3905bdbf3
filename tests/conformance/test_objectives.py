import pytest
import torch

from physics.registry import MARKS
from search.constraint import Constraint, Limit, Penalised
from search.given import Given
from search.objectives import parse_objective

L = 16


def test_its_name_is_enough_and_its_recipe_comes_back(objective_of_model):
    objective, model = objective_of_model
    objective.check(model)
    recipe = objective.recipe()
    assert parse_objective(objective.name).recipe() == recipe
    assert parse_objective({key: value for key, value in recipe.items() if key not in MARKS}).recipe() == recipe
    assert isinstance(objective.unit(model), str)


def test_values_are_a_number_of_each_configuration_and_scores_have_their_sign(objective_of_model, random_spins):
    objective, model = objective_of_model
    spins = random_spins(model, 5)
    values = objective.value(spins, model)
    assert values.shape == (5,) and values.isfinite().all()
    torch.testing.assert_close(objective.value(spins[2:3], model)[0], values[2])
    sign = {"max": 1, "min": -1}[objective.direction]
    assert torch.equal(objective.score(spins, model), sign * values)


def test_gradients_are_the_finite_differences(objective_of_model, random_spins):
    objective, model = objective_of_model
    if not objective.differentiable:
        pytest.skip("not differentiable")
    spins, direction = random_spins(model, 3).requires_grad_(), random_spins(model, 3, seed=1)
    (gradient,) = torch.autograd.grad(objective.value(spins, model).sum(), spins)
    after, before = (objective.value(spins + step * direction, model) for step in (1e-6, -1e-6))
    torch.testing.assert_close((gradient * direction).sum((1, 2, 3)), (after - before) / 2e-6, atol=1e-6, rtol=1e-5)


def test_translations_keep_the_value(objective_of_model, random_spins):
    objective, model = objective_of_model
    if isinstance(objective, Given):
        pytest.skip("holds states against one at its place")
    spins = random_spins(model, 3)
    for name, transform in model.symmetries(L).items():
        if "translation" in name:
            torch.testing.assert_close(objective.value(transform(spins), model), objective.value(spins, model))


def test_values_and_limits_are_computed_where_the_spins_are(objective_of_model, random_spins):
    """Torch's meta device has shapes without numbers; like a GPU's, its tensors do not mix with the CPU's."""
    objective, model = objective_of_model
    spins = random_spins(model, 3).float().to("meta")
    assert objective.value(spins, model).device.type == "meta"
    limit = Limit(Constraint("energy", "<", -0.1), -0.1, 1.0)
    assert Penalised(objective, [limit], 1.0).score(spins, model).device.type == "meta"
