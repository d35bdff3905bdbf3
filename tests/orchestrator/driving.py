"""A small training, and running the command from outside, and killing it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from orchestrator.cluster import Pool
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


TIMES = "created", "host", "seconds", "cpu_seconds", "checksum", "report.html", "request.yaml", "optuna.db"
AS_LONG = "rivals", "rivals.parquet", "rivals.png"  # of a search, which get the CPU time that it took


def contents(store: Store, folder: str) -> dict[str, bytes]:
    """Every file, without what says when, where and how long, and what depends on how long."""
    root = Path(store.path) / folder
    return {
        str(path.relative_to(root)): _timeless(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name not in TIMES + AS_LONG and path.parent.name != "events"
    }


def _timeless(path: Path) -> bytes:
    if path.name != "card.json":
        return path.read_bytes()

    def kept(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: value for key, value in pairs if key not in TIMES + AS_LONG and not key.startswith("events/")}

    return json.dumps(json.loads(path.read_text(), object_pairs_hook=kept)).encode()


def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The actors that pools start from now on, filled as they do."""
    actors: list[Any] = []
    start = Pool._start

    def noted(pool: Pool) -> Any:
        actors.append(start(pool))

    monkeypatch.setattr(Pool, "_start", noted)
    return actors


def environment() -> dict[str, str]:
    """Of a command that joins the Ray of the tests, or starts one of its own where there is none."""
    address = ray.get_runtime_context().gcs_address if ray.is_initialized() else "local"
    return {**os.environ, "RAY_ADDRESS": address}


def orch(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "orchestrator.cli", *arguments]


@contextlib.contextmanager
def running(
    command: list[str], ready: Callable[[], bool], seconds: float = 120.0, **own: Any
) -> Iterator[tuple[subprocess.Popen, Path]]:
    """A command with a process group of its own, once it is ``ready``, and the file of what it prints."""
    with tempfile.NamedTemporaryFile("w") as output:
        process = subprocess.Popen(
            command,
            env=environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
            **own,
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
    """Run a command and SIGKILL its driver as soon as ``ready``."""
    with running(command, ready) as (process, _):
        process.kill()
    time.sleep(2.0)  # its orphaned actors end by themselves


def interrupt_when(command: list[str], ready: Callable[[], bool], seconds: float = 60.0) -> tuple[int, str]:
    """Run a command on a terminal of its own, press Ctrl-C there when ``ready``; its exit code and what it printed."""
    keyboard, terminal = os.openpty()
    own = {"stdin": terminal, "preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)}
    with running(command, ready, **own) as (process, printed):
        os.write(keyboard, b"\x03")
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
