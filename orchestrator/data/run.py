"""Sampling on Ray: a pool of actors makes the shards of a data set.

A shard is the unit of work and of storage.  Its rows depend on the configuration alone, so the data set comes out
byte for byte the same from any number of actors, in any order, after any number of deaths.
"""

from __future__ import annotations

import importlib.util
import json
import math
import time
from functools import cache, partial
from typing import Any

import ray
import torch
from pyarrow import ArrowInvalid

from orchestrator.cluster import Pool, connect
from orchestrator.console import counted, log, on_interrupt
from orchestrator.data import spectrum
from orchestrator.data.request import DatasetConfig
from orchestrator.data.shards import columns, encode, is_whole, read, record, records, shard_file, whole_card
from orchestrator.errors import FailedError, RequestError
from orchestrator.lease import Lease, lease
from orchestrator.store import CARD, Store
from physics.sampler import Device, Samples

SHARD_BYTES = 32 * 2**20
SHARD_UPDATES = 2e10  # about a minute of one core: what a death costs at most
MIN_SHARDS = 16
SECONDS_PER_UPDATE = 3e-9  # of a spin, on a CPU
LISTED_AGAIN = 1.1  # times as many shards: to list each as it comes would cost the square of how many there are


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


def make_shards(config: DatasetConfig, store: Store, device: Device, task: list[range]) -> list[dict[str, Any]]:
    """Sample and write some shards in one go; returns their records."""
    rows = [i for indices in task for i in indices]
    samples = config.sampler.sample(config.hamiltonian, config.L, config.seed, rows, device)
    entries, first = [], 0
    for indices in task:
        here = slice(first, first + len(indices))
        first = here.stop
        labels = {name: values[here] for name, values in samples.labels.items()}
        content = encode(config.hamiltonian, indices, Samples(samples.spins[here], labels))
        entries.append(place(config, store, indices, content))
    return entries


def place(config: DatasetConfig, store: Store, indices: range, content: bytes) -> dict[str, Any]:
    """Give a shard its name, unless another process has made it by now; returns the record of what has the name."""
    path = f"datasets/{config.name}/{shard_file(indices)}"
    if not store.create_file(path, content):
        content = store.read_file(path) or b""
    return record(indices, content)


@cache
def _gpu_works() -> bool:
    """Whether torch and Triton know the GPUs of the cluster."""

    @ray.remote(num_gpus=1, num_cpus=0)
    def asked() -> bool:
        return torch.cuda.is_available() and importlib.util.find_spec("triton") is not None

    return ray.get(asked.remote())


def device_for(config: DatasetConfig, store: Store) -> Device:
    """Where a data set is made: where it was begun, else on GPUs if sampler, cluster and torch know them.

    Raises:
        RequestError: it was begun on a GPU and there is none.
    """
    known = "gpu" in config.sampler.devices and ray.cluster_resources().get("GPU", 0) >= 1
    works = known and _gpu_works()
    begun = _begun(config, store)
    if begun == "gpu" and not works:
        raise RequestError(f"{config.name}: begun on a GPU; expected a cluster with one, or another seed")
    return begun or ("gpu" if works else "cpu")


def _begun(config: DatasetConfig, store: Store) -> Device | None:
    """What a data set was begun on, None if it was not."""
    return (store.card("datasets", config.name) or store.read_json(_manifest(config, store)) or {}).get("device")


