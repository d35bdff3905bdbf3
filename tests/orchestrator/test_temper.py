from pathlib import Path

import numpy as np
import pytest
from driving import contents, kill_when, orch
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.data import run, shards
from orchestrator.data.request import DatasetConfig
from orchestrator.errors import RequestError
from orchestrator.store import Store

CONFIG = DatasetConfig.model_validate(
    {
        "L": 8,
        "hamiltonian": {"D": 1.0},
        "sampler": {"name": "tempering", "temperatures": 12, "rounds": 300, "T_min": 0.1, "T_max": 1.0},
        "configurations": 4,
    }
)
COMMAND = ["temper", "--L", "8", "--D", "1", "--temperatures", "12", "--T-min", "0.1", "--T-max", "1", "--runs", "4"]


@pytest.fixture(scope="module")
def tempered(on_ray, tmp_path_factory) -> Store:
    store = Store(str(tmp_path_factory.mktemp("tempered") / "store"))
    assert run.make(CONFIG, store)[0] == CONFIG.name
    return store


def test_runs_find_the_exact_energy_and_are_kept(tempered):
    energy = shards.columns(CONFIG.name, tempered, ["energy"])["energy"]
    exact = CONFIG.hamiltonian.ground_state_energy(CONFIG.L)
    assert energy.shape == (4,)
    assert (energy - energy.min() < 1e-4).all()
    assert (energy - exact < 1e-4).all()
    assert energy.min() == pytest.approx(exact, abs=1e-5)
    page = (Path(tempered.folder("datasets", CONFIG.name)) / "report.html").read_text()
    assert "by tempering" in page
    assert "at the exact energy" in page


def test_every_run_says_how_well_it_mixed(tempered):
    """As the sampler said it, whichever columns are asked for."""
    labels = CONFIG.sampler.sample(CONFIG.hamiltonian, CONFIG.L, CONFIG.seed, range(4)).labels
    found = shards.columns(CONFIG.name, tempered, ["round_trips", "acceptance", "rung_energy"])
    assert {name: values.shape for name, values in found.items()} == {
        "round_trips": (4,),
        "acceptance": (4, 11),
        "rung_energy": (4, 12),
    }
    every = shards.columns(CONFIG.name, tempered)
    for name, values in labels.items():
        assert np.array_equal(found[name], values)
        assert np.array_equal(every[name], values)
    assert (found["acceptance"] > 0.1).all()
    assert (np.diff(found["rung_energy"].mean(0)) > 0).all()
    with pytest.raises(RequestError, match=f"data set {CONFIG.name}: no column charge; it has energy, mz"):
        shards.columns(CONFIG.name, tempered, ["charge"])


def test_runs_that_are_there_are_not_made_again(tempered, tmp_path):
    cut = Store(str(tmp_path / "cut"))
    runs = {path: content for path, content in contents(tempered, "datasets").items() if path.endswith(".parquet")}
    assert len(runs) == 4
    kept = sorted(runs)[:2]
    for path in kept:
        cut.write_file(f"datasets/{path}", runs[path])
    times = {path: (tmp_path / "cut" / "datasets" / path).stat().st_mtime_ns for path in kept}
    assert "2 of 4 configurations found, 2 to make by tempering in 2 shards" in run.plan(CONFIG, cut)[0]
    _, again = run.make(CONFIG, cut)
    assert {path: (tmp_path / "cut" / "datasets" / path).stat().st_mtime_ns for path in kept} == times
    assert again["shards"] == tempered.card("datasets", CONFIG.name)["shards"]
    assert contents(cut, "datasets") == contents(tempered, "datasets")


def test_the_command_makes_that_data_set(tmp_path):
    command = [*COMMAND, "--rounds", "300", "--dry-run", "--store", str(tmp_path / "store")]
    plan = CliRunner().invoke(app, command, catch_exceptions=False).stdout
    assert CONFIG.name.startswith("tempering-L8-D1-B0-")
    assert plan.startswith(f"data set {CONFIG.name}: 0 of 4 configurations found, 4 to make by tempering")
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_a_killed_command_keeps_the_runs_that_are_finished(on_ray, tmp_path):
    config = CONFIG.model_copy(update={"sampler": CONFIG.sampler.model_copy(update={"rounds": 10_000})})
    root = tmp_path / "store"
    command = orch(*COMMAND, "--rounds", "10000", "--store", str(root))
    kill_when(command, lambda: any(root.glob("datasets/*/shards/*.parquet")))
    finished = {path: path.stat().st_mtime_ns for path in root.glob("datasets/*/shards/*.parquet")}
    run.make(config, Store(str(root)))
    after = {path: path.stat().st_mtime_ns for path in root.glob("datasets/*/shards/*.parquet")}
    assert 1 <= len(finished) < len(after) == 4
    assert {path: after[path] for path in finished} == finished
    (_, _, card), *others = Store(str(root)).cards("datasets")
    assert not others
    assert shards.is_whole(card)
