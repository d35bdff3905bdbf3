"""The cache of shards on this machine: read once from the object store, by whichever process, and never too large."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from faults.proxy import Faults, between, bucket

from orchestrator.data import mapping, shards
from orchestrator.data.request import DatasetConfig
from orchestrator.data.run import make_here
from orchestrator.errors import RequestError
from orchestrator.store import Store

DATA = DatasetConfig.model_validate({"L": 8, "sampler": {"sweeps": 1, "finish": 0}, "configurations": 8192})
READ = """
import hashlib, sys
from orchestrator.data.mapping import cached
from orchestrator.store import Store

store = Store("s3://cache/store")
for entry in store.card("datasets", sys.argv[1])["shards"]:
    path, sha256 = store.inside("datasets", sys.argv[1], entry["file"]), entry["sha256"]
    content = cached(sha256, entry["bytes"], lambda: store.read_checked(path, sha256))
    assert hashlib.sha256(content).hexdigest() == sha256
print("read")
"""


@pytest.fixture(scope="module")
def faults() -> Iterator[Faults]:
    with bucket("cache") as target, between(target, {}) as faults:
        make_here(DATA, Store("s3://cache/store"))
        yield faults


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("ORCH_CACHE", str(tmp_path / "cache"))
    shards._fetched.cache_clear()
    return tmp_path / "cache"


def read(faults: Faults) -> tuple[np.ndarray, int]:
    """The spins as another process would see them, and the bytes of objects that were fetched for it."""
    shards._fetched.cache_clear()
    before = faults.bytes
    return np.asarray(shards.read(DATA.name, Store("s3://cache/store"))), faults.bytes - before


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir() if path.name != mapping.LOCK}


def entries() -> list[dict]:
    return Store("s3://cache/store").card("datasets", DATA.name)["shards"]


def total() -> int:
    return sum(entry["bytes"] for entry in entries())


def test_what_was_read_once_is_not_fetched_again(faults, folder):
    first, fetched = read(faults)
    again, card = read(faults)
    columns = shards.columns(DATA.name, Store("s3://cache/store"))
    assert np.array_equal(first, again) and len(columns["energy"]) == len(first)
    assert fetched - card == total() > 50 * card
    assert files(folder) == {entry["sha256"]: entry["bytes"] for entry in entries()}


def test_the_cache_is_never_larger_than_it_may_be(faults, folder, monkeypatch):
    content = {hashlib.sha256(part).hexdigest(): part for part in map(random.Random(0).randbytes, [1000] * 20)}
    monkeypatch.setenv("ORCH_CACHE_GB", "5.5e-6")
    names = list(content)
    for name in names:
        assert bytes(mapping.cached(name, 1000, lambda name=name: content[name])) == content[name]
        assert bytes(mapping.cached(names[0], 1000, lambda: content[names[0]])) == content[names[0]]
        assert sum(files(folder).values()) <= 5500
    assert set(files(folder)) == {names[0], *names[-4:]}, "what was used longest ago goes first"


def test_a_data_set_that_is_larger_than_the_cache_is_read_into_memory(faults, folder, monkeypatch):
    spins, _ = read(faults)
    monkeypatch.setenv("ORCH_CACHE_GB", str(0.9e-9 * total()))
    for path in folder.iterdir():
        path.unlink()
    assert np.array_equal(read(faults)[0], spins)
    assert len(shards.columns(DATA.name, Store("s3://cache/store"))["energy"]) == len(spins)
    assert files(folder) == {}


def test_what_another_process_fetches_is_not_thrown_out(folder, monkeypatch):
    folder.mkdir(exist_ok=True)
    monkeypatch.setenv("ORCH_CACHE_GB", "1.5e-6")
    content = bytes(1000)
    left, other = (folder / f"{name}{mapping.PART}" for name in ("left", "other"))
    left.write_bytes(content)
    with mapping._alone(other) as file:
        file.write(content)
        file.flush()
        mapping.cached(hashlib.sha256(content).hexdigest(), 1000, lambda: content)
        assert other.exists() and not left.exists()


def test_a_file_of_the_cache_that_is_damaged_is_fetched_again(faults, folder):
    spins, _ = read(faults)
    path = folder / entries()[3]["sha256"]
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    again, fetched = read(faults)
    assert np.array_equal(again, spins)
    assert path.stat().st_size <= fetched < 2 * path.stat().st_size + 20_000


def test_what_is_fetched_is_checked(faults, folder):
    with pytest.raises(RequestError, match="damaged"):
        mapping.cached("0" * 64, 10, lambda: Store("s3://cache/store").read_checked("cache/store/store.json", "0" * 64))
    assert files(folder) == {}


@pytest.mark.parametrize("said", ["", "0"])
def test_where_there_can_be_no_cache_there_is_none(said, faults, folder, monkeypatch, capsys):
    spins, _ = read(faults)
    monkeypatch.setenv("ORCH_CACHE", "/dev/null/cache" if not said else str(folder))
    monkeypatch.setenv("ORCH_CACHE_GB", said)
    mapping._without.cache_clear()
    assert np.array_equal(read(faults)[0], spins)
    assert ("shards are fetched without a cache: " in capsys.readouterr().err) == (not said)


@pytest.mark.parametrize("said", ["many", "-1", "nan"])
def test_a_size_that_is_none_is_refused(said, faults, folder, monkeypatch):
    monkeypatch.setenv("ORCH_CACHE_GB", said)
    with pytest.raises(RequestError, match=f"ORCH_CACHE_GB: expected a number of GB, 0 or more, found '{said}'"):
        read(faults)


def start() -> subprocess.Popen:
    """A process that reads the data set."""
    command = [sys.executable, "-c", READ, DATA.name]
    return subprocess.Popen(command, env={**os.environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_that_read_at_once_fetch_each_shard_once(faults, folder):
    before = faults.bytes
    readers = [start() for _ in range(3)]
    printed = [reader.communicate(timeout=120) for reader in readers]
    assert [out for out, _ in printed] == ["read\n"] * 3, printed
    assert faults.bytes - before < 1.1 * total()


def test_a_process_that_is_killed_while_it_fetches_leaves_nothing_that_is_read(faults, folder):
    faults.chances = {"slow": 1.0}
    try:
        reader = start()
        while not folder.is_dir() or not [name for name in files(folder) if name.endswith(mapping.PART)]:
            assert reader.poll() is None
            time.sleep(0.01)
        reader.send_signal(signal.SIGKILL)
        reader.wait()
    finally:
        faults.chances = {}
    whole = {name for name in files(folder) if not name.endswith(mapping.PART)}
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == name for name in whole)
    spins, _ = read(faults)
    assert spins.shape == (8192, 3, 8, 8)
    assert set(files(folder)) == {entry["sha256"] for entry in entries()}


def test_threads_that_come_and_go_never_read_another_s_content(folder, monkeypatch):
    """Few files fit; each of many threads asks for all of them, in an order of its own."""
    monkeypatch.setenv("ORCH_CACHE_GB", "3e-6")
    content = {hashlib.sha256(part).hexdigest(): part for part in map(random.Random(1).randbytes, [1000] * 6)}
    wrong: list[str] = []

    def ask(seed: int) -> None:
        order = random.Random(seed).choices(list(content), k=100)
        for name in order:
            if bytes(mapping.cached(name, 1000, lambda name=name: content[name])) != content[name]:
                wrong.append(name)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sum(files(folder).values()) <= 3000
