"""cluster-onprem.yaml started for real on this machine, by the commands of the file, and its token."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config

ROOT = Path(__file__).parents[2]
ANNEAL = "anneal", "--L", "8", "--n", "16", "--sweeps", "5", "--json"


def starting(config: dict, kind: str, port: int) -> list[str]:
    """The commands of the file, at a port of our own; `ray stop` would end other people's Ray on this machine."""
    commands = [command for command in config[f"{kind}_start_ray_commands"] if not command.endswith("ray stop")]
    assert len(commands) == 1
    return [command.replace(":6379", f":{port}").replace("=6379", f"={port}") for command in commands]


@pytest.mark.slow
def test_the_file_starts_a_cluster_that_takes_its_token_and_no_other(machine):
    config = yaml.safe_load((ROOT / "cluster-onprem.yaml").read_text())
    config["provider"] |= {"head_ip": "127.0.0.1", "worker_ips": []}  # the worker is started here, without SSH
    (machine.home / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(prepare_config(config)))
    assert machine.run(sys.executable, "-m", "orchestrator.cli", "cluster", "token").returncode == 0
    for command in starting(config, "head", machine.port):
        machine.start(command)
    for command in starting(config, "worker", machine.port):
        machine.start(command, RAY_HEAD_IP=machine.address.rpartition(":")[0])
    assert machine.address.endswith(f":{machine.port}")

    store = str(machine.folder / "store")
    made = machine.orch(*ANNEAL, "--store", store, RAY_AUTH_MODE="token")
    assert made.returncode == 0, made.stderr
    assert Path(store, "datasets", json.loads(made.stdout)["name"], "card.json").exists()
    examined = machine.orch("doctor", "--store", store, "--json", RAY_AUTH_MODE="token")
    assert examined.returncode == 0, examined.stdout + examined.stderr
    assert len(json.loads(examined.stdout)["nodes"]) == 2

    stranger = machine.folder / "stranger"
    stranger.mkdir()
    for own in (
        {"RAY_AUTH_MODE": "token", "HOME": str(stranger)},  # without a token
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
        {"RAY_AUTH_MODE": "disabled"},
    ):
        refused = machine.orch(*ANNEAL, "--seed", "1", "--store", store, **own)
        assert refused.returncode == 2
        assert f"RAY_ADDRESS {machine.address}: expected" in refused.stderr.splitlines()[-1]
        assert "Traceback" not in refused.stderr
    assert len(list(Path(store, "datasets").iterdir())) == 1


def test_an_address_that_nobody_listens_at_is_refused_at_once(machine):
    refused = machine.run(sys.executable, "-m", "orchestrator.cli", *ANNEAL, RAY_ADDRESS=f"127.0.0.1:{machine.port}")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith(f"RAY_ADDRESS 127.0.0.1:{machine.port}: expected a Ray cluster")
