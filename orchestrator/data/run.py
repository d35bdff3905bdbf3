"""Sampling on Ray: a pool of actors makes the shards of a data set.

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
from orchestrator.console import log, on_interrupt, progress
from orchestrator.data.page import describe
from orchestrator.data.request import DatasetConfig
from orchestrator.data.shards import encode, record, shard_file, write_manifest
from orchestrator.errors import RequestError
from orchestrator.page import PAGE
from orchestrator.store import Store
from physics.sampler import Device, Samples

SHARD_BYTES = 32 * 2**20
SHARD_UPDATES = 2e10  # about a minute of one core: what a death costs at most
MIN_SHARDS = 16


def shard_rows(config: DatasetConfig) -> int:
    """Configurations a shard: whole batches of the sampler, within the limits above; a function of the request."""
    by_bytes = SHARD_BYTES / (4 * config.hamiltonian.components * config.L**2)
    if config.imported:
        return max(1, int(by_bytes))
    size = config.sampler.batch(config.L)
    by_updates = SHARD_UPDATES / config.sampler.spin_updates(config.L)
    rows = min(by_bytes, by_updates, config.configurations / MIN_SHARDS)
    return max(1, math.ceil(rows / size)) * size


def shards(config: DatasetConfig) -> list[range]:
    """The configurations of each shard."""
    rows, total = shard_rows(config), config.configurations
    return [range(first, min(first + rows, total)) for first in range(0, total, rows)]


def make_shards(config: DatasetConfig, store: Store, task: list[range], device: Device = "cpu") -> list[dict[str, Any]]:
    """Sample and write some shards in one go; returns their records."""
    rows = [i for indices in task for i in indices]
    samples = config.sampler.sample(config.hamiltonian, config.L, config.seed, rows, device)
    entries, first = [], 0
    for indices in task:
        here = slice(first, first + len(indices))
        first = here.stop
        labels = {name: values[here] for name, values in samples.labels.items()}
        content = encode(config.hamiltonian, indices, Samples(samples.spins[here], labels))
        store.write_file(f"datasets/{config.name}/{shard_file(indices)}", content)
        entries.append(record(indices, content))
    return entries


@ray.remote(num_cpus=1, max_restarts=0)
class SamplingActor:
    """Makes shards and writes them; configurations never travel."""

    def __init__(self, config: DatasetConfig, store: Store, device: Device):
        torch.set_num_threads(1)
        self.config, self.store, self.device = config, store, device

    def ready(self) -> None:
        return None

    def make(self, task: list[range]) -> list[dict[str, Any]]:
        return make_shards(self.config, self.store, task, self.device)


@ray.remote(num_gpus=1, num_cpus=0)
def _gpu_works() -> bool:
    return torch.cuda.is_available() and importlib.util.find_spec("triton") is not None


def device_for(config: DatasetConfig, store: Store) -> Device:
    """Where a data set is made: where it was begun, else on GPUs if sampler, cluster and torch know them.

    Raises:
        RequestError: it was begun on a GPU and there is none.
    """
    known = "gpu" in config.sampler.devices and ray.cluster_resources().get("GPU", 0) >= 1
    works = known and ray.get(_gpu_works.remote())
    begun = (store.card("datasets", config.name) or {}).get("device")
    if begun == "gpu" and not works:
        raise RequestError(f"{config.name}: begun on a GPU; expected a cluster with one, or another seed")
    return begun or ("gpu" if works else "cpu")


def tasks(config: DatasetConfig, wanted: list[range], device: Device) -> list[list[range]]:
    """Shards made in one go: one on a CPU, as many as fill the GPU."""
    rows = config.sampler.batch(config.L, "gpu") if device == "gpu" else 1
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


def plan(config: DatasetConfig, store: Store) -> list[str]:
    """What is found and what would be made, line by line."""
    done, wanted = missing(config, store)
    rows, left = sum(entry["rows"] for entry in done), sum(map(len, wanted))
    updates = left * config.sampler.spin_updates(config.L)
    return [
        f"data set {config.name}: {rows} of {config.configurations} configurations found, {left} to make by "
        f"{config.sampler.name} in {len(wanted)} shards ({updates:.2g} spin updates, "
        f"about {3e-9 * updates:.0f} s of CPU)"
    ]


def make(config: DatasetConfig, store: Store, actors: int | None = None) -> tuple[str, dict[str, Any]]:
    """Name and card of the data set, what is missing of it made on the cluster.

    Args:
        actors: how many sample side by side; one a CPU if None.
    """
    store.remove_abandoned()
    done, wanted = missing(config, store)
    if not wanted:
        card = write_manifest(config, store, done, (store.card("datasets", config.name) or {}).get("device", "cpu"))
        if not store.fs.exists(f"{store.folder('datasets', config.name)}/{PAGE}"):
            describe(config, store, "Found whole.")
        return config.name, card
    if config.imported:
        raise RequestError(f"{config.name}: imported states, not all in {store.root}; import their files again")
    connect()
    return config.name, _sample(config, store, done, wanted, actors)


def _sample(
    config: DatasetConfig, store: Store, done: list[dict[str, Any]], wanted: list[range], actors: int | None
) -> dict[str, Any]:
    """The card, once all ``wanted`` shards are made."""
    device = device_for(config, store)
    card = write_manifest(config, store, done, device)
    queue = tasks(config, wanted, device)
    actors = min(actors or (cpus() if device == "cpu" else gpus()), len(queue))
    total, sampler = config.configurations, config.sampler
    log(
        f"{sampler.name} {config.name}: {sum(map(len, wanted))} of {total} configurations, "
        f"L = {config.L}, on {actors} {device.upper()} actors"
    )
    started, made = time.monotonic(), 0
    kept = on_interrupt(lambda: f"{sum(entry['rows'] for entry in done)} of {total} configurations of {config.name}")
    with kept, progress() as bar:
        task = bar.add_task(sampler.name, total=total, completed=sum(entry["rows"] for entry in done), note="")
        for entries in _work(config, store, queue, actors, device):
            done += entries
            rows = sum(entry["rows"] for entry in entries)
            made += rows
            card = write_manifest(config, store, done, device)
            bar.update(task, advance=rows, note=f"{made / (time.monotonic() - started):.1f} configurations/s")
    seconds = time.monotonic() - started
    describe(
        config,
        store,
        f"{made} of {total} configurations in the last run, {seconds:.1f} s on {actors} {device.upper()} actors: "
        f"{made / seconds:.1f} configurations/s, {made * sampler.spin_updates(config.L) / seconds:.2g} spin updates/s, "
        f"start-up included.",
    )
    return card


def make_here(config: DatasetConfig, store: Store) -> None:
    """A data set made in this process, for a trial whose data no other trial shares."""
    done, wanted = missing(config, store)
    for indices in wanted:
        done += make_shards(config, store, [indices])
        write_manifest(config, store, done)
    if wanted:
        describe(config, store, "Made in a trial of a sweep.")


def _work(
    config: DatasetConfig, store: Store, queue: list[list[range]], actors: int, device: Device
) -> Iterator[list[dict[str, Any]]]:
    """Records of shards, task by task as they are finished.

    An actor is given work only once it has answered.  When one dies its task goes back to the queue and another
    actor is started; if the cluster has no room for it any more, the others finish.
    """
    queue = list(queue)
    idle: list[Any] = []
    running: dict[Any, tuple[Any, list[range] | None]] = {}
    actor_class: Any = SamplingActor
    if device == "gpu":
        actor_class = actor_class.options(num_gpus=1)

    def start_actor() -> None:
        actor = actor_class.remote(config, store, device)
        running[actor.ready.remote()] = (actor, None)

    for _ in range(actors):
        start_actor()
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
            start_actor()
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
