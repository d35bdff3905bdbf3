"""orch doctor: each fault of a node by itself, and real nodes, one of them with a private disk where the store is."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from orchestrator.deployment.doctor import CLOCK_SECONDS, Node, annealing_rate, faults, offset, versions

CODE = "0.6.0 (76543210)"
DENIED = "Permission denied"
DRIVER = {"python": "3.11.7", "ray": "2.60.0", "torch": "2.13.0", "orch": "0.6.0 (01234567)"}
SOUND = Node("b", 8, 1, versions=DRIVER, usable=1, ahead=0.1, doubt=0.01, sees=True, seen=True, rate=1e8)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"silent": "its node died"}, ["no answer (its node died)"]),
        ({"versions": {**DRIVER, "ray": "2.59.0"}}, ["ray 2.59.0, the driver has 2.60.0; install"]),
        ({"versions": {**DRIVER, "orch": CODE}}, [f"orch {CODE}, the driver has {DRIVER['orch']}"]),
        ({"versions": {**DRIVER, "python": "3.11.9", "torch": "2.12.0"}}, ["python 3.11.9", "torch 2.12.0"]),
        ({"sees": False}, ["does not see what the driver writes to /store"]),
        ({"seen": False}, ["writes what the driver does not see to /store"]),
        ({"sees": False, "seen": False, "unwritable": DENIED}, [f"cannot write to /store ({DENIED})"]),
        ({"ahead": CLOCK_SECONDS + 1}, ["its clock is 6.0 s ahead of the driver's; set it by NTP"]),
        ({"ahead": -60.0}, ["its clock is 60.0 s behind the driver's"]),
        ({"ahead": 60.0, "doubt": 58.0}, []),
        ({"gpus": 4}, ["4 GPUs for Ray, 1 that torch can use; install the driver"]),
        ({"gpus": 0, "usable": 1}, []),
        ({}, []),
    ],
)  # fmt: skip
def test_a_fault_of_a_node_is_a_line_with_what_to_do(change, said):
    found = faults([replace(SOUND, name="a"), replace(SOUND, **change)], "/store", DRIVER)
    assert len(found) == len(said)
    assert all(line.startswith(f"b: {text}") for line, text in zip(found, said, strict=True))
    assert all(";" in line for line in found)


@pytest.mark.parametrize("skew", [-3600.0, -6.0, 0.0, 0.2, 6.0])
def test_the_skew_of_a_clock_is_found_within_its_doubt(skew):
    """The way there and back takes 0.1 to 2 s, unevenly; the quickest answer tells most."""
    time, ways = [1000.0], iter([(1.5, 0.5), (0.1, 0.6), (0.05, 0.05), (0.1, 0.9), (1.0, 1.0)])

    def clock():
        there, back = next(ways)
        time[0] += there
        told = time[0] + skew
        time[0] += back
        return told

    ahead, doubt = offset(clock, lambda: time[0])
    assert doubt == pytest.approx(0.05)
    assert abs(ahead - skew) <= doubt + 1e-9


def test_a_change_of_our_source_is_another_version(tmp_path, monkeypatch):
    before = versions()
    assert before == versions()
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "more.py").write_text("")
    monkeypatch.setattr("search.__path__", [str(tmp_path / "search")])
    assert versions()["orch"] != before["orch"]


def test_annealing_on_a_cpu_has_a_rate():
    assert 1e5 < annealing_rate() < 1e11


START = "~/venv/bin/ray start --num-cpus=1 --include-dashboard=false"
APART = "unshare", "--map-root-user", "--mount"


@pytest.fixture
def nodes(machine):
    """A head and a worker on one disk."""
    assert machine.run("python", "-m", "orchestrator.cli", "cluster", "token").returncode == 0
    machine.start(f"{START} --head --port={machine.port}", RAY_AUTH_MODE="token")
    machine.start(f"~/venv/bin/ray start --num-cpus=1 --address={machine.address}", RAY_AUTH_MODE="token")
    return machine


@pytest.mark.slow
def test_a_node_with_a_private_disk_is_found_out(nodes):
    store = nodes.folder / "store"
    doctor = "doctor", "--json", "--store", str(store)

    sound = nodes.orch(*doctor, RAY_AUTH_MODE="token")
    assert sound.returncode == 0, sound.stdout + sound.stderr
    told = json.loads(sound.stdout)
    assert told["faults"] == []
    assert len(told["nodes"]) == 2
    assert all(node["cpus"] == 1 and node["rate"] > 1e5 and abs(node["ahead"]) < 1 for node in told["nodes"])
    assert all(node["versions"] == told["driver"] for node in told["nodes"])
    assert not store.exists()

    if subprocess.run([*APART, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a disk of their own")
    store.mkdir()
    before = set(nodes.processes())
    mounted = f"mount -t tmpfs none {store} && echo of-its-own > {store}/mine"
    start = f"~/venv/bin/ray start --num-cpus=1 --address={nodes.address}"
    nodes.start(f"{mounted} && {start}", *APART, RAY_AUTH_MODE="token")
    raylet = next(process for process in set(nodes.processes()) - before if process.name() == "raylet")

    apart = nodes.orch(*doctor, RAY_AUTH_MODE="token")
    assert apart.returncode == 1, apart.stdout + apart.stderr
    told = json.loads(apart.stdout)
    assert len(told["nodes"]) == 3
    (line,) = told["faults"]
    (private,) = [node for node in told["nodes"] if not node["sees"]]
    assert line.startswith(f"{private['name']}: does not see what the driver writes to {store}: a folder of its own")
    assert not private["seen"]
    assert [path.name for path in private_view(raylet, store).iterdir()] == ["mine"]
    assert list(store.iterdir()) == []

    printed = nodes.orch("doctor", "--store", str(store), RAY_AUTH_MODE="token")
    assert printed.returncode == 1
    assert printed.stdout.splitlines()[-1] == line
    assert ["not shared" in row for row in printed.stdout.splitlines()[:3]].count(True) == 1


def private_view(process: psutil.Process, path: Path) -> Path:
    """A folder as a process sees it."""
    return Path(f"/proc/{process.pid}/root{path}")
