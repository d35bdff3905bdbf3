import pandas as pd
import pytest
import torch

from physics.chiral import ChiralMagnet
from search.constraint import MARGIN, STIFFNESS, Constraint, Limit, Penalised, check_constraint, parse_constraint
from search.objectives import parse_objective

MAGNET = ChiralMagnet(D=0.6, B=0.0)
DATA = {
    "energy": pd.Series([-0.16, -0.17, -0.165]),
    "mz": pd.Series([0.1, -0.1, 0.0]),
    "nodal_points": pd.Series([0.0, 0.0, 0.0]),
}


def tilted(mz):
    """Uniform states with a given M_z, of energy 0."""
    spins = torch.zeros(len(mz), 3, 16, 16)
    spins[:, 2] = torch.tensor(mz)[:, None, None]
    spins[:, 0] = (1 - spins[:, 2] ** 2).sqrt()
    return spins


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("energy < -0.04", Constraint("energy", "<", -0.04)),
        ("nodal_points=0", Constraint("nodal_points", "=", 0)),
        (" mz >= 1e-3 ", Constraint("mz", ">", 1e-3)),
        ("energy < data", Constraint("energy", "<", None)),
        ("energy < inf", Constraint("energy", "<", float("inf"))),
    ],
)
def test_a_constraint_is_read_from_text_and_written_to_it(text, expected):
    assert parse_constraint(text) == expected
    assert parse_constraint(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "energy",
        "energy < ",
        "energy < low",
        "energy ! 3",
        "energy = data",
        "< 3",
        "mz < nan",
        "mz > inf",
        "mz = inf",
    ],
)
def test_what_is_no_constraint_is_refused(text):
    with pytest.raises(ValueError, match="expected"):
        parse_constraint(text)


def test_an_observable_that_the_model_has_not_is_refused():
    check_constraint(parse_constraint("nodal_points = 0"), MAGNET)
    with pytest.raises(ValueError, match="did you mean energy"):
        check_constraint(parse_constraint("enrgy < 0"), MAGNET)


def test_violations_are_in_standard_deviations_of_the_data():
    below = Limit.of(parse_constraint("mz < 0.3"), DATA)
    torch.testing.assert_close(below.violation(tilted([0.0, 0.3, 0.4]), MAGNET), torch.tensor([0.0, 0.0, 1.0]))
    above = Limit.of(parse_constraint("mz > data"), DATA)
    torch.testing.assert_close(above.violation(tilted([-0.2, -0.1]), MAGNET), torch.tensor([1.0, 0.0]))
    at = Limit.of(parse_constraint("nodal_points = 2"), DATA)  # of data that are all alike the unit is 1
    torch.testing.assert_close(at.violation(tilted([0.5]), MAGNET), torch.tensor([2.0]))
    assert Limit.of(parse_constraint("energy < data"), DATA).bound == -0.16


def test_a_limit_at_infinity_is_never_broken():
    free = Penalised.of(parse_objective("mz_max"), [parse_constraint("energy < inf")], DATA, DATA["mz"])
    spins = tilted([0.2, 0.9]).requires_grad_()
    assert not free.broken(spins, MAGNET).any()
    torch.testing.assert_close(free.score(spins, MAGNET), torch.tensor([0.2, 0.9]))
    assert torch.autograd.grad(free.score(spins, MAGNET).sum(), spins)[0].isfinite().all()


def test_within_its_limits_the_score_is_the_objectives_and_beyond_it_falls_steeply():
    limited = Penalised.of(parse_objective("mz_max"), [parse_constraint("mz < 0.5")], DATA, DATA["mz"])
    spins = tilted([0.2, 0.4, 0.55, 0.6])
    score = limited.score(spins, MAGNET)
    torch.testing.assert_close(score[:2], torch.tensor([0.2, 0.4]))
    torch.testing.assert_close(score[3] - score[2], torch.tensor(0.05 - STIFFNESS * 0.05))
    assert limited.broken(spins, MAGNET).tolist() == [False, False, True, True]
    assert not limited._replace(limits=[]).broken(spins, MAGNET).any()


def test_the_maximum_of_the_penalised_score_keeps_the_limit():
    limited = Penalised.of(parse_objective("mz_max"), [parse_constraint("mz < 0.5")], DATA, DATA["mz"])
    spins = tilted([0.49 + 0.0002 * step for step in range(100)])
    best = int(limited.score(spins, MAGNET).argmax())
    assert not limited.broken(spins, MAGNET)[best] and spins[best, 2, 0, 0] > 0.495


def test_a_state_without_a_number_keeps_no_limit():
    limited = Penalised.of(parse_objective("mz_max"), [parse_constraint("mz < 0.5")], DATA, DATA["mz"])
    assert limited.broken(tilted([0.1, float("nan")]), MAGNET).tolist() == [False, True]


def test_the_penalty_ends_within_an_inequality_and_at_an_equality():
    for text, margin in (("mz < 0.5", MARGIN), ("mz > 0.5", MARGIN), ("mz = 0.5", 0.0)):
        limited = Penalised.of(parse_objective("mz_max"), [parse_constraint(text)], DATA, DATA["mz"])
        expected = 0.5 - STIFFNESS * DATA["mz"].std() * margin
        assert limited.score(tilted([0.5]), MAGNET).item() == pytest.approx(expected, abs=1e-4)
