import subprocess
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import ray
import torch
from driving import contents, kill_when, orch

from orchestrator.data import run, shards
from orchestrator.data.request import DatasetConfig
from orchestrator.errors import RequestError
from orchestrator.store import Store
from physics.annealing import Annealing

COMMAND = ["anneal", "--L", "8", "--sweeps", "5", "--finish", "20", "--n", "16384"]
SLOW = ["anneal", "--L", "16", "--sweeps", "300", "--overrelaxation", "1", "--finish", "20", "--n", "16384"]


def test_one_actor_and_two_make_the_same_bytes(small_data, on_ray, tmp_path):
    one, two = Store(str(tmp_path / "one")), Store(str(tmp_path / "two"))
    run.make(small_data, one, actors=1)
    run.make(small_data, two, actors=2)
    assert contents(one, "datasets") == contents(two, "datasets")
    assert len(contents(one, "datasets")) == len(run.shards(small_data)) + 1


def test_the_data_are_what_the_kernel_makes(small_data, on_ray, store):
    run.make(small_data, store)
    spins = shards.read(small_data.name, store)
    assert spins.shape == (small_data.configurations, 3, 8, 8)
    chosen = [0, 777, 5000, 16383]
    alone = small_data.sampler.sample(small_data.hamiltonian, 8, small_data.seed, chosen).spins
    assert np.array_equal(spins[np.array(chosen)].numpy(), alone)
    shard = pq.read_table(Path(store.folder("datasets", small_data.name)) / "00000000.parquet")
    energy = small_data.hamiltonian.energy(spins[: len(shard)].tensor())
    assert np.allclose(shard["energy"].to_numpy(), energy.numpy(), atol=1e-6)
    raw = np.stack([np.frombuffer(row.as_py(), np.float32) for row in shard["spins"][:5]])
    assert np.array_equal(raw.reshape(-1, 3, 8, 8), spins[:5].tensor())


def test_rows_are_gathered_from_a_view_as_from_a_tensor(small_data, on_ray, store):
    run.make(small_data, store)
    spins = shards.read(small_data.name, store)
    whole = spins.tensor()
    order = torch.randperm(len(spins), generator=torch.Generator().manual_seed(0))[:500]
    assert torch.equal(spins[order], whole[order])
    part = spins[3000:9000]
    assert len(part) == 6000
    assert torch.equal(part[order[order < 6000]], whole[3000:9000][order[order < 6000]])
    assert torch.equal(part[::100].tensor(), whole[3000:9000:100])
    assert torch.equal(spins[np.array([-1, 0])], whole[[-1, 0]])
    with pytest.raises(IndexError):
        part[np.array([6000])]


def test_the_data_card_is_written_once_the_data_are_whole(small_data, on_ray, store):
    run.make(small_data, store)
    page = Path(store.folder("datasets", small_data.name)) / "report.html"
    assert "16384 configurations of a ChiralMagnet, L = 8, by annealing" in page.read_text()
    page.unlink()
    run.make(small_data, store)
    assert page.exists()


def test_actors_killed_at_random_cost_nothing_but_time(small_data, on_ray, tmp_path, monkeypatch):
    calm, stormy = Store(str(tmp_path / "calm")), Store(str(tmp_path / "stormy"))
    run.make(small_data, calm)
    actors = []
    hire = run.SamplingActor.remote
    monkeypatch.setattr(run.SamplingActor, "remote", lambda *a: actors.append(hire(*a)) or actors[-1])
    killed = []

    def storm():
        while len(killed) < 3 and not over.wait(0.15):
            if actors:
                ray.kill(actors[-1])
                killed.append(actors[-1])

    over = threading.Event()
    thread = threading.Thread(target=storm)
    thread.start()
    run.make(small_data, stormy)
    over.set()
    thread.join()
    assert killed
    assert contents(calm, "datasets") == contents(stormy, "datasets")


def test_a_killed_driver_carries_on_with_what_is_finished(tmp_path, on_ray):
    folder = tmp_path / "killed" / "datasets"
    kill_when(orch(*SLOW, "--store", str(tmp_path / "killed")), lambda: len(list(folder.glob("*/*.parquet"))) >= 3)
    finished = {path.name: path.stat().st_mtime_ns for path in folder.glob("*/*.parquet")}
    for name in ("killed", "calm"):
        subprocess.run(orch(*SLOW, "--store", str(tmp_path / name)), check=True, capture_output=True)
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*/*.parquet")}
    assert 3 <= len(finished) < len(after)
    assert {name: after[name] for name in finished} == finished
    assert contents(Store(str(tmp_path / "killed")), "datasets") == contents(Store(str(tmp_path / "calm")), "datasets")


def test_a_corrupted_shard_is_named(small_data, on_ray, store):
    run.make(small_data, store)
    shard = Path(store.folder("datasets", small_data.name)) / "00002048.parquet"
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(content)
    with pytest.raises(RequestError, match=r"00002048.parquet: damaged"):
        shards.read(small_data.name, store)


def test_a_data_set_that_is_not_whole_is_not_read(small_data, store):
    shards.write_manifest(small_data, store, [])
    with pytest.raises(RequestError, match="not whole"):
        shards.read(small_data.name, store)


def test_shards_hold_every_configuration_once(small_data):
    parts = run.shards(small_data)
    assert [i for part in parts for i in part] == list(range(small_data.configurations))


@pytest.fixture
def on_gpu(monkeypatch):
    """The GPU that Ray is told of, with the kernel in Triton's interpreter where there is none."""
    pytest.importorskip("triton")
    monkeypatch.setattr(run, "device_for", lambda config, store: "gpu")


def test_a_gpu_actor_makes_several_shards_in_one_go(on_ray, on_gpu, store, monkeypatch):
    config = DatasetConfig.model_validate(
        {"L": 4, "sampler": {"sweeps": 2, "overrelaxation": 1, "finish": 3}, "configurations": 64 * 2 + 10}
    )
    monkeypatch.setattr(Annealing, "batch", lambda self, L, device="cpu": 128 if device == "gpu" else 64)
    parts = run.shards(config)
    assert [len(task) for task in run.tasks(config, parts, "gpu")] == [2, 1]
    assert [len(task) for task in run.tasks(config, parts, "cpu")] == [1, 1, 1]
    name, card = run.make(config, store)
    assert name == config.name
    assert card["device"] == "gpu"
    assert len(card["shards"]) == 3
    chosen = np.array([0, 63, 64, 130])
    alone = config.sampler.sample(config.hamiltonian, 4, config.seed, chosen, "gpu").spins
    assert np.array_equal(shards.read(config.name, store)[chosen].numpy(), alone)


def test_data_begun_on_a_gpu_are_not_continued_without_one(small_data, on_ray, store):
    shards.write_manifest(small_data, store, [], "gpu")
    with pytest.raises(RequestError, match="begun on a GPU; expected a cluster with one"):
        run.make(small_data, store)


class Astray(Store):
    """A store that the actors look for where it is not."""

    def __reduce__(self):
        return Store, ("/etc",)


def test_actors_that_cannot_start_end_the_run(small_data, on_ray, tmp_path):
    with pytest.raises(ray.exceptions.RayActorError, match="/etc: not a store"):
        run.make(small_data, Astray(str(tmp_path / "store")))
