import numpy as np
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
    assert score("topological_charge_max", lattice).item() == pytest.approx(3.784, abs=1e-3)
    assert score("topological_charge_max", -lattice).item() == pytest.approx(3.784, abs=1e-3)
    assert score("topological_charge_max", stripes).item() == pytest.approx(0, abs=1e-4)
    lowest = [score("topological_charge_min", state).item() for state in (lattice, -lattice)]
    assert sorted(lowest) == pytest.approx([-3.784, 3.784], abs=1e-3)
    along = torch.from_numpy(spiral(H, 32, 2, -2)).float()[None]
    assert score("correlation_max", along).item() == pytest.approx(1, abs=1e-5)
    assert score("nodal_points_min", lattice).item() == 0
    assert score("mz_max + 2 * energy_min", up).item() == pytest.approx(1 + 2 * 0.2, abs=1e-5)


@pytest.mark.parametrize("a", [(np.sqrt(0.5), np.sqrt(0.5)), (3, 0), (0.3, -2.2)])
def test_the_correlation_of_a_spiral_is_the_cosine_of_k_a(a):
    """C(a) = cos(k . a), also between sites."""
    objective = parse_objective({"name": "correlation_max", "a": a})
    for m, n in ((1, 1), (2, 0), (3, -2)):
        spins = torch.from_numpy(spiral(H, 32, m, n)).float()[None]
        expected = np.cos(2 * np.pi * (m * a[0] + n * a[1]) / 32)
        assert objective.score(spins, H).item() == pytest.approx(expected, abs=1e-5)


def test_the_logit_is_that_of_the_discriminator():
    objective = parse_objective("logit_max").given_networks(
        {"discriminator": lambda spins: 3 * spins[:, 2].mean((1, 2))}
    )
    assert objective.score(uniform(1.0), H) == 3


@pytest.mark.parametrize("text", ["2 * nope", "mz_max + ", "x * mz_max", "logit_max + mz_max", "nope_max + mz_max"])
def test_a_sum_of_what_does_not_exist_is_refused(text):
    with pytest.raises(ValueError, match="expected"):
        parse_objective(text).check(H)


def counted(spins, model):
    """An objective without a gradient."""
    return (spins[:, 2] > 0).double().mean((-2, -1))


def test_whether_a_function_has_a_gradient_is_known(monkeypatch):
    monkeypatch.setattr(
        "search.objectives.import_name", lambda path: {"mine:a": first_component, "mine:b": counted}[path]
    )
    assert parse_objective("mine:a").has_gradient(H) and not parse_objective("mine:b").has_gradient(H)
    assert parse_objective("mz_max + mine:a").has_gradient(H) and not parse_objective("mz_max + mine:b").has_gradient(H)


def test_a_sum_is_another_once_one_of_its_terms_is(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file, sums = tmp_path / "summed.py", ("mz_max + 2 * summed:f", "summed:f + summed:f", "mz_max + energy_min")
    file.write_text("def f(spins, model):\n    return spins[:, 0].mean((-2, -1))\n")
    before = [parse_objective(text).recipe() for text in sums]
    file.write_text(file.read_text() + "# edited\n")
    after = [parse_objective(text).recipe() for text in sums]
    assert [a == b for a, b in zip(before, after, strict=True)] == [False, False, True]
    assert parse_objective("mz_max + correlation_max").recipe()["recipe_version"] == 2


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


@pytest.mark.parametrize("edges", [{"boundary": "open"}, {"mask": ["1111", "1101", "1111", "1111"]}], ids=str)
def test_a_correlation_on_a_lattice_with_edges_is_refused(edges):
    with pytest.raises(ValueError, match="correlation_max: expected a magnet without edges, found"):
        parse_objective("correlation_max").check(ChiralMagnet(D=1.0, **edges))
