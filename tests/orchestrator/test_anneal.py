import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import ray
import torch
import yaml
from driving import contents, kill_when, orch, started

from orchestrator.data import run, shards
from orchestrator.data.request import DatasetConfig
from orchestrator.errors import RequestError
from orchestrator.store import Store
from physics.annealing import Annealing

COMMAND = ["anneal", "--L", "8", "--sweeps", "5", "--finish", "20", "--n", "16384"]
SLOW = {"L": 16, "sampler": {"sweeps": 300, "overrelaxation": 1, "finish": 20}, "configurations": 8192}


@pytest.fixture(scope="module")
def annealed(small_data, on_ray, tmp_path_factory) -> Store:
    """The small data set, as one actor makes it; a test that changes it takes a copy."""
    store = Store(str(tmp_path_factory.mktemp("annealed") / "store"))
    run.make(small_data, store, actors=1)
    return store


@pytest.fixture
def copied(annealed, tmp_path) -> Store:
    shutil.copytree(annealed.path, tmp_path / "copied")
    return Store(str(tmp_path / "copied"))


def test_one_actor_and_two_make_the_same_bytes(small_data, annealed, tmp_path):
    one, two = annealed, Store(str(tmp_path / "two"))
    run.make(small_data, two, actors=2)
    assert contents(one, "datasets") == contents(two, "datasets")
    assert len(list(Path(one.path).glob("datasets/*/shards/*"))) == len(run.shards(small_data))


def test_the_data_are_what_the_kernel_makes(small_data, annealed):
    store = annealed
    spins = shards.read(small_data.name, store)
    assert spins.shape == (small_data.configurations, 3, 8, 8)
    chosen = [0, 777, 5000, 16383]
    alone = small_data.sampler.sample(small_data.hamiltonian, 8, small_data.seed, chosen).spins
    assert np.array_equal(spins[np.array(chosen)].numpy(), alone)
    shard = pq.read_table(Path(store.folder("datasets", small_data.name), "shards", "00000000.parquet"))
    energy = small_data.hamiltonian.energy(spins[: len(shard)].tensor())
    assert np.allclose(shard["energy"].to_numpy(), energy.numpy(), atol=1e-6)
    raw = np.stack([np.frombuffer(row.as_py(), np.float32) for row in shard["spins"][:5]])
    assert np.array_equal(raw.reshape(-1, 3, 8, 8), spins[:5].tensor())


def test_rows_are_gathered_from_a_view_as_from_a_tensor(small_data, annealed):
    store = annealed
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


def test_the_data_have_a_page_and_their_energies_on_the_card(small_data, annealed):
    store, card = annealed, annealed.card("datasets", small_data.name)
    page = Path(store.folder("datasets", small_data.name)) / "report.html"
    assert "16384 configurations of the spin model chiral on a lattice of L = 8, by annealing" in page.read_text()
    energy = small_data.hamiltonian.energy(shards.read(small_data.name, store).tensor())
    assert card["figures"]["energy_mean"] == pytest.approx(energy.mean().item(), abs=1e-6)
    assert card["figures"]["energy_min"] == pytest.approx(energy.min().item(), abs=1e-6)
    assert store.entries(".unfinished/datasets") == []


def test_the_folder_of_shards_is_one_table_for_pandas(small_data, annealed):
    store = annealed
    table = pd.read_parquet(Path(store.folder("datasets", small_data.name), "shards"))
    assert sorted(table["index"]) == list(range(small_data.configurations))


def test_spins_behave_as_an_array(small_data, annealed):
    store = annealed
    spins = shards.read(small_data.name, store)[:20]
    whole = np.asarray(spins)
    assert whole.shape == spins.shape == (20, 3, 8, 8)
    assert whole.dtype == spins.dtype == np.float32
    assert np.array_equal(spins[7], whole[7])
    assert np.array_equal(spins[-1], whole[-1])
    assert np.array_equal(spins[np.arange(20) % 3 == 0], whole[::3])
    assert np.array_equal(np.stack([np.asarray(state) for state in spins]), whole)
    assert np.array_equal(torch.as_tensor(whole), spins.tensor())


def test_a_shard_that_went_missing_is_made_again(small_data, copied):
    store, card = copied, copied.card("datasets", small_data.name)
    lost = Path(store.folder("datasets", small_data.name), "shards", "00002048.parquet")
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(RequestError, match=r"00002048.parquet: missing"):
        shards.read(small_data.name, store)
    assert run.make(small_data, store)[1] == card
    assert lost.read_bytes() == content


