"""What a sweep costs beside its training steps: a whole command of equal trials, and the same steps by themselves.

    python benchmarks/sweep.py [--trials 20] [--steps 600]

The steps by themselves are those of one trial on each core at once, as the trials run.  The CPU time of the sweep is
that of the whole machine, Ray included, so nothing else may run.  The data set is made before.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import psutil
import torch
import yaml

from nets.system import build
from nets.training import Data, fit
from orchestrator.config import load, read_yaml
from orchestrator.data.shards import read
from orchestrator.store import Store
from orchestrator.sweeps.request import SweepConfig


def space(trials: int, steps: int) -> dict:
    """Trials on the data of evae.yaml that differ in gamma alone."""
    shipped = read_yaml("evae.yaml")
    return {
        **{key: shipped[key] for key in ("dataset", "system", "batch", "augment", "resources")},
        "label": "overhead",
        "steps": steps,
        "schedule": "cosine",
        "space": {"system.gamma": list(range(trials))},
    }


def busy() -> float:
    """CPU seconds of this machine so far."""
    times = psutil.cpu_times()
    return times.user + times.system + times.nice


def steps_alone(file: str, address: str) -> tuple[float, float]:
    """Wall and CPU seconds of the steps of one trial, without anything around them."""
    torch.set_num_threads(1)
    training = next(load(SweepConfig, file).grid()).training
    data = Data(read(training.dataset.name, Store(address))).part(slice(training.kept))
    system = build(training.system, training.dataset.hamiltonian)
    wall, cpu = time.monotonic(), time.process_time()
    fit(system, data, training.batch, range(training.steps), 0, augment=training.augment, schedule=training.schedule)
    return time.monotonic() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--steps", type=int, default=600)
    arguments = parser.parse_args()
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        file, store = f"{folder}/space.yaml", f"{folder}/store"
        Path(file).write_text(yaml.safe_dump(space(arguments.trials, arguments.steps)))
        orch = [str(Path(sys.executable).with_name("orch"))]
        dataset = f"{folder}/data.yaml"
        Path(dataset).write_text(yaml.safe_dump(read_yaml("evae.yaml")["dataset"]))
        subprocess.run([*orch, "anneal", "--config", dataset, "--store", store], check=True, capture_output=True)
        with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
            alone = list(pool.map(steps_alone, [file] * cores, [store] * cores))
        wall, cpu = (sum(figures) / cores for figures in zip(*alone, strict=True))
        before, started = busy(), time.monotonic()
        subprocess.run([*orch, "sweep", "--space", file, "--store", store], check=True, capture_output=True)
        took, used = time.monotonic() - started, busy() - before
    ideal, steps = wall * -(-arguments.trials // cores), cpu * arguments.trials
    print(f"{arguments.trials} trials of {arguments.steps} steps on {cores} cores")
    print(f"steps by themselves: {wall:.1f} s of a trial, {steps:.0f} CPU s of all")
    print(f"CPU: {used:.0f} s, {100 * (used - steps) / used:.1f} % of it outside the steps")
    print(f"wall: {took:.0f} s, {100 * (took / ideal - 1):.1f} % above the ideal {ideal:.0f} s")


if __name__ == "__main__":
    main()
