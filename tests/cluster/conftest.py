"""Ray's nodes as a shell starts them, in a folder of their own, so that nobody else's Ray is joined or ended."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray
from driving import HYBRID

from orchestrator.store import Store
from orchestrator.training import run


class Machine:
    """A home folder with the venv and room for Ray's files; what is started in it ends with it.

    Attributes:
        folder: with a short name, since the address of a socket has at most 107 characters.
        port: that nobody listens on.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="m", dir="/tmp"))
        self.home = self.folder / "home"
        self.home.mkdir()
        (self.home / "venv").symlink_to(sys.prefix)
        with socket.socket() as free:
            free.bind(("", 0))
            self.port = free.getsockname()[1]

    @property
    def address(self) -> str:
        """Of the cluster that was started here."""
        return (self.folder / "ray" / "ray_current_cluster").read_text().strip()

    def environment(self, **own: str) -> dict[str, str]:
        known = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "ORCH_STORE")}
        return {**known, "HOME": str(self.home), "RAY_TMPDIR": str(self.folder), "OMP_NUM_THREADS": "1", **own}

    def run(self, *command: str, **own: str) -> subprocess.CompletedProcess:
        """A command in this home, to its end."""
        environment = self.environment(**own)
        return subprocess.run(command, env=environment, cwd=self.home, capture_output=True, text=True, timeout=300)

    def start(self, command: str, *before: str, **own: str) -> None:
        """A node, by a command for a shell, whose processes outlive the command."""
        log = self.folder / "start.log"  # a pipe would be held open by the node
        with log.open("w") as output:
            done = subprocess.run(
                [*before, "bash", "-c", command], env=self.environment(**own), stdout=output, stderr=output, timeout=300
            )
        assert done.returncode == 0, log.read_text()

    def orch(self, *arguments: str, **own: str) -> subprocess.CompletedProcess:
        """An orch command as a driver of the cluster that was started here."""
        own = {"RAY_ADDRESS": self.address, **own}
        return self.run(sys.executable, "-m", "orchestrator.cli", *arguments, **own)

    def processes(self) -> Iterator[psutil.Process]:
        """All that was started here, and by that."""
        for process in psutil.process_iter():
            try:
                if process.environ().get("RAY_TMPDIR") == str(self.folder):
                    yield process
            except psutil.Error:
                continue


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Store:
    """A model and its data, made by a Ray of its own."""
    store = Store(str(tmp_path_factory.mktemp("trained") / "store"))
    ray.shutdown()
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    run.run(HYBRID, store)
    ray.shutdown()
    return store


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    for process in made.processes():
        process.kill()
    shutil.rmtree(made.folder)
