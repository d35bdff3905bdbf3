"""GB a second of a data set read back by one process, beside the machine's copying speed, in one run.

python benchmarks/dataset_io.py [--gigabytes 2]

Random spins stand in for annealed ones: the bytes are as many.  The files were just written, so they are cached.
"""

import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table

from orchestrator.data import run, shards
from orchestrator.data.request import DatasetConfig
from orchestrator.data.run import SHARD_BYTES
from orchestrator.store import Store
from physics.sampler import Samples

ROUNDS = 3


def write(config: DatasetConfig, store: Store, rows: int) -> float:
    """GB/s of encoding and writing, observables and checksums included."""
    spins = np.random.default_rng(0).standard_normal((rows, 3, config.L, config.L), np.float32)
    spins /= np.linalg.norm(spins, axis=1, keepdims=True)
    entries, started = [], time.perf_counter()
    for first in range(0, config.configurations, rows):
        indices = range(first, min(first + rows, config.configurations))
        content = shards.encode(config.hamiltonian, indices, Samples(spins[: len(indices)], {}))
        entries.append(run.place(config, store, indices, content))
    manifest = {"config": config.model_dump(mode="json"), "configurations": config.configurations, "shards": entries}
    store.commit("datasets", config.name, manifest, {}, placed=True)
    return time.perf_counter() - started


def best(run: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def epoch(spins: shards.Spins | torch.Tensor, order: torch.Tensor, batch: int = 100) -> None:
    """Every row once in a random order, batch by batch, as training asks for them."""
    for rows in order.split(batch):
        spins[rows]


def main(gigabytes: float = 2.0, L: int = 128) -> None:
    torch.set_num_threads(1)
    row = 12 * L**2
    config = DatasetConfig(L=L, configurations=int(gigabytes * 1e9 / row))
    total = config.configurations * row / 1e9
    table = Table(title=f"L = {L}, {total:.2f} GB, one process, one thread", title_justify="left")
    table.add_column("")
    table.add_column("GB/s", justify="right")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"{folder}/store")
        table.add_row("write: observables, Parquet, SHA-256", f"{total / write(config, store, SHARD_BYTES // row):.2f}")
        table.add_row(
            "open: SHA-256 of everything",
            f"{total / best(lambda: (shards._hashed.cache_clear(), shards.read(config.name, store))):.2f}",
        )
        spins = shards.read(config.name, store)
        order = torch.randperm(len(spins), generator=torch.Generator().manual_seed(0))
        table.add_row("an epoch of shuffled batches, memory-mapped", f"{total / best(lambda: epoch(spins, order)):.2f}")
        table.add_row("all of it into memory", f"{total / best(spins.tensor):.2f}")
        resident = spins.tensor()
        table.add_row("the same epoch from a tensor in memory", f"{total / best(lambda: epoch(resident, order)):.2f}")
        table.add_row("copying that tensor", f"{total / best(resident.clone):.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    typer.run(main)
