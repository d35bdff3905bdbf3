"""The table of a sweep that says what the collapsed state is."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from orchestrator.config import load
from orchestrator.data.run import make_here
from orchestrator.lease import lease
from orchestrator.sweeps import collapse, collapsed_state, run
from orchestrator.sweeps.collapsed_state import TITLE, compare
from orchestrator.sweeps.request import SweepConfig
from orchestrator.sweeps.tuning import Outcome
from orchestrator.training import loop
from orchestrator.training.request import TrainConfig
from physics import ground_state
from physics.chiral import ChiralMagnet
from physics.replicas import relax
from physics.textures import spiral

L = 16
SECONDS = 0.2


def training(**hamiltonian):
    dataset = {"L": L, "hamiltonian": {"D": 1.0, **hamiltonian}, "configurations": 64}
    return TrainConfig.model_validate({"dataset": dataset, "system": {"name": "evae-2021"}, "batch": 16})


ONE_STATE = "hamiltonian collapse"


def stages(regimes=("diverse", ONE_STATE, ONE_STATE), energies=(-0.36, -0.35, -0.34)):
    rows = {"trial": 0, "seed": 3, "gamma": [0.0, 10, 100], "regime": regimes, "energy_mean": energies}
    losses = {"validation_reconstruction": 0.03, "validation_kl": 40.0, "validation_energy": -0.35}
    return pd.DataFrame({**rows, **losses, "beta": 1e-3, "prior_reconstruction": 0.46, "model": ["m0", "m1", "m2"]})


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Actors take longer to start than these data sets take to sample."""
    monkeypatch.setattr(collapsed_state, "make", make_here)


@pytest.fixture
def known(store):
    """Models of the store that took a fifth of a second each."""
    for name in ("m0", "m1", "m2"):
        store.commit("models", name, {"kind": "model", "seconds": SECONDS, "config": {"dataset": "a"}}, {})
    return store


@pytest.fixture
def pictures(random_states):
    """Of the model m1 stripes at rest, and random states; of the others random states alone."""
    magnet = ChiralMagnet(D=1.0)
    rested = relax(magnet, spiral(magnet, L, 2, -2)[None])
    return {"m0": random_states, "m1": np.concatenate((random_states, rested)), "m2": random_states}


