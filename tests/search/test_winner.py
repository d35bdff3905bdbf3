"""What is said of a state that a search found."""

import pandas as pd
import pytest
import torch

from physics.chiral import ChiralMagnet
from physics.states import mask_named
from physics.xy import XY
from search.constraint import Penalised, parse_constraint
from search.objectives import parse_objective
from search.winner import candidates, figures_of, judged, remarks

MAGNET = ChiralMagnet(D=0.6, B=0.2)
LATTICE = torch.from_numpy(MAGNET.known_states(32)["lattice"]())
UP = torch.zeros(3, 32, 32).index_fill_(0, torch.tensor(2), 1.0)
DATA = torch.stack((LATTICE.roll(16, -1), UP))
CODES = torch.ones(1, 50)


def judge(spins, magnet=MAGNET, name="topological_charge_max", data=DATA):
    objective = parse_objective(name)
    table, _ = candidates(CODES, spins[None], magnet, Penalised(objective, [], 1.0))
    return judged(figures_of(table), spins, magnet, objective, data)


def test_a_lattice_that_is_disturbed_comes_back_to_rest():
    noise = torch.randn(LATTICE.shape, generator=torch.Generator().manual_seed(0))
    found = judge(torch.nn.functional.normalize(LATTICE + 0.1 * noise, dim=0))
    figures = found.figures
    assert figures["rested_topological_charge"] == pytest.approx(-6, abs=1e-3)
    assert figures["rested_energy"] == pytest.approx(-0.223309, abs=1e-5)
    assert figures["energy"] > figures["rested_energy"] + 1e-3
    assert figures["moved"] == pytest.approx((found.spins - found.rested).square().sum().item() / 4096)
    assert 0.001 < figures["moved"] < 0.02
    assert figures["code_norm"] == pytest.approx(1)
    assert remarks(figures, 50, figures["energy"] + 0.01, "") == []


def test_the_nearest_of_the_data_is_found():
    assert judge(UP).figures["nearest_data"] == pytest.approx(0, abs=1e-6)
    assert judge(-UP).figures["nearest_data"] > 0.5
    assert judge(-UP, data=UP[None]).figures["nearest_data"] == pytest.approx(1)


def test_what_one_should_know_is_said():
    figures = judge(UP).figures
    assert figures["uniform"] == pytest.approx(1)
    assert figures["moved"] == pytest.approx(0, abs=1e-4)
    below, limits = figures["energy"] - 0.01, "energy < 0"
    broken, uniform_state, high, far = remarks({**figures, "code_norm": 1.5, "within": 0.0}, 50, below, limits)
    assert "keeps to energy" in broken
    assert uniform_state.startswith("It is uniform") and "above that of all data" in high and "= 1.5" in far
    assert judge(LATTICE).figures["uniform"] < 0.9


def test_the_highest_energy_of_a_site_is_that_of_a_reversed_spin():
    """Half of its four bonds and its own field, from parallel spins on: -B among them, 4J + B of one against all."""
    flipped = UP.clone()
    flipped[2, 3, 4] = -1
    assert judge(UP).figures["site_energy_max"] == pytest.approx(-MAGNET.B)
    assert judge(flipped).figures["site_energy_max"] == pytest.approx(4 + MAGNET.B)


def test_sites_that_do_not_exist_count_for_nothing():
    disk = ChiralMagnet(D=0.6, B=0.2, boundary="open", mask=mask_named("disk", 32))
    figures = judge(disk.on_sites(UP), disk, data=disk.on_sites(-UP)[None]).figures
    assert figures["uniform"] == pytest.approx(1)
    assert figures["nearest_data"] == pytest.approx(1)


def test_a_spin_model_without_a_way_to_rest_is_judged_as_found():
    spins = torch.zeros(2, 16, 16).index_fill_(0, torch.tensor(0), 1.0)
    found = judge(spins, XY(), "energy_min", spins[None])
    assert found.rested is None and "moved" not in found.figures and "rested_score" not in found.figures


def test_states_that_keep_the_limits_come_first_and_then_the_better():
    spins = torch.stack((UP, -UP, LATTICE, LATTICE))
    observed = {"energy": pd.Series([-0.3, -0.21]), "mz": pd.Series([0.0, 1.0])}
    values = pd.Series([0.0, 1.0])
    limited = Penalised.of(parse_objective("mz_max"), [parse_constraint("energy < data")], observed, values)
    codes = torch.arange(4.0)[:, None].expand(4, 50)
    table, order = candidates(codes, spins, MAGNET, limited)
    assert order.tolist() == table["code_norm"].tolist() == [2, 3, 0, 1]
    assert table["within"].tolist() == [True, True, False, False]
    smallest = limited._replace(objective=parse_objective("mz_min"))
    assert candidates(torch.ones(4, 50), spins, MAGNET, smallest)[1].tolist() == [2, 3, 1, 0]
