"""Data sets: annealed by a pool of Ray actors, shard by shard, and read back.

A shard is the unit of work and of storage.  Its rows depend on the configuration alone, so the data set comes out
byte for byte the same from any number of actors, in any order, after any number of deaths.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch

from orchestrator.cluster import connect, cpus
from orchestrator.config import DatasetConfig
from orchestrator.console import progress, say
from orchestrator.errors import RequestError
from orchestrator.store import CARD, Store
from physics.annealing import anneal, batch_size
from physics.observables import magnetization, topological_charge

SHARD_BYTES = 32 * 2**20
SHARD_UPDATES = 2e10  # about a minute of one core: what a death costs at most
TYPICAL_FINISH = 2000
SHARDS_AT_LEAST = 16


def shard_rows(config: DatasetConfig) -> int:
    """Configurations a shard: whole batches of the kernel, within the limits above; a function of the request."""
    size, schedule = batch_size(config.L), config.schedule
    updates = (schedule.updates_per_spin + min(schedule.finish, TYPICAL_FINISH)) * config.L**2
    rows = min(SHARD_BYTES / (12 * config.L**2), SHARD_UPDATES / updates, config.configurations / SHARDS_AT_LEAST)
    return max(1, math.ceil(rows / size)) * size


def shards(config: DatasetConfig) -> list[range]:
    """The configurations of each shard."""
    rows, total = shard_rows(config), config.configurations
    return [range(first, min(first + rows, total)) for first in range(0, total, rows)]


def shard_file(indices: range) -> str:
    return f"{indices.start:08d}.parquet"


def encode(config: DatasetConfig, indices: range, spins: np.ndarray) -> bytes:
    """A Parquet file: index, spins (float32 bytes of shape (3, L, L)), energy, mz, topological_charge.

    Spins are a fixed-size binary column without compression, which reads back without decoding.
    """
    tensor = torch.from_numpy(spins)
    table = pa.table(
        {
            "index": pa.array(indices, pa.int64()),
            "spins": pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(12 * config.L**2), len(spins), [None, pa.py_buffer(np.ascontiguousarray(spins))]
            ),
            "energy": config.hamiltonian.energy(tensor).numpy(),
            "mz": magnetization(tensor)[:, 2].numpy(),
            "topological_charge": topological_charge(tensor, config.hamiltonian).numpy(),
        }
    ).replace_schema_metadata({"spins": json.dumps({"dtype": "float32", "shape": [3, config.L, config.L]})})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="none", use_dictionary=False, write_statistics=False)
    return buffer.getvalue()


def record(indices: range, content: bytes) -> dict[str, Any]:
    """A shard's entry in the manifest."""
    return {
        "file": shard_file(indices),
        "start": indices.start,
        "rows": len(indices),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


@ray.remote(num_cpus=1, max_restarts=0)
class Annealer:
    """Makes shards and writes them; configurations never travel."""

    def __init__(self, config: DatasetConfig, store: Store):
        torch.set_num_threads(1)
        self.config, self.store = config, store

    def ready(self) -> None:
        return None

    def make(self, indices: range) -> dict[str, Any]:
        config = self.config
        spins = anneal(config.hamiltonian, config.schedule, config.L, config.seed, indices)
        content = encode(config, indices, spins)
        self.store.write_file(f"datasets/{config.name}/{shard_file(indices)}", content)
        return record(indices, content)


def missing(config: DatasetConfig, store: Store) -> tuple[list[dict[str, Any]], list[range]]:
    """Records of the whole shards in the store, and the shards still to be made.

    A shard that was renamed to its name is whole; one that the manifest does not list yet is read and listed.
    """
    card = store.card("datasets", config.name) or {}
    listed = {entry["file"]: entry for entry in card.get("shards", [])}
    found, wanted = [], []
    for indices in shards(config):
        file = shard_file(indices)
        path = f"{store.folder('datasets', config.name)}/{file}"
        if not store.fs.exists(path):
            wanted.append(indices)
        elif file in listed:
            found.append(listed[file])
        else:
            found.append(record(indices, store.fs.cat_file(path)))
    return found, wanted


def make(config: DatasetConfig, store: Store, actors: int | None = None) -> dict[str, Any]:
    """The data set's card, what is missing of it made on the cluster.

    Args:
        actors: how many anneal side by side; one a CPU if None.
    """
    done, wanted = missing(config, store)
    if not wanted:
        return _manifest(config, store, done)
    connect()
    actors = min(actors or cpus(), len(wanted))
    total = config.configurations
    say(
        f"annealing {config.name}: {sum(map(len, wanted))} of {total} configurations, "
        f"L = {config.L}, on {actors} actors"
    )
    started = time.monotonic()
    with progress() as bar:
        task = bar.add_task("anneal", total=total, completed=sum(entry["rows"] for entry in done), note="")
        made = 0
        for entry in _work(config, store, wanted, actors):
            done.append(entry)
            made += entry["rows"]
            _manifest(config, store, done)
            rate = made / (time.monotonic() - started)
            bar.update(task, advance=entry["rows"], note=f"{rate:.1f} configurations/s")
    return _manifest(config, store, done)


def _work(config: DatasetConfig, store: Store, wanted: list[range], actors: int) -> Iterator[dict[str, Any]]:
    """Records of shards as they are finished.

    An actor is given work only once it has answered.  When one dies its shard goes back to the queue and another
    actor is asked for; if the cluster has no room for it any more, the others finish.
    """
    queue = list(wanted)
    idle: list[Any] = []
    running: dict[Any, tuple[Any, range | None]] = {}

    def hire() -> None:
        actor = Annealer.remote(config, store)  # type: ignore[attr-defined]
        running[actor.ready.remote()] = (actor, None)

    for _ in range(actors):
        hire()
    unfinished = len(queue)
    while unfinished:
        (reference,), _ = ray.wait(list(running), num_returns=1)
        actor, indices = running.pop(reference)
        try:
            entry = ray.get(reference)
        except ray.exceptions.RayActorError:
            if indices is not None:
                queue.append(indices)
            hire()
        else:
            idle.append(actor)
            if indices is not None:
                _check_shared(config, store, entry["file"])
                unfinished -= 1
                yield entry
        while queue and idle:
            actor, task = idle.pop(), queue.pop(0)
            running[actor.make.remote(task)] = (actor, task)
    for actor in [*idle, *(actor for actor, _ in running.values())]:
        ray.kill(actor)


def _check_shared(config: DatasetConfig, store: Store, file: str) -> None:
    path = f"{store.folder('datasets', config.name)}/{file}"
    if not store.fs.exists(path):
        raise RequestError(
            f"{path}: written by an actor where this machine cannot see it; expected a store that every node shares"
        )


def _manifest(config: DatasetConfig, store: Store, done: list[dict[str, Any]]) -> dict[str, Any]:
    """List the whole shards, if that changes anything."""
    card = {
        "kind": "dataset",
        "config": config.model_dump(mode="json"),
        "parents": [],
        "configurations": config.configurations,
        "shards": sorted(done, key=lambda entry: entry["start"]),
    }
    if store.card("datasets", config.name) != card:
        store.write_file(f"datasets/{config.name}/{CARD}", json.dumps(card, indent=1).encode())
    return card


def is_whole(card: dict[str, Any]) -> bool:
    """Whether a data set has all of its configurations."""
    return sum(entry["rows"] for entry in card["shards"]) == card["configurations"]


def read(name: str, store: Store, rows: int | None = None) -> np.ndarray:
    """Spins float32 ``(configurations, 3, L, L)``, or the first ``rows`` of them, every shard checked.

    Raises:
        RequestError: the data set is missing, not whole, or a shard of it is damaged.
    """
    card = store.card("datasets", name)
    if card is None or not is_whole(card):
        raise RequestError(f"{store.root}: data set {name} is {'not whole' if card else 'missing'}")
    L = card["config"]["L"]
    count = min(rows or card["configurations"], card["configurations"])
    spins = np.empty((count, 3, L, L), np.float32)
    for entry in card["shards"]:
        first = entry["start"]
        if first >= count:
            break
        content = store.read("datasets", name, entry["file"], entry["sha256"])
        column = pq.read_table(pa.BufferReader(content), columns=["spins"])["spins"].combine_chunks()
        column = column if isinstance(column, pa.Array) else column.chunk(0)
        part = np.frombuffer(column.buffers()[1], np.float32).reshape(-1, 3, L, L)
        spins[first : first + len(part)] = part[: count - first]
    return spins