@pytest.fixture
def random_states():
    spins = torch.randn(3, 3, L, L, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.normalize(spins, dim=1).numpy()


def test_a_collapsed_state_is_held_against_the_exact_ground_state(known, pictures):
    table = compare(stages(), [training()], pictures, 1, known)
    rows = {row["state"]: row for row in table.rows}
    assert [*rows] == ["trial 0, seed 3, γ 10", "ground state", "annealing", "tempering"]
    found, exact = rows["trial 0, seed 3, γ 10"], rows["ground state"]
    magnet = ChiralMagnet(D=1.0)
    assert exact["energy"] == magnet.ground_state_energy(L) and exact["gap"] == 0
    assert found["energy"] == pytest.approx(magnet.energy(torch.tensor(pictures["m1"][3])).item(), abs=1e-6)
    assert found["gap"] == pytest.approx(100 * (found["energy"] / exact["energy"] - 1) * -1, abs=1e-4)
    assert (found["angle"], found["angle_modulo"]) == (135, 180)
    for name in ("annealing", "tempering"):
        assert rows[name]["gap"] >= -1e-4
        assert 0.3 < rows[name]["share"] < 3
    assert len(table.parents) == 2 and all(known.card(*place.split("/")) for place in table.parents)
    json.dumps(table.rows, allow_nan=False)
    meeting = (0.46 - 0.03 - 1e-3 * 40) / (-0.35 - exact["energy"])
    assert found["gamma_ground"] == pytest.approx(meeting) == exact["gamma_ground"]
    (section,) = table.sections
    assert section.title == TITLE and len(section.rows) == 4 and "dataset" not in section.rows


def test_trials_meet_the_ground_state_whatever_they_collapsed_onto(known, pictures):
    """Two that differ in the energy of their collapsed state alone have one gamma_ground, the line of the lower one."""
    first, second = stages(), stages(energies=(-0.36, -0.34, -0.33)).assign(trial=1, seed=4)
    table = compare(pd.concat([first, second], ignore_index=True), [training()] * 2, pictures, 1, known)
    one, two, ground = table.rows[:3]
    assert one["gamma_ground"] == two["gamma_ground"] == pytest.approx(ground["gamma_ground"])
    assert ground["gamma_ground_low"] == pytest.approx(ground["gamma_ground_high"])
    (section,) = table.sections
    number = f"{one['gamma_ground']:.4g}"
    assert section.rows["gamma_ground"].tolist() == [number, number, f"{number} [{number}, {number}]", "-", "-"]


def test_where_the_ground_state_is_not_known_tempering_looks_for_it(known, pictures, monkeypatch):
    monkeypatch.setattr(collapsed_state, "MOST_UPDATES", 5e6)
    monkeypatch.setattr(ground_state, "REFERENCE_ROUNDS", 200)
    table = compare(stages(), [training(B=0.4)], pictures, 1, known)
    rows = {row["state"]: row for row in table.rows}
    assert [*rows] == ["trial 0, seed 3, γ 10", "ground state", "annealing", "tempering"]
    assert rows["ground state"]["sweeps"] == "200 x 48 temperatures x 4"
    assert rows["ground state"]["gap"] == 0
    assert rows["trial 0, seed 3, γ 10"]["gap"] > rows["trial 0, seed 3, γ 10"]["gap_at_rest"] >= -1e-4
    assert rows["annealing"]["share"] < 0.2
    assert len(table.parents) == 3
    again = compare(stages(), [training(B=0.4)], pictures, 1, known)
    assert again.rows == table.rows


def test_without_a_collapse_and_of_other_spin_models_one_line_says_so(store, pictures):
    assert compare(stages().drop(columns="regime"), [training()], pictures, 1, store) == ((), (), ())
    for regimes in (("diverse",) * 3, ("posterior collapse", "far from the prior", "diverse")):
        (section,) = compare(stages(regimes), [training()], pictures, 1, store).sections
        assert section.rows is None and section.text.startswith("No trial has a model")


def test_of_a_spin_model_that_is_not_tempered_one_line_says_why(known):
    planar = {"L": 16, "hamiltonian": {"name": "xy"}, "sampler": {"name": "metropolis"}, "configurations": 64}
    asked = TrainConfig.model_validate({"dataset": planar, "system": {"name": "evae-2021"}, "batch": 16})
    table = compare(stages(), [asked], {}, 1, known)
    assert not table.rows and not table.parents
    assert table.sections[0].text.endswith("is not compared: sampler tempering: expected a ChiralMagnet, found XY.")


@pytest.mark.slow
def test_page_and_card_of_a_sweep_say_it(tiny, store, monkeypatch):
    """As if every model made one state."""
    settings = {"trial.gammas": [1], "trial.refine": 0, "trial.warmup_steps": 2, "steps": 2, "seeds": 1}
    config = load(SweepConfig, str(tiny), settings=settings)
    (trial,) = config.grid()
    make_here(config.dataset, store)
    made, _ = run.follow(trial, lambda training: loop.make(training, store)[1])
    monkeypatch.setattr(collapse, "regime", lambda *_: ONE_STATE)
    monkeypatch.setattr(collapsed_state, "MOST_UPDATES", 5e6)
    monkeypatch.setattr(ground_state, "REFERENCE_ROUNDS", 50)
    with lease(store, "sweeps", config.name) as held:
        run._commit(config, store, [Outcome(trial, [name for name, _ in made])], held)
    card = store.card("sweeps", config.name)
    rows = card["figures"]["collapsed"]
    assert [row["state"].split(",")[0] for row in rows] == ["trial 0", "ground state", "annealing", "tempering"]
    assert rows[0]["gap"] > rows[0]["gap_at_rest"] and rows[1]["gap"] == 0
    assert sum(parent.startswith("datasets/") for parent in card["parents"]) == 4
    assert TITLE in store.read("sweeps", config.name, "report.html").decode()
