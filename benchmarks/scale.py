"""What a shard, a trial and a byte cost beside their work, and what that makes of 10, 100 and 1,000 nodes.

    python benchmarks/scale.py [--shards 1000 10000] [--trials 100 1000]

Data sets of tiny shards and sweeps of tiny trials (one training step each) are made whole, as `orch anneal` and
`orch sweep` make them. CPU seconds are of the driver alone; what a unit costs is taken from the smaller
command to the larger.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import ray
import torch
from rich.console import Console
from rich.table import Table

from nets.system import build
from orchestrator.cluster import connect
from orchestrator.data import run as data
from orchestrator.data.request import DatasetConfig
from orchestrator.lease import REMOTE_BEAT_SECONDS
from orchestrator.store import Kind, Store
from orchestrator.sweeps import run as sweeps
from orchestrator.sweeps.request import SweepConfig
from orchestrator.training.request import TrainConfig

CORES = 16  # of a node
SHARD_SECONDS = data.SHARD_UPDATES * data.SECONDS_PER_UPDATE  # of a core
TRIAL_SECONDS, TRIAL_CORES = 600.0, 4  # of a short trial
CHECKPOINT_SECONDS = TrainConfig.model_fields["checkpoint_seconds"].default
NODES = 10, 100, 1000
ROWS = 8  # of a tiny shard


class Cost(NamedTuple):
    """Of a whole command.

    Attributes:
        units: shards or trials.
        seconds, driver: of the wall, and of the driver's CPU.
        files, listed: how many there are, and bytes of the card.
    """

    units: int
    seconds: float
    driver: float
    files: int
    listed: int


def measured(units: int, kind: Kind, name: str, store: Store, work: Callable[[], object]) -> Cost:
    wall, cpu = time.monotonic(), time.process_time()
    work()
    spent = time.monotonic() - wall, time.process_time() - cpu
    files = sum(path.is_file() for path in Path(store.path).rglob("*"))
    return Cost(units, *spent, files, len(store.read_file(f"{kind}/{name}/card.json") or b""))


def of_shards(shards: int) -> Cost:
    """A data set of shards of ``ROWS`` configurations of 4 x 4 spins."""
    config = DatasetConfig.model_validate(
        {"L": 4, "sampler": {"sweeps": 1, "finish": 1}, "configurations": ROWS * shards}
    )
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(data, "shard_rows", lambda config: ROWS):
        store = Store(folder)
        return measured(shards, "datasets", config.name, store, lambda: data.make(config, store))


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
        return measured(trials, "sweeps", config.name, store, lambda: sweeps.run(config, store))


def show(title: str, found: list[Cost]) -> float:
    """The driver's CPU seconds of one unit more, from the first to the last command."""
    table = Table(title=title, title_justify="left")
    for column in ("units", "seconds", "driver, CPU s", "files", "bytes of the card"):
        table.add_column(column, justify="right")
    for cost in found:
        table.add_row(
            f"{cost.units:,}", f"{cost.seconds:.0f}", f"{cost.driver:.1f}", f"{cost.files:,}", f"{cost.listed:,}"
        )
    Console().print(table)
    each = (found[-1].driver - found[0].driver) / (found[-1].units - found[0].units)
    print(f"one more: {1000 * each:.2f} ms of the driver's CPU")
    return each


def checkpoint_bytes() -> int:
    """Of the hybrid at the paper's size: weights, and two moments of Adam for each."""
    system = {"name": "hybrid", "width": 64, "latent": 128}
    training = TrainConfig.model_validate({"dataset": {"L": 128}, "system": system})
    networks = build(training.system, training.dataset.hamiltonian).networks.values()
    return 3 * 4 * sum(weight.numel() for network in networks for weight in network.parameters())


def predict(shard: float, trial: float) -> None:
    """Load of one driver and of the store if all cores of so many nodes do the same; CPU seconds are of one unit."""
    table = Table(title=f"predicted, nodes of {CORES} cores", title_justify="left")
    for column in ("nodes", "shards/s", "driver busy", "trials/s", "driver busy", "heartbeats/s", "checkpoints, GB/s"):
        table.add_column(column, justify="right")
    size = checkpoint_bytes()
    for nodes in NODES:
        shards, trials = nodes * CORES / SHARD_SECONDS, nodes * CORES / TRIAL_CORES
        table.add_row(
            f"{nodes:,}",
            f"{shards:.1f}",
            f"{shards * shard:.1%}",
            f"{trials / TRIAL_SECONDS:.2f}",
            f"{trials / TRIAL_SECONDS * trial:.1%}",
            f"{trials / REMOTE_BEAT_SECONDS:.0f}",
            f"{trials * size / CHECKPOINT_SECONDS / 1e9:.1f}",
        )
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 1000])
    options = parser.parse_args()
    torch.set_num_threads(1)
    connect()
    shard = show("shards", [of_shards(count) for count in options.shards])
    trial = show("trials", [of_trials(count) for count in options.trials])
    predict(shard, trial)
    ray.shutdown()


if __name__ == "__main__":
    main()
