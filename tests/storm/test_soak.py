"""A soak: every command on four nodes and one store, while drivers, workers and nodes are killed at random.

What a command makes is held against what it makes undisturbed, file by file. ``make soak`` goes on for an hour and
prints a row for each command.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter

import pandas as pd
import pytest
import ray
from driving import HYBRID, contents, orch
from ray.cluster_utils import Cluster
from storm.test_storm import ANNEAL, SWEEP, Witness, driving, environment, making, workers_of_tests

from orchestrator.store import KINDS, Store

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("SOAK_SECONDS", "120"))
NODES, ENDS, KILLS, HANGS = 4, 3, 6, 600.0  # drivers and others that are ended at most, of a command; seconds
DISTURBANCES = ["driver killed", "Ctrl-C", "worker killed", "node killed"]


class Nodes:
    """A cluster of four nodes with a CPU each, of which all but the first may be killed."""

    def __init__(self) -> None:
        ray.shutdown()
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.others = [self.cluster.add_node(num_cpus=1) for _ in range(NODES - 1)]

    def kill_one(self, chance: random.Random) -> None:
        self.cluster.remove_node(self.others.pop(chance.randrange(len(self.others))), allow_graceful=False)
        self.others.append(self.cluster.add_node(num_cpus=1))

    def settled(self) -> str:
        """Address of the cluster, once it has noticed who is dead: a driver may not choose that one as its own."""
        self.cluster.wait_for_nodes(timeout=120)
        return self.cluster.address

    def disturb(self, what: str, driver: subprocess.Popen, chance: random.Random) -> bool:
        """Whether there was something to disturb."""
        if what == "driver killed":
            driver.kill()
        elif what == "Ctrl-C":
            os.killpg(driver.pid, signal.SIGINT)
        elif what == "node killed":
            self.kill_one(chance)
        else:
            return kill_one_of(workers_of_tests(), chance)
        return True


def kill_one_of(workers: list[int], chance: random.Random) -> bool:
    """Whether there was one that had not ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        if workers:
            os.kill(chance.choice(workers), signal.SIGKILL)
            return True
    return False


@pytest.fixture(scope="module")
def nodes():
    made = Nodes()
    yield made
    made.cluster.shutdown()


@pytest.fixture(scope="module")
def commands(tmp_path_factory) -> dict[str, list[str]]:
    return {
        **making(tmp_path_factory.mktemp("requests"), ANNEAL, SWEEP, 300),
        "temper": ["temper", "--L", "12", "--runs", "4"],
        "evaluate": ["evaluate", HYBRID.name, "--n", "2000"],
        "map": ["map", HYBRID.name, "--set", "points=21"],
        "ddls": ["ddls", HYBRID.name, "--steps", "40"],
        "field": ["field", HYBRID.name, "--n", "200"],
        "interpolate": ["interpolate", HYBRID.name, "prior:1", "prior:2"],
        "invert": ["invert", HYBRID.name, f"{HYBRID.dataset.name}:0"],
    }


def disturbed(command: list[str], nodes: Nodes, chance: random.Random, witness: Witness) -> Counter[str]:
    """A command, given again until it has ended by itself, and how often it was disturbed in which way."""
    done: Counter[str] = Counter()
    while True:
        driver = driving(command, environment(nodes.settled()))
        begun = time.monotonic()
        due, ended = begun + chance.uniform(2, 12), False
        while driver.poll() is None:
            ends, kills = (sum(done[what] for what in part) for part in (DISTURBANCES[:2], DISTURBANCES[2:]))
            if time.monotonic() > due and not ended and kills < KILLS:
                what = chance.choice(DISTURBANCES if ends < ENDS else DISTURBANCES[2:])
                done[what] += nodes.disturb(what, driver, chance)
                ended = what in DISTURBANCES[:2]
                due = time.monotonic() + chance.uniform(4, 12)
            witness.look()
            time.sleep(0.05)
            assert time.monotonic() - begun < HANGS, f"hangs after {done}"
        printed = driver.communicate()[0]
        assert "Traceback" not in printed, printed
        if driver.returncode == 0:
            return done
        assert ended, printed


def tries(witness: Witness) -> int:
    """Of the stages that were seen, those beyond the first of each."""
    return sum(number > 1 for _, _, number, _ in witness.holders)


def test_a_soak_loses_nothing(nodes, commands, tmp_path):
    chance, rows = random.Random(0), []
    calm, stormy = Store(str(tmp_path / "calm")), Store(str(tmp_path / "stormy"))
    for store in (calm, stormy):
        subprocess.run(orch(*commands["train"], "--store", store.path), env=environment(nodes.settled()), check=True)
    over, number = time.monotonic() + SECONDS, 0
    while time.monotonic() < over:
        number += 1
        for name in chance.sample(list(commands), len(commands)):
            command = [*commands[name], "--seed", str(number), "--store"]
            clock = [time.monotonic()]
            subprocess.run(orch(*command, calm.path), env=environment(nodes.settled()), check=True)
            clock.append(time.monotonic())
            witness = Witness(stormy)
            done = disturbed(orch(*command, stormy.path), nodes, chance, witness)
            clock.append(time.monotonic())
            wrong = [kind for kind in KINDS if contents(stormy, kind) != contents(calm, kind)]
            left = [kind for kind in KINDS if stormy.entries(f".unfinished/{kind}")]
            assert (wrong, left, witness.twice) == ([], [], []), f"{name}, seed {number}, after {dict(done)}"
            made = {"tries": tries(witness), "calm s": clock[1] - clock[0], "disturbed s": clock[2] - clock[1]}
            rows.append({"command": name, "rounds": 1, **{what: done[what] for what in DISTURBANCES}, **made})
            print(f"seed {number}", rows[-1], flush=True)
            if time.monotonic() > over:
                break
    table = pd.DataFrame(rows).groupby("command", sort=False).sum()
    print(pd.concat([table, table.sum().rename("all").to_frame().T]).round().astype(int).to_string())
    assert (table[DISTURBANCES].sum() > 0).all() or SECONDS < 600
