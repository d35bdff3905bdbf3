import pytest
import torch

from physics.chiral import ChiralMagnet
from physics.textures import skyrmion_lattice, spiral
from search.objectives import parse_objective

H = ChiralMagnet(D=0.6, B=0.2)


def uniform(sign):
    spins = torch.zeros(1, 3, 32, 32)
    spins[:, 2] = sign
    return spins


def score(name, spins):
    return parse_objective(name).score(spins, H)


def first_component(spins, model):
    """An objective of one's own."""
    return spins[:, 0].mean((-2, -1))


def test_objectives_of_known_states():
    up, stripes = uniform(1.0), torch.from_numpy(spiral(H, 32, 2, 2)).float()[None]
    lattice = torch.from_numpy(skyrmion_lattice(H, 32, 2, 2)).float()[None]
    assert score("mz_max", up) == 1
    assert score("mz_min", up) == -1
    assert score("energy_min", up).item() == pytest.approx(0.2, abs=1e-5)
    assert score("topological_charge_max", lattice).item() == pytest.approx(4, abs=1e-4)
    assert score("topological_charge_max", stripes).item() == pytest.approx(0, abs=1e-4)
    along = torch.from_numpy(spiral(H, 32, 2, -2)).float()[None]
    assert score("correlation_max", along).item() == pytest.approx(1, abs=1e-5)


def test_the_correlation_is_over_a_quarter_of_the_spirals_period_along_the_diagonal():
    """A quarter of 2 pi / arctan(0.6) = 11.6 sites is 3: of a spiral along the diagonal it is cos(2 . 3 k)."""
    for m in (1, 2, 3):
        diagonal = torch.from_numpy(spiral(H, 32, m, m)).float()[None]
        expected = torch.cos(torch.tensor(2 * 3 * 2 * torch.pi * m / 32)).item()
        assert score("correlation_max", diagonal).item() == pytest.approx(expected, abs=1e-5)


def test_a_function_is_an_objective_to_be_maximised(monkeypatch):
    monkeypatch.setattr("search.objectives.import_name", lambda path: first_component)
    spins = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mine = parse_objective("mine:first_component")
    mine.check(H)
    assert torch.equal(mine.score(spins, H), first_component(spins, H))


@pytest.mark.parametrize(
    "name", ["nope", "nope_max", "math:nope", "no_such_module:f", "math:floor", "torch:ones_like", "mz"]
)
def test_objectives_that_do_not_exist_are_refused(name):
    with pytest.raises(ValueError, match=name.partition(":")[0]):
        parse_objective(name).check(H)


def test_a_name_that_is_nearly_right_is_met_with_the_right_one():
    with pytest.raises(ValueError, match="did you mean energy_min"):
        parse_objective("energi_min").check(H)
