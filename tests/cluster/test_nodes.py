"""Several Ray nodes in one machine: actors killed at random, a node removed, the driver killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import ray
from driving import HYBRID, orch, started
from ray.cluster_utils import Cluster

from orchestrator.cluster import Pool
from orchestrator.data import run
from orchestrator.data.request import DatasetConfig
from orchestrator.data.shards import is_whole
from orchestrator.store import Store
from orchestrator.training import run as training
from orchestrator.training.request import TrainConfig

KILLS = 20
CONFIG = DatasetConfig.model_validate(
    {"L": 16, "sampler": {"sweeps": 300, "overrelaxation": 3, "finish": 20}, "configurations": 512 * 64}
)


@pytest.fixture
def cluster(request):
    ray.shutdown()
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(getattr(request, "param", 3)):
        nodes.add_node(num_cpus=1)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def shards(store: Store) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in Path(store.folder("datasets", CONFIG.name), "shards").glob("*.parquet")
    }


class Witness(threading.Thread):
    """Notes when each shard appeared, and calls ``storm`` every time that it looks."""

    def __init__(self, folder: Path, storm):
        super().__init__()
        self.folder, self.storm, self.over = folder, storm, threading.Event()
        self.seen: dict[str, int] = {}

    def run(self) -> None:
        while not self.over.wait(0.1):
            for path in self.folder.glob("*.parquet"):
                self.seen.setdefault(path.name, path.stat().st_mtime_ns)
            self.storm()


@pytest.mark.slow
def test_twenty_actors_killed_and_a_node_removed_leave_the_undisturbed_bytes(cluster, tmp_path, monkeypatch):
    ray.init(address=cluster.address, log_to_driver=False)
    calm, stormy = Store(str(tmp_path / "calm")), Store(str(tmp_path / "stormy"))
    run.make(CONFIG, calm, actors=4)

    monkeypatch.setattr("orchestrator.cluster.RETRIES", KILLS)  # chance may kill several that do the same piece
    actors, killed, chance = started(monkeypatch), [], random.Random(0)

    def kill_one():
        alive = [actor for actor in actors if actor not in killed]
        if alive and len(killed) < KILLS and chance.random() < 0.5:
            killed.append(chance.choice(alive))
            ray.kill(killed[-1])

    witness = Witness(Path(stormy.folder("datasets", CONFIG.name), "shards"), kill_one)
    witness.start()
    maker = threading.Thread(target=run.make, args=(CONFIG, stormy, 4))
    maker.start()
    while len(killed) < KILLS // 2 or not witness.seen:
        time.sleep(0.1)
    cluster.remove_node(next(iter(cluster.worker_nodes)))
    maker.join()
    witness.over.set()
    witness.join()

    assert len(killed) == KILLS
    assert len(ray.nodes()) == 4
    assert sum(node["Alive"] for node in ray.nodes()) == 3
    assert shards(stormy) == shards(calm)
    now = {path.name: path.stat().st_mtime_ns for path in witness.folder.glob("*.parquet")}
    assert {name: now[name] for name in witness.seen} == witness.seen, "a finished shard was made again"
    assert is_whole(stormy.card("datasets", CONFIG.name))


@pytest.mark.slow
def test_a_driver_killed_on_a_cluster_is_continued_there(cluster, tmp_path):
    command = [
        sys.executable,
        "-m",
        "orchestrator.cli",
        "anneal",
        "--L",
        "16",
        "--sweeps",
        "300",
        "--overrelaxation",
        "3",
        "--finish",
        "20",
    ]
    command += ["--n", str(CONFIG.configurations), "--store", str(tmp_path / "store")]
    environment = {**os.environ, "RAY_ADDRESS": cluster.address}
    store = Store(str(tmp_path / "store"))
    folder = Path(store.folder("datasets", CONFIG.name), "shards")
    driver = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while len(list(folder.glob("*.parquet"))) < 5:
        assert driver.poll() is None
        time.sleep(0.05)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    time.sleep(3)  # its actors are taken down by the cluster
    finished = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert 5 <= len(finished) < len(after) == len(run.shards(CONFIG))
    assert {name: after[name] for name in finished} == finished
    assert is_whole(store.card("datasets", CONFIG.name))


@pytest.mark.parametrize("cluster", [0], indirect=True)
def test_actors_that_a_new_node_has_room_for_are_used(cluster):
    ray.init(address=cluster.address, log_to_driver=False)

    def make():
        return lambda piece: time.sleep(0.5) or ray.get_runtime_context().get_node_id()

    nodes = []
    with Pool("numbers", make, (), 30) as pool:
        assert pool.answered() == 1
        for _, node in pool.map(range(30)):
            nodes.append(node)
            if len(nodes) == 1:
                cluster.add_node(num_cpus=1)
    assert pool.most == 2
    assert len(set(nodes)) == 2
    assert min(map(nodes.count, set(nodes))) > 3


@pytest.mark.slow
@pytest.mark.parametrize("cluster", [0], indirect=True)
def test_a_search_that_runs_uses_a_node_that_joins(cluster, trained, tmp_path):
    """Each state that is scored leaves the name of the node that scores it."""
    seen = tmp_path / "seen"
    seen.mkdir()
    (tmp_path / "noting.py").write_text(
        textwrap.dedent(f"""
            import pathlib, ray

            def mx(spins, model):
                if ray.is_initialized():
                    pathlib.Path({str(seen)!r}, ray.get_runtime_context().get_node_id()).touch()
                return spins[:, 0].mean((-2, -1))
        """)
    )
    command = ["optimize", "--model", HYBRID.name, "--objective", "noting:mx", "--population", "400"]
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with (tmp_path / "printed").open("w") as output:
        driver = subprocess.Popen(
            orch(*command, "--iterations", "100000", "--store", trained.path),
            env={**os.environ, "RAY_ADDRESS": cluster.address, "PYTHONPATH": path},
            cwd=tmp_path,
            stdout=output,
            stderr=output,
        )
        try:
            for nodes in (1, 2):
                deadline = time.monotonic() + 300
                while len(list(seen.iterdir())) < nodes:
                    assert driver.poll() is None, (tmp_path / "printed").read_text()
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
                if nodes == 1:
                    cluster.add_node(num_cpus=1)
        finally:
            driver.kill()
            driver.wait()


@pytest.mark.slow
@pytest.mark.parametrize("cluster", [1], indirect=True)
def test_an_elastic_training_goes_on_with_the_node_that_is_left(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "8")
    ray.init(address=cluster.address, log_to_driver=False)
    store = Store(str(tmp_path / "store"))
    config = TrainConfig.model_validate(
        {
            "dataset": {"L": 16, "sampler": {"sweeps": 20}, "configurations": 256},
            "system": {"name": "vae", "width": 4, "latent": 8},
            "batch": 16,
            "steps": 2000,
            "checkpoint_seconds": 0,
            "resources": {"workers": [1, 2]},
        }
    )
    trained = threading.Thread(target=training.run, args=(config, store))
    trained.start()
    checkpoint = Path(store.path, store.work("models", config.name), "checkpoint.safetensors")
    while not checkpoint.exists():
        assert trained.is_alive()
        time.sleep(0.05)
    cluster.remove_node(next(iter(cluster.worker_nodes)))
    trained.join()
    course = store.card("models", config.name)["history"]
    assert [entry["step"] for entry in course] == list(range(50, 2001, 50))
    assert course[-1]["reconstruction"] < 0.5 * course[0]["reconstruction"]
