"""Commands ended from elsewhere, and what their tries said."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import yaml
from driving import HYBRID, SETTINGS, orch, running
from typer.testing import CliRunner

from orchestrator import lease as leases
from orchestrator.cli import app
from orchestrator.data.request import DatasetConfig
from orchestrator.errors import FailedError, RequestError
from orchestrator.lease import StoppedError, lease, records, stop
from orchestrator.optimization.request import SearchesConfig
from orchestrator.training import run as training
from orchestrator.training.request import TrainConfig

ANNEAL = {"L": 16, "sampler": {"sweeps": 300, "overrelaxation": 1, "finish": 20}, "configurations": 16384}
NAME = "evae-2021-b1-" + "0" * 12


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.05)


class Making(threading.Thread):
    """A worker's thread that makes a model and reports as it goes, until ``over``."""

    def __init__(self, store, reports=True):
        super().__init__()
        self.store, self.reports, self.over, self.begun = store, reports, threading.Event(), threading.Event()
        self.error: Exception | None = None

    def run(self):
        try:
            with lease(self.store, "models", NAME) as held:
                for step in range(10**6):
                    if self.over.wait(0.01):
                        raise FailedError("it went wrong")
                    if self.reports:
                        held.report(step, 10**6, "steps", "a note")
                    self.begun.set()
        except Exception as error:
            self.error = error


def test_a_worker_ends_with_its_next_report(store):
    making = Making(store)
    making.start()
    making.begun.wait()
    record = stop(store, "models", NAME)
    making.join(10)
    assert isinstance(making.error, StoppedError)
    assert (record["state"], record["cause"]) == ("interrupted", str(making.error))
    with pytest.raises(RequestError, match="nobody is making it"):
        stop(store, "models", NAME)
    again = Making(store)
    again.start()
    assert again.begun.wait(10)  # the next try is not stopped by what was asked of the last
    again.join(0.5)
    assert again.error is None
    again.over.set()
    again.join()
    assert str(again.error) == "it went wrong"

    printed = CliRunner().invoke(app, ["logs", NAME, "--store", store.root]).stdout.splitlines()
    assert printed[0].startswith("try 1, interrupted, process ")
    assert any(line.startswith("try 2, failed, process ") for line in printed)
    assert printed[-1].endswith("FailedError: it went wrong")
    told = json.loads(CliRunner().invoke(app, ["logs", NAME, "--json", "--store", store.root]).stdout)
    assert [record["state"] for record in told] == ["interrupted", "failed"]


def test_one_that_does_not_report_is_said_to_run_on(store, monkeypatch):
    monkeypatch.setattr(leases, "STOP_SECONDS", 0.3)
    making = Making(store, reports=False)
    making.start()
    making.begun.wait()
    with pytest.raises(FailedError, match="it has not in 0 s, and will with its next report"):
        stop(store, "models", NAME)
    making.over.set()
    making.join()


def test_watching_ends_when_nothing_runs(store, monkeypatch):
    monkeypatch.setattr("orchestrator.catalogue.status.WATCH_SECONDS", 0.05)
    making = Making(store)
    making.start()
    making.begun.wait()
    threading.Timer(0.5, making.over.set).start()
    result = CliRunner().invoke(app, ["status", "--watch", "--store", store.root])
    making.join()
    assert result.exit_code == 0
    assert f"models/{NAME}" in result.stdout
    assert "failed" in result.stdout.splitlines()[-1]


@pytest.mark.slow
def test_a_command_is_ended_from_another_terminal(on_ray, store, tmp_path):
    config = DatasetConfig.model_validate(ANNEAL)
    (tmp_path / "anneal.yaml").write_text(yaml.safe_dump(ANNEAL))
    command = orch("anneal", "--config", str(tmp_path / "anneal.yaml"), "--store", store.path)
    shards = Path(store.path, "datasets", config.name, "shards")
    with running(command, lambda: len(list(shards.glob("*.parquet"))) >= 2) as (process, printed):
        result = CliRunner().invoke(app, ["stop", config.name, "--store", store.path])
        assert result.exit_code == 0, result.exception
        assert f"datasets/{config.name}: process {process.pid} on " in result.stdout
        assert process.wait(60) == 1
        assert printed.read_text().strip().splitlines()[-1].startswith("interrupted; kept: ")
    ((_, _, record),) = records(store)
    assert record["state"] == "interrupted"
    assert len(list(shards.glob("*.parquet"))) >= 2


@pytest.mark.slow
def test_a_training_is_ended_from_another_terminal_and_keeps_its_checkpoint(on_ray, store, tmp_path):
    config = TrainConfig.model_validate({**SETTINGS, "steps": 100_000})
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = orch("train", "--model", str(tmp_path / "train.yaml"), "--store", store.path)
    checkpoint = Path(store.path, store.work("models", config.name), "checkpoint.safetensors")
    with running(command, checkpoint.exists) as (process, printed):
        result = CliRunner().invoke(app, ["stop", config.name, "--store", store.path])
        assert result.exit_code == 0, result.exception
        assert process.wait(60) == 1
        last = printed.read_text().strip().splitlines()[-1]
    assert last == f"{config.name}: stopped by 'orch stop'; what it had reached is kept"
    assert checkpoint.exists()
    assert [record["state"] for _, _, record in records(store)] == ["interrupted"]


@pytest.mark.slow
def test_one_of_several_searches_is_ended_and_the_others_go_on(on_ray, store):
    training.run(HYBRID, store)
    config = SearchesConfig(objective=["mz_max"], seeds=2, iterations=100_000)
    first, second = (one.name_in(HYBRID.name) for one in config.each)
    command = orch("optimize", "--model", HYBRID.name, "--seeds", "2", "--iterations", "100000", "--store", store.path)

    def states() -> dict[str, str]:
        return {name: record["state"] for kind, name, record in records(store) if kind == "optima"}

    with running(command, lambda: [*states().values()] == ["running"] * 2) as (process, printed):
        CliRunner().invoke(app, ["stop", first, "--store", store.path], catch_exceptions=False)
        assert states() == {first: "interrupted", second: "running"}
        assert process.poll() is None
        CliRunner().invoke(app, ["stop", second, "--store", store.path], catch_exceptions=False)
        assert process.wait(60) == 1
        last = printed.read_text().strip().splitlines()[-1]
    assert last.startswith(f"2 of 2 searches failed; kept: 0; optima/{first}: StoppedError: stopped by 'orch stop'")
