"""Two Ray actors beside one, each with as much work, and the same work in this process without Ray: in one run.

python benchmarks/actors.py
"""

import tempfile
import time
from functools import partial

import ray
import torch
from rich.console import Console
from rich.table import Table

from orchestrator.cluster import Pool, connect
from orchestrator.data.request import DatasetConfig
from orchestrator.data.run import make_shards, shards
from orchestrator.store import Store

CONFIG = DatasetConfig.model_validate({"L": 128, "hamiltonian": {"D": 0.3}, "configurations": 768})
TASKS, ROUNDS = 3, 4  # shards an actor makes one after the other; turns that each contestant takes


def begun(folder: str) -> Store:
    """A store, which actors expect to find."""
    store = Store(folder)
    store.write_file("datasets/begun", b"")
    return store


def ray_seconds(pool: Pool, actors: int) -> float:
    """As many pieces as an actor makes, times the actors."""
    started = time.perf_counter()
    pieces = [[indices] for indices in shards(CONFIG)[:TASKS]]
    list(pool.map(pieces * actors))
    return time.perf_counter() - started


def bare_seconds() -> float:
    """The kernel alone, one process, nothing written."""
    started = time.perf_counter()
    for indices in shards(CONFIG)[:TASKS]:
        CONFIG.sampler.sample(CONFIG.hamiltonian, CONFIG.L, CONFIG.seed, indices)
    return time.perf_counter() - started


def main() -> None:
    torch.set_num_threads(1)
    connect()
    rows = len(shards(CONFIG)[0]) * TASKS
    bare, one, two = [], [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        Pool("one", partial, (make_shards, CONFIG, begun(f"{folder}/1"), "cpu"), 1) as single,
    ):
        list(single.map([[range(8)]]))  # compiles
        for _ in range(ROUNDS):
            one.append(ray_seconds(single, 1))
            bare.append(bare_seconds())
    with (
        tempfile.TemporaryDirectory() as folder,
        Pool("two", partial, (make_shards, CONFIG, begun(f"{folder}/2"), "cpu"), 2) as double,
    ):
        while double.answered() < 2:
            time.sleep(0.1)
        for _ in range(ROUNDS):
            two.append(ray_seconds(double, 2))
    table = Table(title=f"L = {CONFIG.L}, shards of {rows // TASKS} configurations", title_justify="left")
    for column in ("", "configurations/s", "efficiency"):
        table.add_column(column, justify="right")
    table.add_row("kernel alone, one process", f"{rows / min(bare):.2f}", "1")
    table.add_row("one actor, written to a store", f"{rows / min(one):.2f}", f"{min(bare) / min(one):.3f}")
    table.add_row("two actors", f"{2 * rows / min(two):.2f}", f"{min(one) / min(two):.3f} of one")
    Console().print(table)
    ray.shutdown()


if __name__ == "__main__":
    main()
