"""Two drivers on one store, started together and disturbed at random: one whole artifact, of the undisturbed bytes.

Both join one Ray of the test.  A witness reads the leases all along, and a stage that two make at once is a failure.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray
import yaml
from driving import HYBRID, contents, orch, workers_below
from faults import proxy
from ray.cluster_utils import Cluster

from orchestrator.lease import RUNNING, TRY
from orchestrator.store import KINDS, Store

pytestmark = pytest.mark.slow

ROUNDS = 50
REMOTE_ROUNDS = 10
ANNEAL = ["anneal", "--L", "16", "--sweeps", "300", "--overrelaxation", "1", "--finish", "20", "--n", "8192"]
SWEEP = """
label: storm
dataset: {L: 16, hamiltonian: {D: 1.0, B: 0.4}, sampler: {sweeps: 20, finish: 50}, configurations: 256}
system: {name: evae-2021}
batch: 16
steps: 30
trial: {name: collapse, beta_start: 1.0e-4, gammas: [1, 100], refine: 1, warmup_steps: 60}
space: {system.beta: [1.0e-4]}
checkpoint_seconds: 0
seeds: 2
"""
DISTURBANCES = ["kill the driver", "kill a worker", "press Ctrl-C", "nothing"]


def making(folder: Path, anneal: list[str], sweep: str, iterations: int) -> dict[str, list[str]]:
    """The commands that make data, a model, a sweep and an optimum; their requests are written into a folder."""
    (folder / "train.yaml").write_text(yaml.safe_dump(HYBRID.model_dump(mode="json")))
    (folder / "sweep.yaml").write_text(sweep)
    return {
        "anneal": anneal,
        "train": ["train", "--model", str(folder / "train.yaml")],
        "sweep": ["sweep", "--space", str(folder / "sweep.yaml")],
        "optimize": ["optimize", "--model", HYBRID.name, "--iterations", str(iterations)],
    }


@pytest.fixture(scope="module")
def commands(tmp_path_factory) -> dict[str, list[str]]:
    return making(tmp_path_factory.mktemp("requests"), ANNEAL, SWEEP, 300)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a Ray that all drivers join."""
    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False})
    yield cluster.address
    cluster.shutdown()


def environment(address: str, **more: str) -> dict[str, str]:
    return {**os.environ, "RAY_ADDRESS": address, **more}


@pytest.fixture(scope="module")
def calm(commands, address, tmp_path_factory) -> dict[str, Store]:
    """What each command makes undisturbed."""
    stores = {}
    for name, command in commands.items():
        stores[name] = Store(str(tmp_path_factory.mktemp(name) / "store"))
        if name == "optimize":
            shutil.copytree(stores["train"].path, stores[name].path)
        subprocess.run(orch(*command, "--store", stores[name].path), env=environment(address), check=True)
    return stores


class Witness:
    """Reads the tries at every artifact; a try begun while the one before was alive is noted."""

    def __init__(self, store: Store):
        self.store, self.holders, self.twice = store, {}, []

    def look(self) -> None:
        for kind in KINDS:
            for name in self.store.entries(f".unfinished/{kind}"):
                folder = self.store.work(kind, name)
                for file in filter(TRY.fullmatch, self.store.entries(folder)):
                    self._seen(kind, name, int(file[4:8]), self.store.read_json(f"{folder}/{file}") or {})

    def _seen(self, kind: str, name: str, number: int, record: dict) -> None:
        holder = record.get("holder")
        if holder is None or (kind, name, number, holder) in self.holders:
            return
        self.holders[kind, name, number, holder] = record["pid"]
        before = self.store.read_json(f"{self.store.work(kind, name)}/try-{number - 1:04d}.json")
        if before and before["state"] == RUNNING and before["pid"] != record["pid"] and alive(before["pid"]):
            self.twice.append((kind, name, number))


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def workers_of_tests() -> list[int]:
    """Processes that work for the Ray of this test, without the agents, with which a whole node would go."""
    found = workers_below(os.getpid(), "")
    return sorted({*found} - {*workers_below(os.getpid(), "Agent")})


