"""Annealing on Ray: a pool of actors makes the shards of a data set.

A shard is the unit of work and of storage.  Its rows depend on the configuration alone, so the data set comes out
byte for byte the same from any number of actors, in any order, after any number of deaths.
"""

from __future__ import annotations

import importlib.util
import math
import time
from collections.abc import Iterator
from typing import Any

import ray
import torch

from orchestrator.cluster import connect, cpus, gpus
from orchestrator.config import DatasetConfig
from orchestrator.console import progress, say
from orchestrator.datasets import REPORT, describe, encode, record, shard_file, write_manifest
from orchestrator.errors import RequestError
from orchestrator.store import Store
from physics.annealing import Device, anneal, batch_size

SHARD_BYTES = 32 * 2**20
SHARD_UPDATES = 2e10  # about a minute of one core: what a death costs at most
TYPICAL_FINISH = 2000
SHARDS_AT_LEAST = 16


def shard_rows(config: DatasetConfig) -> int:
    """Configurations a shard: whole batches of the kernel, within the limits above; a function of the request."""
    size = batch_size(config.L)
    longest = SHARD_UPDATES / spin_updates(config)
    rows = min(SHARD_BYTES / (12 * config.L**2), longest, config.configurations / SHARDS_AT_LEAST)
    return max(1, math.ceil(rows / size)) * size


def shards(config: DatasetConfig) -> list[range]:
    """The configurations of each shard."""
    rows, total = shard_rows(config), config.configurations
    return [range(first, min(first + rows, total)) for first in range(0, total, rows)]


def spin_updates(config: DatasetConfig) -> float:
    """Moves of single spins that a configuration typically takes."""
    schedule = config.schedule
    return (schedule.updates_per_spin + min(schedule.finish, TYPICAL_FINISH)) * config.L**2


@ray.remote(num_cpus=1, max_restarts=0)
class Annealer:
    """Makes shards and writes them; configurations never travel."""

    def __init__(self, config: DatasetConfig, store: Store, device: Device):
        torch.set_num_threads(1)
        self.config, self.store, self.device = config, store, device

    def ready(self) -> None:
        return None

    def make(self, task: list[range]) -> list[dict[str, Any]]:
        config = self.config
        rows = [i for indices in task for i in indices]
        spins = anneal(config.hamiltonian, config.schedule, config.L, config.seed, rows, device=self.device)
        entries = []
        for indices in task:
            content = encode(config.hamiltonian, indices, spins[: len(indices)])
            spins = spins[len(indices) :]
            self.store.write_file(f"datasets/{config.name}/{shard_file(indices)}", content)
            entries.append(record(indices, content))
        return entries


@ray.remote(num_gpus=1, num_cpus=0)
def _gpu_works() -> bool:
    return torch.cuda.is_available() and importlib.util.find_spec("triton") is not None


def device_for(config: DatasetConfig, store: Store) -> Device:
    """Where a data set is made: where it was begun, else on GPUs if the cluster has any that torch can use.

    Raises:
        RequestError: it was begun on a GPU and there is none.
    """
    gpus = ray.cluster_resources().get("GPU", 0) >= 1 and ray.get(_gpu_works.remote())
    begun = (store.card("datasets", config.name) or {}).get("device")
    if begun == "gpu" and not gpus:
        raise RequestError(f"{config.name}: begun on a GPU; expected a cluster with one, or another seed")
    return begun or ("gpu" if gpus else "cpu")


def tasks(config: DatasetConfig, wanted: list[range], device: Device) -> list[list[range]]:
    """Shards made in one go: one on a CPU, as many as fill the GPU."""
    rows = batch_size(config.L, "gpu") if device == "gpu" else 1
    shards_each = max(1, rows // shard_rows(config))
    return [wanted[i : i + shards_each] for i in range(0, len(wanted), shards_each)]


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
    store.sweep_up()
    done, wanted = missing(config, store)
    if not wanted:
        card = write_manifest(config, store, done, (store.card("datasets", config.name) or {}).get("device", "cpu"))
        if not store.fs.exists(f"{store.folder('datasets', config.name)}/{REPORT}"):
            describe(config, store, "Found whole.")
        return card
    if config.imported:
        raise RequestError(f"{config.name}: imported states, not all in {store.root}; import their files again")
    connect()
    device = device_for(config, store)
    write_manifest(config, store, done, device)
    queue = tasks(config, wanted, device)
    actors = min(actors or (cpus() if device == "cpu" else gpus()), len(queue))
    total = config.configurations
    say(
        f"annealing {config.name}: {sum(map(len, wanted))} of {total} configurations, "
        f"L = {config.L}, on {actors} {device.upper()} actors"
    )
    started = time.monotonic()
    with progress() as bar:
        task = bar.add_task("anneal", total=total, completed=sum(entry["rows"] for entry in done), note="")
        made = 0
        for entries in _work(config, store, queue, actors, device):
            done += entries
            rows = sum(entry["rows"] for entry in entries)
            made += rows
            card = write_manifest(config, store, done, device)
            rate = made / (time.monotonic() - started)
            bar.update(task, advance=rows, note=f"{rate:.1f} configurations/s")
    seconds = time.monotonic() - started
    describe(
        config,
        store,
        f"{made} of {total} configurations in the last run, {seconds:.1f} s on {actors} {device.upper()} actors: "
        f"{made / seconds:.1f} configurations/s, {made * spin_updates(config) / seconds:.2g} spin updates/s, "
        f"start-up included.",
    )
    return card


def _work(
    config: DatasetConfig, store: Store, queue: list[list[range]], actors: int, device: Device
) -> Iterator[list[dict[str, Any]]]:
    """Records of shards, task by task as they are finished.

    An actor is given work only once it has answered.  When one dies its task goes back to the queue and another
    actor is asked for; if the cluster has no room for it any more, the others finish.
    """
    queue = list(queue)
    idle: list[Any] = []
    running: dict[Any, tuple[Any, list[range] | None]] = {}
    actor_class: Any = Annealer
    if device == "gpu":
        actor_class = actor_class.options(num_gpus=1)

    def hire() -> None:
        actor = actor_class.remote(config, store, device)
        running[actor.ready.remote()] = (actor, None)

    for _ in range(actors):
        hire()
    unfinished = len(queue)
    while unfinished:
        (reference,), _ = ray.wait(list(running), num_returns=1)
        actor, task = running.pop(reference)
        try:
            entries = ray.get(reference)
        except ray.exceptions.RayActorError as error:
            if "creation task" in str(error):  # it cannot start, and another could not either
                raise
            if task is not None:
                queue.append(task)
            hire()
        else:
            idle.append(actor)
            if task is not None:
                _check_shared(config, store, entries[0]["file"])
                unfinished -= 1
                yield entries
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
