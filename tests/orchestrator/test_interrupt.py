"""What is kept of work that is interrupted, and what a person is told of it."""

import ctypes
import signal
import sys
import time
from pathlib import Path

import pytest
import yaml
from driving import HYBRID, contents, interrupt_when, orch

from orchestrator import console
from orchestrator.cli import interrupt_again
from orchestrator.data import run as data
from orchestrator.data.request import DatasetConfig
from orchestrator.lease import records
from orchestrator.store import Store
from orchestrator.sweeps import run as sweeps
from orchestrator.training import run as training

ANNEAL = {"L": 16, "sampler": {"sweeps": 300, "overrelaxation": 1, "finish": 20}, "configurations": 8192}


def check(code: int, printed: str, said: str) -> None:
    assert code == 1
    assert "Traceback" not in printed
    last = printed.strip().splitlines()[-1]
    assert last.startswith("interrupted; kept: ")
    assert said in last
    assert last.endswith("; the same command goes on")


def times(folder: Path, pattern: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob(pattern)}


def test_ctrl_c_in_the_callback_of_a_library_comes_again(monkeypatch, capfd):
    monkeypatch.setattr(sys, "unraisablehook", interrupt_again)
    with pytest.raises(KeyboardInterrupt):
        ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGINT))()
        time.sleep(20)
    assert not capfd.readouterr().err


def test_other_errors_that_python_drops_are_printed(monkeypatch, capfd):
    monkeypatch.setattr(sys, "unraisablehook", interrupt_again)
    ctypes.CFUNCTYPE(None)(lambda: 1 // 0)()
    assert "ZeroDivisionError" in capfd.readouterr().err


@pytest.mark.slow
def test_interrupted_sampling_keeps_its_shards_and_goes_on(on_ray, tmp_path):
    config, store = DatasetConfig.model_validate(ANNEAL), Store(str(tmp_path / "store"))
    root = Path(store.path)
    (tmp_path / "anneal.yaml").write_text(yaml.safe_dump(ANNEAL))
    command = orch("anneal", "--config", str(tmp_path / "anneal.yaml"), "--store", store.path)
    code, printed = interrupt_when(command, lambda: len(times(root, "datasets/*/shards/*.parquet")) >= 3)
    finished = times(root, "datasets/*/shards/*.parquet")
    assert store.card("datasets", config.name) is None
    ((_, _, record),) = records(store)
    assert record["state"] == "interrupted"
    check(code, printed, f" of 8192 configurations of {config.name}")
    assert 3 <= len(finished) < 16
    data.make(config, store)
    after = times(root, "datasets/*/shards/*.parquet")
    assert len(after) == 16
    assert {path: after[path] for path in finished} == finished


@pytest.mark.slow
def test_an_interrupted_training_goes_on_from_its_checkpoint(trained, tmp_path):
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(HYBRID.model_dump(mode="json")))
    store = Store(str(tmp_path / "store"))
    command = orch("train", "--model", str(tmp_path / "train.yaml"), "--store", store.path)
    checkpoint = Path(store.path, store.work("models", HYBRID.name), "checkpoint.safetensors")
    check(*interrupt_when(command, checkpoint.exists), f"the last checkpoint of {HYBRID.name}, at most step ")
    assert store.card("models", HYBRID.name) is None
    training.run(HYBRID, store)
    for path, content in contents(trained, "models").items():
        if path.endswith(".safetensors"):
            assert contents(store, "models")[path] == content


@pytest.mark.slow
def test_an_interrupted_sweep_is_not_taken_for_a_finished_one(tiny, swept, tmp_path):
    config, whole = swept
    store = Store(str(tmp_path / "store"))
    root = Path(store.path)
    command = orch("sweep", "--space", str(tiny), "--store", store.path)
    code, printed = interrupt_when(command, lambda: len(times(root, "models/*/card.json")) >= 3)
    check(code, printed, f"every training that the sweep {config.name} has finished")
    finished = times(root, "models/*/card.json")
    assert not store.names("sweeps")
    sweeps.run(config, store)
    after = times(root, "models/*/card.json")
    assert 3 <= len(finished) < len(after)
    assert {path: after[path] for path in finished} == finished
    figures = [where.card("sweeps", config.name)["figures"] for where in (store, whole)]
    assert figures[0] == figures[1]


def test_what_is_kept_is_said_as_it_is_at_the_interrupt():
    done = ["one"]
    assert console.kept_so_far() == ""
    with pytest.raises(KeyboardInterrupt), console.on_interrupt(lambda: f"{len(done)} shards"):
        assert console.kept_so_far() == "1 shards"
        done.append("two")
        raise KeyboardInterrupt
    assert console.kept_so_far() == "2 shards"


def test_work_that_ended_is_not_spoken_of():
    with console.on_interrupt(lambda: "first"):
        pass
    with pytest.raises(ValueError), console.on_interrupt(lambda: "failed"):
        raise ValueError
    assert console.kept_so_far() == ""


def test_work_inside_work_is_named_from_the_outside_in():
    with pytest.raises(KeyboardInterrupt), console.on_interrupt(lambda: "the sweep"):
        with console.on_interrupt(lambda: "the data"):
            pass
        with console.on_interrupt(lambda: "a stage"):
            raise KeyboardInterrupt
    assert console.kept_so_far() == "the sweep, a stage"
