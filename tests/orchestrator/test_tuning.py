"""Sweeps on real Ray: pruners, several metrics, boundaries, trials that raise, trials that hang."""

from pathlib import Path

import optuna
import pandas as pd
import pytest
from driving import SETTINGS
from seen import check_page

from orchestrator.config import load
from orchestrator.errors import FailedError
from orchestrator.lease import newest_try
from orchestrator.store import Store
from orchestrator.sweeps import run
from orchestrator.sweeps.request import SweepConfig

pytestmark = pytest.mark.slow

TINY = {**SETTINGS, "system": {"name": "evae-2021", "latent": 4, "hidden": 16}, "steps": 2}
WEIGHTS = {
    "system.beta": {"log_uniform": [1e-6, 1.0]},
    "system.gamma": {"log_uniform": [1.0, 1e5]},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory, on_ray):
    """One for all, so that its data set is made once."""
    return Store(str(tmp_path_factory.mktemp("tuning")))


def study_of(store, name):
    return optuna.load_study(study_name=None, storage=f"sqlite:///{store.folder('sweeps', name)}/optuna.db")


def test_trials_that_are_behind_those_of_earlier_batches_are_pruned(store):
    rates = [1e-3, 3e-3, 1e-6, 1e-7]
    space = {"system.learning_rate": rates}
    settings = {**TINY, "trial": {"name": "unruly:Ladder"}, "space": space, "pruner": "asha", "proposed": 2}
    name, card = run.run(load(SweepConfig, settings=settings), store)
    rows = {row["system.learning_rate"]: row for row in card["figures"]["summary"]}
    assert [rows[rate]["pruned"] for rate in rates] == [False, False, True, True]
    frame = pd.read_parquet(Path(store.folder("sweeps", name)) / "stages.parquet")
    assert frame.groupby("system.learning_rate").size().to_dict() == {1e-3: 3, 3e-3: 3, 1e-6: 1, 1e-7: 1}
    assert not card["figures"]["best"]["pruned"]
    states = [trial.state.name for trial in study_of(store, name).trials]
    assert sorted(states) == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED"]


def test_several_metrics_have_a_front(store):
    settings = {**TINY, "space": WEIGHTS, "trials": 6, "search": "tpe", "proposed": 2}
    metrics = {"metric": ["validation_reconstruction", "energy_mean"], "mode": ["min", "min"]}
    name, card = run.run(load(SweepConfig, settings={**settings, **metrics}), store)
    rows = card["figures"]["summary"]
    values = [(row["validation_reconstruction"], row["energy_mean"]) for row in rows]
    for row, (a, b) in zip(rows, values, strict=True):
        assert row["front"] == (not any(c <= a and d <= b and (c, d) != (a, b) for c, d in values))
    assert card["figures"]["metric"] == metrics["metric"]
    assert card["figures"]["best"]["front"]
    folder = Path(store.folder("sweeps", name))
    assert (folder / "front.png").exists() and (folder / "map.png").exists()
    study = study_of(store, name)
    assert study.metric_names == metrics["metric"]
    assert sorted(tuple(trial.values) for trial in study.trials) == sorted(values)


def test_a_conditional_key_is_in_the_tables_of_its_own_trials_alone(store):
    ramp = {"uniform": [0.1, 0.9], "when": {"system.beta": 1e-3}}
    settings = {**TINY, "space": {"system.beta": [1e-4, 1e-3], "system.beta_ramp": ramp}, "trials": 6}
    name, card = run.run(load(SweepConfig, settings=settings), store)
    rows = card["figures"]["summary"]
    assert {row["system.beta"] for row in rows} == {1e-4, 1e-3}
    assert all((row["system.beta_ramp"] is None) == (row["system.beta"] == 1e-4) for row in rows)
    for trial in study_of(store, name).trials:
        assert ("system.beta_ramp" in trial.params) == (trial.params["system.beta"] == 1e-3)
    assert (Path(store.folder("sweeps", name)) / "map.png").exists()


def test_a_boundary_is_drawn_on_a_map_with_what_is_expected_of_it(store):
    settings = {**TINY, "space": WEIGHTS, "trials": 12, "search": "boundary", "level": 0.1, "metric": "diversity"}
    name, card = run.run(load(SweepConfig, settings={**settings, "mode": "max"}), store)
    assert len(card["figures"]["summary"]) == 12
    folder = Path(store.folder("sweeps", name))
    assert (folder / "map.png").exists()
    assert (folder / "regimes.png").exists()
    text = (folder / "report.html").read_text()
    assert "γ_×" in text
    check_page(text)


def test_a_trial_that_raises_leaves_the_others_and_its_cause_on_the_record(store):
    config = load(SweepConfig, settings={**TINY, "trial": {"name": "unruly:Unruly"}, "seeds": 2, "steps": 3})
    before = set(store.entries("models"))
    with pytest.raises(FailedError, match=r"trial seed = 1: ZeroDivisionError: a fault of the program") as failed:
        run.run(config, store)
    assert "goes on from what is finished" in str(failed.value)
    assert len(set(store.entries("models")) - before) == 1
    _, record = newest_try(store, "sweeps", config.name)
    assert record["state"] == "failed"
    assert "seed = 1: ZeroDivisionError: a fault of the program" in record["cause"]


def test_a_trial_may_die_as_often_as_it_comes_farther(store, tmp_path):
    trial = {"name": "unruly:Mortal", "marks": str(tmp_path)}
    config = load(SweepConfig, settings={**TINY, "trial": trial, "steps": 5})
    name, card = run.run(config, store)
    assert len(list(tmp_path.iterdir())) == 6
    assert not card["said"]
    assert len(pd.read_parquet(Path(store.folder("sweeps", name)) / "stages.parquet")) == 6


def test_a_trial_that_hangs_is_ended_and_the_others_are_kept(store, capsys):
    trial = {"name": "unruly:Unruly", "fault": "hang"}
    config = load(SweepConfig, settings={**TINY, "trial": trial, "seeds": 2, "steps": 4, "time_limit": 120})
    name, card = run.run(config, store)
    said = "trial seed = 1: not done within the time limit of 120 s; it ends after 1"
    assert said in capsys.readouterr().err.replace("\n", " ")
    assert card["said"] == [said]
    assert [row["seed"] for row in card["figures"]["summary"]] == [0, 1]
    assert "Ended before their last training" in (Path(store.folder("sweeps", name)) / "report.html").read_text()
    told = {trial.user_attrs["seed"]: trial for trial in study_of(store, name).trials}
    assert [told[seed].state.name for seed in range(2)] == ["COMPLETE", "FAIL"]
    assert "time limit" in told[1].user_attrs["cause"]
    assert len(told[1].user_attrs["models"]) == 1