def test_a_file_that_is_no_shard_is_set_aside(small_data, annealed, store):
    store.write_file(f"datasets/{small_data.name}/shards/00002048.parquet", b"PAR1 no more")
    run.make(small_data, store)
    (aside,) = Path(store.path).rglob("damaged/*-00002048.parquet")
    assert aside.read_bytes() == b"PAR1 no more"
    assert contents(store, "datasets") == contents(annealed, "datasets")


def test_a_data_set_begun_by_version_0_4_is_continued(small_data, annealed, store):
    calm, card = annealed, annealed.card("datasets", small_data.name)
    folder = f"datasets/{small_data.name}"
    old = [{**entry, "file": Path(entry["file"]).name} for entry in card["shards"][:3]]
    for entry in old:
        store.write_file(f"{folder}/{entry['file']}", calm.read_file(f"{folder}/shards/{entry['file']}"))
    begun = {key: card[key] for key in ("kind", "config", "parents", "configurations", "device")}
    store.write_file(f"{folder}/card.json", json.dumps({**begun, "shards": old}).encode())
    _, finished = run.make(small_data, store)
    assert finished["shards"][:3] == old
    assert torch.equal(shards.read(small_data.name, store).tensor(), shards.read(small_data.name, calm).tensor())


def test_actors_killed_at_random_cost_nothing_but_time(small_data, annealed, tmp_path, monkeypatch):
    calm, stormy = annealed, Store(str(tmp_path / "stormy"))
    actors = started(monkeypatch)
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


@pytest.mark.slow
def test_a_killed_driver_carries_on_with_what_is_finished(tmp_path, on_ray):
    config = DatasetConfig.model_validate(SLOW)
    killed, calm = Store(str(tmp_path / "killed")), Store(str(tmp_path / "calm"))
    folder = Path(killed.folder("datasets", config.name), "shards")
    (tmp_path / "slow.yaml").write_text(yaml.safe_dump(SLOW))
    command = orch("anneal", "--config", str(tmp_path / "slow.yaml"), "--store", killed.path)
    kill_when(command, lambda: len(list(folder.glob("*.parquet"))) >= 3)
    finished = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    for store in (killed, calm):
        run.make(config, store)
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}
    assert 3 <= len(finished) < len(after)
    assert {name: after[name] for name in finished} == finished
    assert contents(killed, "datasets") == contents(calm, "datasets")


def test_a_corrupted_shard_is_named(small_data, copied):
    store = copied
    shard = Path(store.folder("datasets", small_data.name), "shards", "00002048.parquet")
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(content)
    with pytest.raises(RequestError, match=r"00002048.parquet: damaged"):
        shards.read(small_data.name, store)


def test_a_shard_is_hashed_once_in_a_process_unless_it_changes(small_data, copied, monkeypatch):
    hashed, digest = [], shards.hashlib.file_digest
    monkeypatch.setattr(
        shards.hashlib, "file_digest", lambda file, kind: hashed.append(file.name) or digest(file, kind)
    )
    for _ in range(3):
        shards.read(small_data.name, copied)
    assert len(hashed) == len(run.shards(small_data))
    os.utime(hashed[0])
    shards.read(small_data.name, copied)
    assert hashed[len(run.shards(small_data)) :] == hashed[:1]


def test_a_data_set_that_is_not_whole_is_not_read(small_data, store):
    run._list(small_data, store, [], "cpu")
    with pytest.raises(RequestError, match="missing"):
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
    run._list(small_data, store, [], "gpu")
    with pytest.raises(RequestError, match="begun on a GPU; expected a cluster with one"):
        run.make(small_data, store)


class Astray(Store):
    """A store that the actors look for where it is not."""

    def __reduce__(self):
        return Store, ("/etc",)


def test_what_keeps_actors_from_working_is_said_as_it_is(small_data, on_ray, tmp_path):
    with pytest.raises(RequestError, match="/etc: not a store"):
        run.make(small_data, Astray(str(tmp_path / "store")))


def test_the_manifest_of_many_shards_is_written_a_few_times(small_data, tmp_path, monkeypatch):
    """As often as there are shards, it would cost the square of their number."""
    written, write = [], Store.write_file

    def counted(store, path, content):
        if path.endswith("manifest.json"):
            written.append(len(content))
        write(store, path, content)

    monkeypatch.setattr(Store, "write_file", counted)
    monkeypatch.setattr(run, "shard_rows", lambda config: 1)
    config = small_data.model_copy(update={"configurations": 150})
    store = Store(str(tmp_path / "store"))
    run.make_here(config, store)
    assert len(shards.read(config.name, store)) == 150
    assert sum(written) < 16 * written[-1]  # 75 times, if each shard were listed as it comes
