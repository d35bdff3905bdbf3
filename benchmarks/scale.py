"""What a shard, a trial and a byte cost beside their work, and what that makes of 10, 100 and 1,000 nodes.

    python benchmarks/scale.py [--shards 1000 10000] [--trials 100 1000]

Data sets of tiny shards and sweeps of tiny trials (one training step each) are made whole, as `orch anneal` and
`orch sweep` make them. CPU seconds are of the driver alone. They are the cost of a unit if they grow in proportion from
the smaller run to the larger.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import ray
import torch
from rich.console import Console
from rich.table import Table

from nets.system import build
from orchestrator.cluster import connect
from orchestrator.data import run as data
from orchestrator.data.request import DatasetConfig
from orchestrator.lease import REMOTE_BEAT_SECONDS
from orchestrator.store import Store
from orchestrator.sweeps import run as sweeps
from orchestrator.sweeps.request import SweepConfig
from orchestrator.training.request import TrainConfig

CORES = 16  # of a node
SHARD_SECONDS = data.SHARD_UPDATES * data.SECONDS_PER_UPDATE  # of a core
TRIAL_SECONDS = 600.0  # of a short trial on four cores
CHECKPOINT_SECONDS = TrainConfig.model_fields["checkpoint_seconds"].default
NODES = 10, 100, 1000
TINY = {"L": 4, "sampler": {"sweeps": 1, "finish": 1}}


class Cost(NamedTuple):
    """Of a whole command: how many units, seconds of the wall and of the driver's CPU, files, and bytes of the list."""

    units: int
    seconds: float
    driver: float
    files: int
    listed: int


def measured(units: int, work: Callable[[], object], store: Store, card: Callable[[], str]) -> Cost:
    wall, cpu = time.monotonic(), time.process_time()
    work()
    spent = time.monotonic() - wall, time.process_time() - cpu
    files = sum(path.is_file() for path in Path(store.path).rglob("*"))
    return Cost(units, *spent, files, len(store.read_file(card()) or b""))


def of_shards(shards: int) -> Cost:
    """A data set of shards of one batch of 4 x 4 spins."""
    rows = data.shard_rows(DatasetConfig.model_validate({**TINY, "configurations": 1}))
    config = DatasetConfig.model_validate({**TINY, "configurations": rows * shards})
    data.SHARD_BYTES = 1
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        return measured(shards, lambda: data.make(config, store), store, lambda: f"datasets/{config.name}/card.json")


def of_trials(trials: int) -> Cost:
    """A sweep of trainings of one step."""
    space = {
        "dataset": {"L": 16, "sampler": {"sweeps": 1, "finish": 1}, "configurations": 64},
        "system": {"name": "vae", "width": 2, "latent": 4},
        "batch": 8,
        "steps": 1,
        "space": {"system.beta": [1e-6 * (1 + number) for number in range(trials)]},
    }
    config = SweepConfig.model_validate(space)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        return measured(trials, lambda: sweeps.run(config, store), store, lambda: f"sweeps/{config.name}/card.json")


def show(title: str, found: list[Cost]) -> None:
    table = Table(title=title, title_justify="left")
    for column in ("units", "seconds", "driver, CPU s", "driver, CPU ms each", "files", "card, bytes each"):
        table.add_column(column, justify="right")
    for cost in found:
        each = f"{1000 * cost.driver / cost.units:.2f}", f"{cost.files}", f"{cost.listed / cost.units:.0f}"
        table.add_row(f"{cost.units:,}", f"{cost.seconds:.0f}", f"{cost.driver:.1f}", *each)
    Console().print(table)


def checkpoint_bytes() -> int:
    """Of the hybrid at the paper's size: weights, and two moments of Adam for each."""
    system = {"name": "hybrid", "width": 64, "latent": 128}
    training = TrainConfig.model_validate({"dataset": {"L": 128}, "system": system})
    networks = build(training.system, training.dataset.hamiltonian).networks.values()
    return 3 * 4 * sum(weight.numel() for network in networks for weight in network.parameters())


def predict(shard: Cost, trial: Cost) -> None:
    """Load of one driver and of the store if all cores of so many nodes do the same."""
    table = Table(title=f"predicted, nodes of {CORES} cores", title_justify="left")
    for column in ("nodes", "shards/s", "driver busy", "trials/s", "driver busy", "heartbeats/s", "checkpoints, MB/s"):
        table.add_column(column, justify="right")
    size = checkpoint_bytes()
    for nodes in NODES:
        shards, trials = nodes * CORES / SHARD_SECONDS, nodes * CORES / 4
        table.add_row(
            f"{nodes:,}",
            f"{shards:.1f}",
            f"{shards * shard.driver / shard.units:.1%}",
            f"{trials / TRIAL_SECONDS:.2f}",
            f"{trials / TRIAL_SECONDS * trial.driver / trial.units:.1%}",
            f"{trials / REMOTE_BEAT_SECONDS:.0f}",
            f"{trials * size / CHECKPOINT_SECONDS / 1e6:.0f}",
        )
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000])
    options = parser.parse_args()
    torch.set_num_threads(1)
    connect()
    shards = [of_shards(count) for count in options.shards]
    show("shards", shards)
    trials = [of_trials(count) for count in options.trials]
    show("trials", trials)
    predict(shards[-1], trials[-1])
    ray.shutdown()


if __name__ == "__main__":
    main()
