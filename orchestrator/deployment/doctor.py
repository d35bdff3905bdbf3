"""What is wrong with the cluster that is there: its nodes are asked, and their answers held against the driver's.

A node is at fault if it does not answer, runs other versions or other code of ours, has GPUs that torch cannot use, a
clock that is off, or a store that it cannot write or shares with nobody: a folder of its own disk at the same address.
"""

from __future__ import annotations

import contextlib
import hashlib
import platform
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import nets
import orchestrator
import physics
import search
from orchestrator.cluster import connect, reason
from orchestrator.files import UNFINISHED, Files, in_a_line
from orchestrator.store import Store
from physics.annealing import Annealing
from physics.chiral import ChiralMagnet

ANSWER_SECONDS = 90.0  # for a process to start on a node and import torch
CLOCK_SECONDS = 5.0  # off the driver's: heartbeats are told to be old after 40
CLOCK_TRIES = 5
RATE_SECONDS = 0.5
DRIVER = "driver"
PACKAGES = {"ray": "ray", "torch": "torch", "orch": "orch-spins"}


@dataclass
class Node:
    """What a node says of itself.

    Attributes:
        silent: why it says nothing.
        usable: GPUs that torch can use.
        ahead: seconds of its clock before the driver's.
        doubt: seconds by which that may be wrong.
        sees: whether it sees what the driver wrote to the store.
        seen: whether the driver sees what it wrote.
        unwritable: why it could not write there.
        rate: spin updates a second of annealing on a CPU.
    """

    name: str
    cpus: float
    gpus: float
    silent: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    usable: int = 0
    ahead: float = 0.0
    doubt: float = 0.0
    sees: bool = False
    seen: bool = False
    unwritable: str = ""
    rate: float = 0.0


class Inspector:
    """An actor on the node that it inspects."""

    def versions(self) -> dict[str, str]:
        return versions()

    def usable_gpus(self) -> int:
        import torch

        return torch.cuda.device_count() if torch.cuda.is_available() else 0

    def clock(self) -> float:
        return time.time()

    def rate(self) -> float:
        return annealing_rate()

    def share(self, address: str, folder: str, name: str) -> tuple[bool, str]:
        """Whether it sees what the driver wrote to the store, and why it cannot write there."""
        try:
            files = Files(address)
            sees = files.exists(f"{folder}/{DRIVER}")
            if files.local and not Path(files.path).exists():
                return False, ""
            files.write_file(f"{folder}/{name}", b"")
        except Exception as error:  # every protocol has errors of its own
            return False, in_a_line(error)
        return sees, ""

    def tidy(self, address: str, folder: str) -> None:
        tidy(Files(address), folder)


def versions() -> dict[str, str]:
    """Of Python, and of the packages that decide whether nodes understand each other."""
    found = {"python": platform.python_version()}
    for name, package in PACKAGES.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = "unknown"
    found["orch"] += f" ({_code()})"
    return found


def _code() -> str:
    """A hash of all our source, since a version stays the same while it is edited."""
    digest = hashlib.sha256()
    for package in (physics, nets, search, orchestrator):
        root = Path(next(iter(package.__path__)))
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{package.__name__}/{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:8]


def annealing_rate() -> float:
    """Spin updates a second of a small annealing, compiled before."""
    sampler, L, n = Annealing(sweeps=200, finish=0), 16, 8
    sampler.sample(ChiralMagnet(), L, 0, range(n))
    done, started = 0, time.perf_counter()
    while (seconds := time.perf_counter() - started) < RATE_SECONDS:
        sampler.sample(ChiralMagnet(), L, 0, range(n))
        done += n
    return done * sampler.spin_updates(L) / seconds


def offset(clock: Callable[[], float], now: Callable[[], float] = time.time) -> tuple[float, float]:
    """Seconds that ``clock`` is ahead of ``now``, and by how much that may be wrong: half of the quickest answer."""
    found = []
    for _ in range(CLOCK_TRIES):
        asked = now()
        told, answered = clock(), now()
        found.append(((answered - asked) / 2, told - (asked + answered) / 2))
    doubt, ahead = min(found)
    return ahead, doubt


def tidy(files: Files, folder: str, root: bool = False) -> None:
    """Remove what was written, and the folders that were made for it, ``root`` among them or not."""
    files.remove_folder(folder)
    if files.local:
        with contextlib.suppress(OSError):  # of one that holds something, or is not there
            Path(files.path, UNFINISHED).rmdir()
            if root:
                Path(files.path).rmdir()


