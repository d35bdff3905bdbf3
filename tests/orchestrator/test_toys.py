"""A toy of each kind, from one file, through every command: nothing in the packages knows of them."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from driving import environment, orch

TOYS = Path(__file__).parents[1] / "toys.py"
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"  # what docs/protocols shows
REQUEST = yaml.safe_load((EXAMPLES / "toy.yaml").read_text())


@pytest.fixture(scope="module")
def made(tmp_path_factory, on_ray):
    """Runs a command in a folder of its own; returns what it says in JSON."""
    folder = tmp_path_factory.mktemp("toys")
    shutil.copy(TOYS, folder)
    for file in ("ising.yaml", "toy.yaml"):
        shutil.copy(EXAMPLES / file, folder)

    def run(*arguments: str) -> dict:
        env = {**environment(), "ORCH_MODULES": "toys"}  # for cards that name it
        done = subprocess.run(orch(*arguments, "--json"), cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return folder, run


@pytest.fixture(scope="module")
def swept(made):
    return made[1]("sweep", "--space", "toy.yaml")


@pytest.mark.slow
def test_a_data_set_has_the_observables_and_labels_of_the_toys(made):
    card = made[1]("anneal", "--config", "ising.yaml")
    assert card["name"].startswith("L16-ising-J1-B0.1-")
    frame = pd.concat([pd.read_parquet(Path(card["path"]) / entry["file"]) for entry in card["shards"]])
    assert list(frame) == ["index", "energy", "m", "temperature", "spins"]
    assert frame["temperature"].tolist()[:4] == [1.5, 2.5, 1.5, 2.5]
    spins = np.stack([np.frombuffer(row, np.float32).reshape(16, 16) for row in frame["spins"]])
    assert np.allclose(spins.mean((1, 2)), frame["m"], atol=1e-6)
    cold = frame["temperature"] == 1.5
    assert frame["energy"][cold].mean() < frame["energy"][~cold].mean()
    assert "lone spins" in (Path(card["path"]) / "report.html").read_text()


@pytest.mark.slow
def test_a_sweep_runs_the_program_of_the_toy_at_each_point(made, swept):
    figures = swept["figures"]
    assert (figures["metric"], figures["mode"]) == ("gain", "max")
    assert [row["system.beta"] for row in figures["summary"]] == [1e-3, 1e-1]
    assert figures["best"]["gain"] == max(row["gain"] for row in figures["summary"])
    frame = pd.read_parquet(Path(swept["path"]) / "stages.parquet")
    losses = frame.groupby("trial")["validation_reconstruction"]
    assert sorted(row["gain"] for row in figures["summary"]) == pytest.approx(sorted(losses.first() - losses.last()))
    assert frame.groupby("trial").size().tolist() == [2, 2]
    descent = made[1]("show", frame["model"].iloc[1])["parents"]
    assert f"models/{frame['model'].iloc[0]}" in descent


def test_a_training_is_found_that_a_sweep_has_made(made, swept):
    frame = pd.read_parquet(Path(swept["path"]) / "stages.parquet")
    keys = {key: REQUEST[key] for key in ("dataset", "system", "batch", "steps", "validation")}
    (made[0] / "train.yaml").write_text(yaml.safe_dump(keys))
    card = made[1]("train", "--model", "train.yaml", "--set", "system.beta=0.1")
    assert card["name"] in set(frame["model"])
    assert card["figures"]["validation_reconstruction"] < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["toys:HillClimbingSettings", "gradient"])
def test_the_latent_space_of_the_toy_is_searched(made, swept, optimizer):
    model = pd.read_parquet(Path(swept["path"]) / "stages.parquet")["model"].iloc[1]
    options = ["--model", model, "--objective", "toys:Order", "--optimizer", optimizer]
    found = made[1]("optimize", *options, "--population", "16", "--iterations", "20")
    winner = pd.read_parquet(Path(found["path"]) / "winner.parquet").iloc[0]
    assert found["figures"]["score"] == pytest.approx(winner["m"] ** 2, abs=1e-6)
    assert found["figures"]["score"] == pytest.approx(np.mean(winner["spins"]) ** 2, abs=1e-6)
    assert found["figures"]["score"] > 0.5


@pytest.mark.slow
def test_samples_of_the_toy_are_judged_and_inverted(made, swept):
    model = pd.read_parquet(Path(swept["path"]) / "stages.parquet")["model"].iloc[1]
    card = made[1]("evaluate", model, "--n", "40")
    assert {"energy", "m", "m_std", "lone_spins", "coverage"} <= set(card["figures"]["rows"][0])
    assert card["said"][-1] == "No group of equal labels has 10 configurations: groups are not compared."
    inverse = made[1]("invert", model, f"{made[1]('list', 'datasets')[0]['name']}:3", "--iterations", "20")
    assert 0 <= inverse["figures"]["reconstruction"] < 2
    assert made[1]("map", model, "--points", "21")["figures"]["barrier_height"] > -10


def test_an_edited_toy_is_another_artifact(made, tmp_path):
    """The recipe of a class of one's own holds the digest of its source."""
    from toys import Ising

    recipe = Ising().recipe()
    assert recipe["name"] == "toys:Ising"
    assert len(recipe["source"]) == 64