def tasks(config: DatasetConfig, wanted: list[range], device: Device) -> list[list[range]]:
    """Shards made in one go: one on a CPU, as many as fill the GPU."""
    rows = config.sampler.batch(config.L, "gpu") if device == "gpu" else 1
    shards_each = max(1, rows // shard_rows(config))
    return [wanted[i : i + shards_each] for i in range(0, len(wanted), shards_each)]


def missing(config: DatasetConfig, store: Store) -> tuple[list[dict[str, Any]], list[range]]:
    """Records of the whole shards in the store, and the shards still to be made.

    A shard that has its name is whole; one that no manifest lists yet is read and listed, or set aside if it is not a
    shard.
    """
    known = store.card("datasets", config.name) or store.read_json(_manifest(config, store)) or {}
    listed = {entry["start"]: entry for entry in records(known)}
    there = {f"shards/{file}" for file in store.entries(f"datasets/{config.name}/shards")}
    there |= set(store.entries(f"datasets/{config.name}"))  # where they lay before version 0.5
    found, wanted = [], []
    for indices in shards(config):
        file = shard_file(indices)
        if indices.start in listed and listed[indices.start]["file"] in there:
            found.append(listed[indices.start])
        elif file in there:
            try:
                found.append(record(indices, store.read_file(f"datasets/{config.name}/{file}") or b""))
            except (ArrowInvalid, RequestError):
                log(f"not a shard, set aside: {store.set_aside(f'datasets/{config.name}/{file}')}")
                wanted.append(indices)
        else:
            wanted.append(indices)
    return found, wanted


def _manifest(config: DatasetConfig, store: Store) -> str:
    return f"{store.work('datasets', config.name)}/manifest.json"


def _list(config: DatasetConfig, store: Store, found: list[dict[str, Any]], device: Device) -> dict[str, Any]:
    """Write the manifest of what is whole so far, which becomes the card."""
    manifest = {
        "kind": "dataset",
        "config": config.model_dump(mode="json"),
        "given": config.given(),
        "parents": [],
        "configurations": config.configurations,
        "device": device,
        "shards": sorted(found, key=lambda entry: entry["start"]),
    }
    store.write_file(_manifest(config, store), json.dumps(manifest).encode())
    return manifest


def _listed(config: DatasetConfig, store: Store, found: list[dict[str, Any]], device: Device, listed: int) -> int:
    """How many shards the manifest lists, once it is written anew if it is due; the others are read if need be."""
    if len(found) < LISTED_AGAIN * listed:
        return listed
    _list(config, store, found, device)
    return len(found)


def _adopt(config: DatasetConfig, store: Store) -> None:
    """Before version 0.5 the card of a data set listed its shards while it was being made."""
    card = store.card("datasets", config.name)
    if card is not None and "checksum" not in card and not is_whole(card):
        store.write_file(_manifest(config, store), json.dumps(card).encode())
        store.remove_file(f"datasets/{config.name}/{CARD}")


def plan(config: DatasetConfig, store: Store) -> list[str]:
    """What is found and what would be made, line by line."""
    done, wanted = missing(config, store)
    rows, left = sum(entry["rows"] for entry in done), sum(map(len, wanted))
    updates = left * config.sampler.spin_updates(config.L)
    return [
        f"data set {config.name}: {rows} of {config.configurations} configurations found, {left} to make by "
        f"{config.sampler.name} in {len(wanted)} shards ({updates:.2g} spin updates, "
        f"about {SECONDS_PER_UPDATE * updates:.0f} s of CPU)"
    ]


def make(config: DatasetConfig, store: Store, actors: int | None = None) -> tuple[str, dict[str, Any]]:
    """Name and card of the data set, what is missing of it made on the cluster.

    Args:
        actors: how many sample side by side at most; if None, as many as there are shards and the cluster has room for.

    Raises:
        RequestError: imported states that are not all there.
        FailedError: a shard that went missing came out differently.
    """
    name = config.name
    store.remove_abandoned()
    _adopt(config, store)
    with lease(store, "datasets", name) as held:
        done, wanted = missing(config, store)
        if wanted and config.imported:
            raise RequestError(f"{name}: imported states, not all in {store.root}; import their files again")
        if wanted:
            connect()
        device = device_for(config, store) if wanted else _begun(config, store) or "cpu"
        note, found = "Found whole.", done
        if wanted:
            found, note = _sample(config, store, held, done, wanted, actors, device)
        if held is not None:
            seal(config, store, found, device, note)
    card = whole_card(name, store)
    listed = {entry["start"]: entry["sha256"] for entry in card["shards"]}
    for entry in found:
        if listed[entry["start"]] != entry["sha256"]:
            raise FailedError(f"{name}: {entry['file']} was missing, and is made with other bytes on this machine")
    return name, card


def seal(config: DatasetConfig, store: Store, found: list[dict[str, Any]], device: Device, note: str) -> None:
    """Make the data set whole: its card and its page beside the shards."""
    from orchestrator.data.page import dataset_page, figures_of, remarks  # matplotlib, which actors do without
    from orchestrator.page import drawn, origin

    manifest = _list(config, store, found, device)
    numbers = columns(config.name, store, manifest=manifest)
    spins = read(config.name, store, manifest)
    command = "orch import FILES --config" if config.imported else "orch anneal --config"
    source = origin(store, "datasets", config.name, config, command)
    known = spectrum.measure(config, spins)
    figures = figures_of(config, numbers) | spectrum.figures(known)
    said = remarks(config, numbers, spins)
    files = drawn(lambda: dataset_page(config, numbers, spins, figures, note, said, source), config)
    if known is not None:
        files[spectrum.FILE] = known.numpy().tobytes()
    card = {**manifest, "figures": figures, "said": said}
    store.commit("datasets", config.name, card, files, placed=True)


def _sample(
    config: DatasetConfig,
    store: Store,
    held: Lease | None,
    done: list[dict[str, Any]],
    wanted: list[range],
    actors: int | None,
    device: Device,
) -> tuple[list[dict[str, Any]], str]:
    """Records of all shards, once the ``wanted`` ones are made, and how that went."""
    queue = tasks(config, wanted, device)
    total, sampler, found = config.configurations, config.sampler, list(done)
    log(
        f"{sampler.name} {config.name}: {sum(map(len, wanted))} of {total} configurations, "
        f"L = {config.L}, in {len(queue)} pieces on {device.upper()}s"
    )
    started, made, listed = time.monotonic(), 0, 0
    before = sum(entry["rows"] for entry in done)
    kept = on_interrupt(lambda: f"{before + made} of {total} configurations of {config.name}")
    pool: Pool[list[range], list[dict[str, Any]]]
    pool = Pool(config.name, partial, (make_shards, config, store, device), len(queue), actors, device == "gpu")
    report = None if held is None else held.report
    with kept, counted("configurations", report, name=sampler.name, done=before, total=total) as show, pool:
        for _, entries in pool.map(queue):
            _check_shared(config, store, entries[0]["file"])
            found += entries
            rows = sum(entry["rows"] for entry in entries)
            made += rows
            note = f"{made / (time.monotonic() - started):.1f} configurations/s"
            if held is not None:
                listed = _listed(config, store, found, device, listed)
            show(before + made, total, note)
    seconds = time.monotonic() - started
    return found, (
        f"{made} of {total} configurations in the last run, {seconds:.1f} s on {pool.most} {device.upper()} actors: "
        f"{made / seconds:.1f} configurations/s, {made * sampler.spin_updates(config.L) / seconds:.2g} spin updates/s, "
        f"start-up included."
    )


def make_here(config: DatasetConfig, store: Store) -> None:
    """A data set made in this process, for a trial whose data no other trial shares."""
    _adopt(config, store)
    with lease(store, "datasets", config.name) as held:
        if held is None:
            return
        found, wanted = missing(config, store)
        listed = 0
        for indices in wanted:
            found += make_shards(config, store, "cpu", [indices])
            listed = _listed(config, store, found, "cpu", listed)
            held.report(sum(entry["rows"] for entry in found), config.configurations, "configurations")
        seal(config, store, found, "cpu", "Made in a trial of a sweep.")


def _check_shared(config: DatasetConfig, store: Store, file: str) -> None:
    path = f"datasets/{config.name}/{file}"
    if not store.exists(path):
        raise RequestError(
            f"{store.at(path)}: written by an actor where this machine cannot see it; expected a store that every node "
            "shares"
        )