def inspect(store: Store) -> list[Node]:
    """Every node that lives, asked; the head first.

    Raises:
        OSError: the driver itself cannot write to the store.
    """
    connect()
    files = Files(store.path if store.local else store.root)
    folder = f"{UNFINISHED}/{uuid.uuid4().hex}"  # a name by which gc knows it, should this be killed
    new = files.local and not Path(files.path).exists()
    alive = [entry for entry in ray.nodes() if entry["Alive"]]
    alive.sort(key=lambda entry: ("node:__internal_head__" not in entry["Resources"], entry["NodeManagerAddress"]))
    try:
        files.write_file(f"{folder}/{DRIVER}", b"")
        with ThreadPoolExecutor(len(alive)) as pool:
            nodes = list(pool.map(lambda entry: _ask(entry, _name(entry, alive), files, folder), alive))
        written = files.entries(folder)
        for entry, node in zip(alive, nodes, strict=True):
            node.seen = entry["NodeID"] in written
    finally:
        tidy(files, folder, root=new)
    return nodes


def _name(entry: dict[str, Any], alive: Sequence[dict[str, Any]]) -> str:
    """The host, and a part of its number where several nodes are on one."""
    hosts = Counter(other["NodeManagerHostname"] for other in alive)
    host = entry["NodeManagerHostname"]
    return host if hosts[host] == 1 else f"{host}/{entry['NodeID'][:8]}"


def _ask(entry: dict[str, Any], name: str, files: Files, folder: str) -> Node:
    has = entry["Resources"]
    node = Node(name, has.get("CPU", 0.0), has.get("GPU", 0.0))
    place = NodeAffinitySchedulingStrategy(entry["NodeID"], soft=False)
    inspector = ray.remote(Inspector).options(num_cpus=0, scheduling_strategy=place).remote()

    def ask(method: str, *arguments: Any) -> Any:
        return ray.get(getattr(inspector, method).remote(*arguments), timeout=ANSWER_SECONDS)

    address = files.path if files.local else files.root
    try:
        node.versions = ask("versions")
        node.ahead, node.doubt = offset(lambda: ask("clock"))
        node.sees, node.unwritable = ask("share", address, folder, entry["NodeID"])
        if not node.sees:
            ask("tidy", address, folder)
        node.usable = ask("usable_gpus") if node.gpus else 0
        node.rate = ask("rate")
    except RayError as error:
        node.silent = f"nothing within {ANSWER_SECONDS:.0f} s" if isinstance(error, TimeoutError) else reason(error)
    finally:
        ray.kill(inspector)
    return node


def faults(nodes: Sequence[Node], address: str, driver: dict[str, str]) -> list[str]:
    """A line for each fault: the node, what is wrong with it, and what to do about it."""
    return [f"{node.name}: {line}" for node in nodes for line in _faults_of(node, address, driver)]


def _faults_of(node: Node, address: str, driver: dict[str, str]) -> list[str]:
    if node.silent:
        return [f"no answer ({node.silent}); read /tmp/ray/session_latest/logs there, or take the node out"]
    found = [
        f"{name} {node.versions.get(name)}, the driver has {wanted}; install the same lock file and code there, and "
        "start its Ray again"
        for name, wanted in driver.items()
        if node.versions.get(name) != wanted
    ]
    if node.unwritable:
        found.append(f"cannot write to {address} ({node.unwritable}); give it access, or name another store")
    elif not node.sees or not node.seen:
        what = "does not see what the driver writes" if not node.sees else "writes what the driver does not see"
        found.append(
            f"{what} to {address}: a folder of its own; mount the shared one there, or name a store that all reach"
        )
    if abs(node.ahead) - node.doubt > CLOCK_SECONDS:
        late = "ahead of" if node.ahead > 0 else "behind"
        found.append(
            f"its clock is {abs(node.ahead):.1f} s {late} the driver's; set it by NTP (timedatectl set-ntp true)"
        )
    if node.usable < node.gpus:
        found.append(
            f"{node.gpus:g} GPUs for Ray, {node.usable} that torch can use; install the driver, or start its Ray with "
            f"--num-gpus={node.usable}"
        )
    return found