def disturb(what: str, driver: subprocess.Popen) -> None:
    if what == "kill the driver":
        driver.kill()
    elif what == "press Ctrl-C":
        os.killpg(driver.pid, signal.SIGINT)
    elif what == "kill a worker" and (workers := workers_of_tests()):
        os.kill(random.choice(workers), signal.SIGKILL)


def driving(command: list[str], env: dict[str, str]) -> subprocess.Popen:
    """A driver with a process group of its own, in which Ctrl-C may be pressed."""
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def storm(command: list[str], env: dict[str, str], what: str, when: float, witness: Witness) -> str:
    """Run a command twice at once, disturb the first, then give the command again; returns what was printed."""
    drivers = [driving(command, env) for _ in range(2)]
    begun, disturbed = time.monotonic(), False
    while any(driver.poll() is None for driver in drivers):
        if not disturbed and time.monotonic() - begun > when:
            disturb(what, drivers[0])
            disturbed = True
        witness.look()
        time.sleep(0.05)
        assert time.monotonic() - begun < 300, "a driver hangs"
    printed = [driver.communicate()[0] for driver in drivers]
    assert drivers[1].returncode == 0, printed[1]
    again = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    return "".join([*printed, again.stderr])


@pytest.mark.parametrize("number", range(ROUNDS))
def test_two_drivers_in_a_storm_make_one_whole_artifact(number, commands, calm, address, tmp_path):
    chance = random.Random(number)
    name = list(commands)[number % len(commands)]
    what, when = DISTURBANCES[number // len(commands) % len(DISTURBANCES)], chance.uniform(2, 15)
    store = Store(str(tmp_path / "store"))
    if name == "optimize":
        shutil.copytree(calm["train"].path, store.path)
    witness = Witness(store)
    printed = storm(orch(*commands[name], "--store", store.path), environment(address), what, when, witness)
    assert witness.twice == []
    assert "Traceback" not in printed
    for kind in KINDS:
        assert contents(store, kind) == contents(calm[name], kind), f"{name}, {what} after {when:.1f} s"
        assert store.entries(f".unfinished/{kind}") == []


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    """An S3 server on this machine, as variables of the environment."""
    with proxy.bucket("storm") as server:
        yield proxy.variables(*server)


def fetched(store: Store, folder: Path) -> Store:
    """A local copy, in which files have the names that cards give them."""
    for path in store.fs.find(store.path):
        local = folder / Path(path).relative_to(store.path)
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_bytes(store.fs.cat_file(path))
    copy = Store(str(folder))
    for kind, name, card in copy.cards():
        listed = {entry["at"]: file for file, entry in card["files"].items() if "at" in entry}
        for path in Path(copy.folder(kind, name)).iterdir():
            if path.name in listed:
                path.rename(path.with_name(listed[path.name]))
    return copy


@pytest.mark.parametrize("number", range(REMOTE_ROUNDS))
def test_two_drivers_in_a_storm_on_an_object_store(number, commands, calm, bucket, tmp_path):
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "include_dashboard": False})
    try:
        chance = random.Random(number)
        name, what = list(commands)[number % len(commands)], DISTURBANCES[number // 2 % len(DISTURBANCES)]
        when = chance.uniform(2, 15)
        store = Store(f"s3://storm/{number}")
        if name == "optimize":
            for file in Path(calm["train"].path).rglob("*"):
                if file.is_file():
                    store.fs.put_file(str(file), f"{store.path}/{file.relative_to(calm['train'].path)}")
        witness = Witness(store)
        env = environment(cluster.address, **bucket)
        printed = storm(orch(*commands[name], "--store", store.root), env, what, when, witness)
    finally:
        cluster.shutdown()
    assert witness.twice == []
    assert "Traceback" not in printed
    copy = fetched(store, tmp_path / "copy")
    for kind in KINDS:
        assert names_of(copy, kind) == names_of(calm[name], kind)
    for kind in ("datasets", "models"):
        assert weights(copy, kind) == weights(calm[name], kind), f"{name}, {what} after {when:.1f} s"


def names_of(store: Store, kind) -> list[str]:
    return [name for _, name, _ in store.cards(kind)]


def weights(store: Store, kind: str) -> dict[str, bytes]:
    """What was made, without pages and cards."""
    kept = (".safetensors", ".float32", ".parquet")
    return {file: content for file, content in contents(store, kind).items() if file.endswith(kept)}
