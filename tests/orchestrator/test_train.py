import itertools
import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from driving import HYBRID as CONFIG
from driving import SETTINGS, contents, kill_when, orch, workers_below
from ray.train import ControllerError, WorkerGroupError
from safetensors.torch import save as save_tensors
from typer.testing import CliRunner

from nets.metrics import Measured, ensemble, features, judge
from nets.sampling import decode, prior
from nets.system import build
from nets.training import state
from orchestrator.cli import app
from orchestrator.config import load
from orchestrator.data import shards
from orchestrator.errors import FailedError, RequestError
from orchestrator.evaluation import run as evaluation
from orchestrator.evaluation.request import SampleConfig
from orchestrator.store import Store
from orchestrator.training import run
from orchestrator.training.loop import GENERATED
from orchestrator.training.request import Resources, TrainConfig
from orchestrator.training.trained import TrainedModel

NAME = CONFIG.name


def networks(store: Store) -> dict[str, bytes]:
    return {path: content for path, content in contents(store, "models").items() if path.endswith(".safetensors")}


def checkpoint(store: Store) -> Path:
    return Path(store.path, store.work("models", NAME), "checkpoint.safetensors")


def test_the_artifact_decodes_and_has_its_figures_and_page(trained):
    card = trained.card("models", NAME)
    assert [entry["step"] for entry in card["history"]] == [*range(25, 201, 25)]
    assert set(networks(trained)) == {
        f"{NAME}/{part}.safetensors" for part in ("generator", "encoder", "discriminator")
    }
    model = TrainedModel(NAME, trained).decoder
    states = decode(model, prior(GENERATED, 8, 0))
    assert CONFIG.dataset.hamiltonian.energy(states).mean().item() == pytest.approx(
        card["figures"]["energy_mean"], abs=1e-5
    )
    page = (Path(trained.folder("models", NAME)) / "report.html").read_text()
    assert "hybrid on L16-D1-B0" in page
    assert card["history"][-1]["reconstruction"] < card["history"][0]["reconstruction"]


@pytest.mark.slow
def test_a_killed_driver_is_continued_to_the_same_weights(trained, tmp_path):
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(CONFIG.model_dump(mode="json")))
    store = Store(str(tmp_path / "store"))
    command = orch("train", "--model", str(tmp_path / "train.yaml"), "--store", store.path)
    kill_when(command, checkpoint(store).exists)
    assert not list(Path(store.path).glob("models/*/card.json"))
    run.run(CONFIG, store)
    assert networks(store) == networks(trained)
    assert not checkpoint(store).exists()
    assert store.card("models", NAME)["history"] == trained.card("models", NAME)["history"]


def run_and_kill(name: str, store: Store) -> None:
    """Train, and kill the processes of that name once there is a checkpoint."""
    killed = []

    def kill():
        while not checkpoint(store).exists():
            time.sleep(0.02)
        for process in workers_below(os.getpid(), name):
            os.kill(process, signal.SIGKILL)
            killed.append(process)

    killer = threading.Thread(target=kill)
    killer.start()
    run.run(CONFIG, store)
    killer.join()
    assert killed


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_ends_at_the_same_weights(trained, tmp_path):
    store = Store(str(tmp_path / "store"))
    run_and_kill("RayTrainWorker", store)
    assert networks(store) == networks(trained)


@pytest.mark.slow
def test_a_killed_controller_is_started_again_and_the_training_ends_at_the_same_weights(trained, tmp_path, capsys):
    store = Store(str(tmp_path / "store"))
    run_and_kill("TrainController", store)
    assert networks(store) == networks(trained)
    printed = capsys.readouterr().err
    assert "the controller of Ray Train died; it is started again" in printed
    assert "Traceback" not in printed


class Dying:
    """A trainer of Ray Train that raises errors one after the other, then ends."""

    def __init__(self, errors):
        self.errors = iter(errors)

    def fit(self):
        if error := next(self.errors, None):
            raise error


@pytest.mark.parametrize("error", [WorkerGroupError("killed", {}), ControllerError(RuntimeError("killed"))], ids=type)
def test_deaths_before_a_training_went_farther_do_not_count(error, store, monkeypatch):
    trainer, steps = Dying([error] * 20), itertools.count()
    monkeypatch.setattr(run, "_trainer", lambda *of: trainer)
    monkeypatch.setattr(run, "LOOK_SECONDS", 0.01)
    for _ in run.run_distributed(print, store, Resources(), lambda: None, lambda: next(steps)):
        pass
    assert next(trainer.errors, None) is None
    with pytest.raises(FailedError, match="died 4 times without coming farther: Training failed due to"):
        trainer = Dying([error] * 20)
        for _ in run.run_distributed(print, store, Resources(), lambda: None, lambda: 7):
            pass
    assert len(list(trainer.errors)) == (19 if isinstance(error, WorkerGroupError) else 16)


