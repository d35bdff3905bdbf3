import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from driving import environment

from nets.sampling import CHUNK, decode, prior
from orchestrator.errors import RequestError
from orchestrator.optimization import run
from orchestrator.optimization.request import OptimizeConfig
from orchestrator.store import Store
from orchestrator.training.trained import TrainedModel
from physics.observables import magnetization
from search.scoring import shares


@pytest.fixture
def model(swept) -> tuple[str, Store]:
    _, store = swept
    return next(name for _, name, card in store.cards("models") if card["config"]["model"]["gamma"] == 1), store


def search(model, actors=2, objective="mz_max", seed=0, **optimizer):
    config = OptimizeConfig(objective=objective, optimizer={"population": 40, **optimizer}, iterations=12, seed=seed)
    return run.run(config, *model, actors)


def spins_of(name: str, store: Store) -> np.ndarray:
    row = pd.read_parquet(Path(store.folder("optima", name)) / "winner.parquet").iloc[0]
    return np.asarray(row["spins"], np.float32).reshape(3, row["L"], row["L"])


@pytest.mark.parametrize("optimizer", [{"name": "genetic"}, {"name": "gradient", "learning_rate": 0.05}], ids=str)
def test_the_winner_is_stored_with_its_figures_and_beats_the_prior(swept, optimizer):
    _, store = swept
    diverse = next(name for _, name, card in store.cards("models") if card["config"]["model"]["gamma"] == 0)
    name, card = search((diverse, store), objective="mz_min", **optimizer)
    found = magnetization(torch.from_numpy(spins_of(name, store)))[2].item()
    assert found == pytest.approx(card["figures"]["score"], abs=1e-5)
    decoder = TrainedModel(diverse, store).decoder
    assert found < magnetization(decode(decoder, prior(40, decoder.latent_dim, 0)))[:, 2].min() - 1e-3
    assert card["parents"] == [f"models/{diverse}"]
    figures = card["figures"]
    assert figures["rested_energy"] < figures["energy"] and figures["rested_score"] == figures["rested_mz"]
    page = store.read("optima", name, "report.html").decode()
    assert "At rest" in page and all(text in page for text in card["said"])


def test_scores_do_not_depend_on_the_number_of_actors(swept, tmp_path, model):
    results = []
    for actors in (1, 2):
        copy = tmp_path / str(actors)
        shutil.copytree(model[1].path, copy, ignore=shutil.ignore_patterns("optima"))
        store = Store(str(copy))
        name, card = search((model[0], store), actors=actors, seed=5)
        results.append((card["figures"]["score"], spins_of(name, store)))
    assert results[0][0] == results[1][0]
    assert np.array_equal(results[0][1], results[1][1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["genetic", "gradient"])
def test_a_stopped_search_continues_exactly(name, model, monkeypatch, tmp_path):
    shutil.copytree(model[1].path, tmp_path / "s", ignore=shutil.ignore_patterns("optima"))
    stopped = (model[0], Store(str(tmp_path / "s")))
    _, whole = search(model, seed=9, name=name)
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    original, calls = run._save, []

    def fail(*arguments):
        original(*arguments)
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(run, "_save", fail)
    with pytest.raises(KeyboardInterrupt):
        search(stopped, seed=9, name=name)
    _, card = search(stopped, seed=9, name=name)
    assert len(calls) == 12
    assert card["figures"]["score"] == whole["figures"]["score"]


@pytest.mark.slow
def test_an_objective_of_ones_own_is_searched(model, tmp_path, monkeypatch):
    """A module in the folder that the command stands in, found by the driver and by the actors."""
    (tmp_path / "my_objectives.py").write_text(
        textwrap.dedent("""
            def mx(spins, model):
                return spins[:, 0].mean((-2, -1))
        """)
    )
    command = ["optimize", "--objective", "my_objectives:mx", "--population", "40", "--iterations", "12", "--json"]
    told = subprocess.run(
        [str(Path(sys.executable).with_name("orch")), *command, "--model", model[0], "--store", model[1].path],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    card = json.loads(told.stdout)
    assert card["figures"]["score"] == pytest.approx(spins_of(card["name"], model[1])[0].mean(), abs=1e-5)


def test_shares_cut_between_decoding_batches():
    codes = np.arange(100)[:, None]
    for parts in (1, 2, 3, 7, 20):
        pieces = shares(codes, parts)
        assert np.array_equal(np.concatenate(pieces), codes)
        assert all(len(piece) % CHUNK == 0 for piece in pieces[:-1])


def test_truncated_weights_are_one_clear_line(model, tmp_path):
    shutil.copytree(model[1].path, tmp_path / "s")
    file = tmp_path / "s" / "models" / model[0] / "vae.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(RequestError, match=r"vae.safetensors: damaged: 1000 bytes"):
        _ = TrainedModel(model[0], Store(str(tmp_path / "s"))).decoder
