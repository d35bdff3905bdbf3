import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from driving import contents, kill_when, orch

from nets.collapse import Stage
from nets.losses import reconstruction
from nets.sampling import decode, prior
from orchestrator import datasets, models, sweep
from orchestrator.config import SweepConfig, load
from orchestrator.store import Store


def weights(store: Store) -> dict[str, bytes]:
    return {name: content for name, content in contents(store, "models").items() if name.endswith("safetensors")}


def test_a_sweep_is_a_chain_of_artifacts_for_each_seed(swept):
    config, store = swept
    _, card = sweep.run(config, store)
    frame = pd.read_parquet(Path(store.folder("sweeps", sweep.sweep_name(config))) / "stages.parquet")
    assert set(frame["seed"]) == {0, 1}
    for _, chain in frame.groupby("trial"):
        assert chain["beta"].iloc[:2].tolist() == [1e-5, 1e-4]
        assert chain["gamma"].iloc[:5].tolist() == [0, 0, 1, 10, 100]
        for above, below in zip(chain["model"], chain["model"][1:5], strict=False):
            assert f"models/{above}" in store.card("models", below)["parents"]
    assert card["parents"][0] == f"datasets/{config.dataset.name}"
    assert len(card["figures"]["thresholds"]) == 2


def test_a_sweep_given_again_makes_nothing(swept):
    config, store = swept
    before = {path: path.stat().st_mtime_ns for path in Path(store.path).rglob("*")}
    sweep.run(config, store)
    assert {path: path.stat().st_mtime_ns for path in Path(store.path).rglob("*")} == before


def test_a_killed_sweep_goes_on_from_its_newest_stage(tiny, swept, tmp_path):
    root = tmp_path / "killed"
    command = orch("sweep", "--space", str(tiny), "--store", str(root))
    kill_when(command, lambda: len(list(root.glob("models/*/card.json"))) >= 3)
    finished = {path: path.stat().st_mtime_ns for path in root.glob("models/*/card.json")}
    subprocess.run(command, check=True, capture_output=True)
    after = {path: path.stat().st_mtime_ns for path in root.glob("models/*/card.json")}
    assert 3 <= len(finished) < len(after)
    assert {path: after[path] for path in finished} == finished
    assert weights(Store(str(root))) == weights(swept[1])


def test_stored_states_are_what_the_stored_weights_decode(swept):
    _, store = swept
    for _, name, card in store.cards("models"):
        model = models.load(name, store)
        codes = prior(models.GENERATED, model.latent_dim, card["config"]["seed"])
        states = decode(model, codes)[: models.KEPT].numpy()
        assert np.allclose(states, models.generated(name, store), atol=1e-5)


def test_losses_of_the_card_are_those_of_the_weights(swept):
    config, store = swept
    spins = datasets.read(config.dataset.name, store).tensor()
    held = spins[config.stage(0, Stage(1e-4, 1.0, None), None).kept :]
    for _, name, card in store.cards("models"):
        model = models.load(name, store)
        with torch.no_grad():
            mean, _ = model.encode(held)
            at_mean = reconstruction(model.decode(mean), held).item()
        assert abs(at_mean - card["figures"]["validation_reconstruction"]) < 0.1


def test_the_report_is_self_contained(swept):
    config, store = swept
    text = (Path(store.folder("sweeps", sweep.sweep_name(config))) / "report.html").read_text()
    assert text.count("data:image/png;base64,") == 3
    assert 'src="http' not in text and "<link" not in text


def test_a_plan_says_what_is_found_and_what_is_not(swept, store):
    config, full = swept
    assert "256 of 256 configurations found, 0 to anneal" in sweep.plan(config, full)[0]
    empty = sweep.plan(config, store)
    assert "0 of 256 configurations found, 256 to anneal" in empty[0]
    assert "seed 1: 0 of at most 6 stages found" in "\n".join(empty)
    assert not Path(store.path).exists()


def test_a_continuous_space_draws_the_same_points_again(tiny, on_ray, tmp_path, swept):
    drawn = []
    for name in ("a", "b"):
        settings = {
            "space": {"scan.beta": {"log_uniform": [2e-5, 1e-4]}},
            "trials": 2,
            "sampler": "tpe",
            "scan.gammas": [1],
            "scan.refine": 0,
            "seeds": [0],
        }
        config, store = load(SweepConfig, str(tiny), settings=settings), Store(str(tmp_path / name))
        _, card = sweep.run(config, store)
        drawn.append(sorted(row["beta"] for row in card["figures"]["thresholds"]))
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 2


def test_a_trial_of_two_workers_follows_a_trial_of_one(tiny, swept, tmp_path):
    """Under a Ray Train of its own; losses within 2 %, for sums in another order grow as training goes."""
    config, store = load(SweepConfig, str(tiny), settings={"resources.workers": 2, "seeds": [0]}), Store(str(tmp_path))
    name, _ = sweep.run(config, store)
    frames = []
    for where, sweep_name in ((swept[1], sweep.sweep_name(swept[0])), (store, name)):
        frame = pd.read_parquet(Path(where.folder("sweeps", sweep_name)) / "stages.parquet")
        frames.append(frame[(frame["seed"] == 0) & (frame["order"] < 5)])
    one, two = frames
    assert (one["model"].tolist(), len(two)) == (two["model"].tolist(), 5)
    assert np.allclose(one["train_reconstruction"], two["train_reconstruction"], rtol=0.02)
    assert not np.allclose(one["train_reconstruction"], two["train_reconstruction"][::-1], rtol=0.02)


def test_a_trial_that_diverges_ends_and_the_others_go_on(tiny, swept, tmp_path, capsys):
    settings = {"space": {"training.learning_rate": [1e-3, 1e30]}, "scan.beta": 1e-4, "seeds": [0]}
    _, card = sweep.run(load(SweepConfig, str(tiny), settings=settings), Store(str(tmp_path)))
    assert len(card["figures"]["thresholds"]) == 1
    assert "loss is not finite by step 30" in capsys.readouterr().err.replace("\n", " ")