@pytest.mark.slow
def test_two_workers_follow_the_losses_of_one(trained, tmp_path):
    """Within 2 % over 200 steps of 16: sums in another order, amplified by training."""
    store = Store(str(tmp_path / "store"))
    _, card = run.run(CONFIG.model_copy(update={"resources": Resources(workers=(2, 2))}), store)
    one = trained.card("models", NAME)["history"]
    for a, b in zip(one, card["history"], strict=True):
        assert a["reconstruction"] == pytest.approx(b["reconstruction"], rel=0.02)


def test_a_training_that_is_there_is_found(trained, capsys):
    assert run.run(CONFIG, trained)[0] == NAME
    assert f"found models/{NAME}" in capsys.readouterr().err


@pytest.mark.slow
def test_losses_that_are_not_finite_are_one_line(on_ray, tmp_path):
    wild = CONFIG.model_copy(update={"system": CONFIG.system.model_copy(update={"learning_rate": 1e30})})
    with pytest.raises(FailedError, match=r"hybrid-b0.001-g0.001-s0-\w+: loss is not finite by step 50: .*nan"):
        run.run(wild, Store(str(tmp_path / "store")))


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["another architecture", "cut short"])
def test_a_checkpoint_that_does_not_fit_is_set_aside_and_said(damage, trained, store, capsys):
    narrow = CONFIG.system.model_copy(update={"width": 2})
    content = save_tensors(state(build(narrow, CONFIG.dataset.hamiltonian)), {"step": "3", "history": "[]"})
    path = f"{store.work('models', NAME)}/checkpoint.safetensors"
    store.write_file(path, content if damage[0] == "a" else content[:1000])
    _, card = run.run(CONFIG, store)
    (said,) = card["said"]
    assert "/damaged/" in said and "not a checkpoint of this model" in said
    assert said in capsys.readouterr().err.replace("\n", "")
    assert networks(store) == networks(trained)


def test_a_truncated_network_is_named(trained, tmp_path):
    shutil.copytree(trained.path, tmp_path / "store")
    path = tmp_path / "store" / "models" / NAME / "generator.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RequestError, match=r"generator.safetensors: damaged"):
        _ = TrainedModel(NAME, Store(str(tmp_path / "store"))).decoder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"system": {"L": 32}}, "system.L: expected the data set's 16, found 32"),
        ({"dataset": {**SETTINGS["dataset"], "L": 24}}, "system.L: expected 16, 32, 64"),
        ({"batch": 1000}, "expected a batch of 1000 to train on, found 230"),
        ({"system": {"nome": "gan"}}, "system.nome: unknown key, did you mean name?"),
        ({"resources": {"workers": 3}}, "resources.workers: expected numbers that divide the batch of 16, found 3"),
        (
            {"resources": {"workers": [1, 4]}},
            "resources.workers: expected numbers that divide the batch of 16, found 3",
        ),
        ({"resources": {"workers": [4, 1]}}, r"resources.workers: expected a positive .* found .4, 1."),
        ({"resources": {"workers": 0}}, r"resources.workers: expected a positive number or .least, most., found 0$"),
        ({"steps": 0}, "steps: expected greater than 0, found 0"),
        (
            {
                "system": {"name": "cwgan", "latent": 257},
                "dataset": {
                    "L": 16,
                    "hamiltonian": {"name": "xy"},
                    "sampler": {"name": "metropolis"},
                    "configurations": 256,
                },
                "batch": 6,
                "resources": {"workers": 2},
            },
            "batch: expected 4 or more a worker for cwgan, found 6",
        ),
    ],
    ids=str,
)
def test_requests_that_make_no_sense_are_one_line(settings, message):
    with pytest.raises(RequestError, match=message):
        load(TrainConfig, settings={**SETTINGS, **settings})


@pytest.mark.slow
def test_samples_led_by_the_discriminator_please_it_more(trained):
    discriminator = TrainedModel(NAME, trained).discriminator
    drawn, led = (
        evaluation.sample(SampleConfig(n=40, steps=steps, step_size=0.02), NAME, trained) for steps in (0, 20)
    )
    assert drawn.shape == (40, 3, 16, 16)
    assert (discriminator(led) > discriminator(drawn)).float().mean() > 0.9
    noisy = [
        evaluation.sample(SampleConfig(n=4, steps=3, langevin=True, seed=seed), NAME, trained) for seed in (1, 1, 2)
    ]
    assert torch.equal(noisy[0], noisy[1])
    assert not torch.equal(noisy[0], noisy[2])


