"""Configurations a second from one Ray actor and from two, in one run, and what Ray adds to the kernel's own time.

python benchmarks/actors.py
"""

import tempfile
import time

import ray

from orchestrator import anneal
from orchestrator.cluster import connect
from orchestrator.config import DatasetConfig
from orchestrator.store import Store

CONFIG = DatasetConfig.model_validate(
    {
        "L": 128,
        "hamiltonian": {"D": 0.3},
        "configurations": 768,
    }
)


def seconds(actors: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        anneal.make(CONFIG, Store(f"{folder}/store"), actors)
        return time.perf_counter() - started


if __name__ == "__main__":
    connect()
    seconds(2)  # compiles
    one, two = [], []
    for _ in range(2):
        one.append(seconds(1))
        two.append(seconds(2))
    print(f"one actor  {CONFIG.configurations / min(one):8.1f} configurations/s")
    print(f"two actors {CONFIG.configurations / min(two):8.1f} configurations/s, {min(one) / min(two):.3f} times one")
    ray.shutdown()
