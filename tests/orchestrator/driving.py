"""A small training, and running the command from outside, and killing it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from orchestrator.store import Store
from orchestrator.training.request import TrainConfig

SETTINGS = {
    "dataset": {"L": 16, "hamiltonian": {"D": 1.0}, "sampler": {"sweeps": 20, "finish": 50}, "configurations": 256},
    "system": {"name": "hybrid", "width": 4, "latent": 8},
    "batch": 16,
    "steps": 200,
    "checkpoint_seconds": 0,
}
HYBRID = TrainConfig.model_validate(SETTINGS)


def contents(store: Store, folder: str) -> dict[str, bytes]:
    """Every file but the pages, which say how long things took."""
    root = Path(store.path) / folder
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".html"
    }


def orch(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "orchestrator.cli", *arguments]


@contextlib.contextmanager
def running(
    command: list[str], ready: Callable[[], bool], seconds: float = 120.0
) -> Iterator[tuple[subprocess.Popen, Path]]:
    """A command with a Ray and a process group of its own, once it is ``ready``, and the file of what it prints."""
    with tempfile.NamedTemporaryFile("w") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, "RAY_ADDRESS": "local"},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        printed = Path(output.name)
        deadline = time.monotonic() + seconds
        try:
            while not ready():
                assert process.poll() is None, f"the command ended before it could be stopped:\n{printed.read_text()}"
                assert time.monotonic() < deadline, "nothing was finished in time"
                time.sleep(0.005)
            yield process, printed
        finally:
            process.kill()
            process.wait()


def kill_when(command: list[str], ready: Callable[[], bool]) -> None:
    """Run a command with a Ray of its own and SIGKILL its driver as soon as ``ready``."""
    with running(command, ready) as (process, _):
        process.kill()
    time.sleep(3.0)  # its orphaned actors end by themselves


def interrupt_when(command: list[str], ready: Callable[[], bool], seconds: float = 60.0) -> tuple[int, str]:
    """Run a command with a Ray of its own, press Ctrl-C as soon as ``ready``; its exit code and what it printed."""
    with running(command, ready) as (process, printed):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does to all that runs in the foreground
        process.wait(seconds)
        return process.returncode, printed.read_text()


def workers_below(process: int, name: str) -> list[int]:
    """Ray's workers with ``name`` in their title that descend from a process: of its own Ray, and of no other."""
    return [
        int(folder.name)
        for folder in Path("/proc").glob("[0-9]*")
        if (title := _read(folder / "cmdline")).startswith("ray::") and name in title and _descends(folder, process)
    ]


def _descends(folder: Path, process: int) -> bool:
    while (status := _read(folder / "status")) and (parent := int(status.partition("PPid:")[2].split()[0])):
        if parent == process:
            return True
        folder = Path("/proc", str(parent))
    return False


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