def test_the_data_judged_as_samples_of_themselves_score_full_marks(trained):
    spins, model = shards.read(CONFIG.dataset.name, trained).tensor(), CONFIG.dataset.hamiltonian
    halves = [Measured.of(part, model) for part in spins.split(128)]
    whole = Measured.joined(halves)
    row = judge(whole, whole, whole.features, model)
    assert min(row[key] for key in ("precision", "recall", "coverage")) > 0.98
    assert row["energy"] == pytest.approx(row["data_energy"])
    expected = ensemble(spins, model)
    assert row["kspace_mse"] == pytest.approx(expected["kspace_mse"], rel=1e-4)
    assert row["nodal_points"] == pytest.approx(expected["nodal_points"])
    assert row["authenticity"] == 0
    assert judge(halves[0], halves[1], whole.features, model)["precision"] > 0.8


@pytest.mark.slow
def test_an_evaluation_has_a_row_for_each_way_and_a_page(trained):
    config = SampleConfig(n=evaluation.BLOCK + 40, steps=20, step_size=0.02)
    name, card = evaluation.evaluate(config, [NAME], trained)
    held_out, drawn, led, noisy = card["figures"]["rows"]
    assert (drawn["steps"], led["steps"]) == (0, 20)
    assert (held_out["system"], noisy["system"]) == ("held-out data", "data with noise")
    states = evaluation.sample(config.model_copy(update={"steps": 0}), NAME, trained)
    assert drawn["energy"] == pytest.approx(CONFIG.dataset.hamiltonian.energy(states).mean().item(), abs=1e-5)
    summary = card["figures"]["summary"]
    assert [row["system"] for row in summary] == ["held-out data", *2 * [CONFIG.system.label], "data with noise"]
    assert [row["trainings"] for row in summary] == [0, 1, 1, 0]
    text = (Path(trained.folder("analyses", name)) / "report.html").read_text()
    assert text.count("<figure>") == 1
    assert evaluation.evaluate(config, [NAME], trained)[0] == name


def test_the_reference_is_one_half_of_the_held_out_data_and_the_ceiling_is_the_other(trained, capsys):
    """Of 256 configurations 26 are held out: 13 and 13, and no row of the training data."""
    model = CONFIG.dataset.hamiltonian
    data = shards.read(CONFIG.dataset.name, trained).tensor()
    _, card = evaluation.evaluate(SampleConfig(n=30, seed=1), [NAME], trained)
    held_out, drawn, noise = card["figures"]["rows"]
    assert "26 configurations are held out: 13 are the reference" in capsys.readouterr().err
    assert card["figures"]["reference"] == 13
    reference, other = Measured.of(data[-13:], model), Measured.of(data[-26:-13], model)
    assert card["figures"]["data_energy"] == pytest.approx(model.energy(data[-13:]).mean().item(), abs=1e-6)
    expected = judge(other, reference, features(data[:230], model), model)
    assert all(held_out[key] == pytest.approx(value) for key, value in expected.items())
    assert noise["energy"] > held_out["energy"] + 0.02
    assert drawn["precision"] <= held_out["precision"]


def test_too_few_held_out_data_are_refused_in_one_line(trained, monkeypatch):
    monkeypatch.setattr(evaluation, "FEWEST", 20)
    with pytest.raises(RequestError, match=rf"^{NAME}: expected at least 40 configurations held out .*, found 26$"):
        evaluation.evaluate(SampleConfig(n=30), [NAME], trained)


def test_commands_sample_and_evaluate(trained, tmp_path):
    out = tmp_path / "samples.npy"
    command = ["sample", NAME, "--n", "3", "--to", str(out), "--store", trained.path]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert np.load(out).shape == (3, 3, 16, 16)
    with pytest.raises(RequestError, match="exists"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    told = CliRunner().invoke(app, ["evaluate", NAME, "--n", "20", "--json", "--store", trained.path])
    assert {"coverage", "adagan_coverage", "nodal_points"} <= set(json.loads(told.stdout)["figures"]["rows"][0])


@pytest.mark.slow
def test_a_model_without_a_discriminator_does_not_lead(swept):
    _, store = swept
    name = store.names("models")[0]
    with pytest.raises(RequestError, match=f"{name}: has no discriminator"):
        evaluation.sample(SampleConfig(n=2, steps=1), name, store)
