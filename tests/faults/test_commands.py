"""The main commands on S3 with faults at random: what they make is what they make in a folder, once each."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator

import pytest
import ray
from driving import HYBRID, contents, orch
from faults.proxy import Faults, between, bucket
from ray.cluster_utils import Cluster
from storm.test_storm import fetched, making

from orchestrator.catalogue.leftovers import leftovers
from orchestrator.store import KINDS, Store

pytestmark = pytest.mark.slow

CHANCES = {
    "slow": 0.02,
    "refused": 0.01,
    "lost": 0.02,
    "cut answer": 0.02,
    "cut upload": 0.02,
    "busy": 0.03,
    "stale": 0.05,
}
ANNEAL = ["anneal", "--L", "16", "--sweeps", "20", "--finish", "20", "--n", "2048"]
SWEEP = """
label: faults
dataset: {L: 16, hamiltonian: {D: 1.0, B: 0.4}, sampler: {sweeps: 20, finish: 50}, configurations: 256}
system: {name: evae-2021}
batch: 16
steps: 10
space: {system.beta: [1.0e-4, 1.0e-2]}
checkpoint_seconds: 0
"""
MADE = ".safetensors", ".float32", ".parquet"


@pytest.fixture(scope="module")
def faults() -> Iterator[Faults]:
    ray.shutdown()
    with bucket("commands") as target, between(target, CHANCES) as faults:
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_ADDRESS", cluster.address)
            yield faults
        cluster.shutdown()


@pytest.fixture(scope="module")
def commands(tmp_path_factory) -> dict[str, list[str]]:
    return {
        **making(tmp_path_factory.mktemp("requests"), ANNEAL, SWEEP, 20),
        "map": ["map", HYBRID.name, "--set", "points=21"],
    }


def run(command: list[str], root: str) -> str:
    done = subprocess.run(
        orch(*command, "--store", root), env={**os.environ}, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def made(faults, commands, tmp_path_factory) -> tuple[Store, Store, Callable[..., str]]:
    """The store of a folder, and that on S3 with what was made of it through faults."""
    local, root = Store(str(tmp_path_factory.mktemp("local") / "store")), "s3://commands/store"
    for name, command in commands.items():
        run(command, local.path)
        before = sum(faults.done.values()), faults.asked.total()
        run(command, root)
        print(f"{name}: {sum(faults.done.values()) - before[0]} faults in {faults.asked.total() - before[1]} requests")
    return local, Store(root), lambda *words: run([*words], root)


def test_every_command_makes_what_it_makes_in_a_folder(made, faults, tmp_path):
    local, remote, _ = made
    print(dict(faults.done), dict(faults.asked))
    copy = fetched(remote, tmp_path / "copy")
    for kind in KINDS:
        assert [name for _, name, _ in copy.cards(kind)] == [name for _, name, _ in local.cards(kind)]
        there, here = contents(copy, kind), contents(local, kind)
        assert {file for file in there if file.endswith(MADE)} == {file for file in here if file.endswith(MADE)}
        if kind in ("datasets", "models"):
            assert all(there[file] == here[file] for file in here if file.endswith(MADE))
    assert all(faults.done[fault] for fault in CHANCES)


def test_what_is_there_is_found_shown_and_removed(made, faults, commands):
    local, remote, orch_says = made
    names = {f"{kind}/{name}" for kind, name, _ in local.cards()}
    listed = json.loads(orch_says("list", "--json"))
    flat = [*listed, *(stage for entry in listed for stage in entry.get("stages", []))]
    assert {f"{entry['kind']}/{entry['name']}" for entry in flat} == names
    assert len(flat) == len(names), "nothing is there twice"
    assert (
        json.loads(orch_says("show", HYBRID.name, "--json"))["figures"] == remote.card("models", HYBRID.name)["figures"]
    )
    before = {name: remote.card(*name.split("/", 1))["created"] for name in names}
    orch_says(*commands["train"])
    assert {name: remote.card(*name.split("/", 1))["created"] for name in names} == before
    optimum = next(name for _, name, _ in remote.cards("optima"))
    orch_says("rm", optimum)
    assert remote.card("optima", optimum) is None
    assert {f"{kind}/{name}" for kind, name, _ in remote.cards()} == names - {f"optima/{optimum}"}
    faults.chances = {}
    orch_says("gc", "--days", "0")
    assert leftovers(remote, 0) == {}
    assert remote.read_file("index.html").count(b"<html") == 1
    assert {f"{kind}/{name}" for kind, name, _ in remote.cards()} == names - {f"optima/{optimum}"}
