"""A small training, and running the command from outside, and killing it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.config import TrainConfig
from orchestrator.store import Store

SETTINGS = {
    "dataset": {"L": 16, "hamiltonian": {"D": 1.0}, "schedule": {"sweeps": 20, "finish": 50}, "configurations": 256},
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


def kill_when(command: list[str], ready: Callable[[], bool], seconds: float = 120.0) -> None:
    """Run a command with a Ray of its own and SIGKILL its driver as soon as ``ready``."""
    process = subprocess.Popen(
        command,
        env={**os.environ, "RAY_ADDRESS": "local"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, "the command ended before it could be killed"
        assert time.monotonic() < deadline, "nothing was finished in time"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(3.0)  # its orphaned actors end by themselves
