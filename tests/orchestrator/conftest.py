"""A tiny system on which the whole path takes seconds, and Ray on this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from orchestrator import console
from orchestrator.config import load
from orchestrator.data.request import DatasetConfig
from orchestrator.store import Store
from orchestrator.sweeps.request import SweepConfig

TINY = """
label: tiny
dataset:
  L: 16
  hamiltonian: {D: 1.0, B: 0.4}
  sampler: {sweeps: 20, finish: 50}
  configurations: 256
system: {name: evae-2021}
batch: 16
steps: 10
trial: {name: collapse, beta_start: 1.0e-5, gammas: [1, 10, 100], refine: 1, warmup_steps: 30}
space: {system.beta: [1.0e-4]}
seeds: 2
"""


os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  (of 15, whatever else a machine does comes first)


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt that a test raised is not spoken of in the next."""
    monkeypatch.setattr(console, "_kept", [])


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("space") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def on_ray() -> Iterator[None]:
    own = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, own))  # workers import what tests define
    ray.init(address="local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Store], object]) -> Store:
    """A store of this process with what is made: by one of the processes that test, while the others wait for it."""
    together = factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else factory.getbasetemp()
    make(Store(str(together / name)))
    return Store(str(shutil.copytree(together / name, factory.mktemp(name) / "store")))


@pytest.fixture(scope="session")
def swept(tiny: Path, tmp_path_factory: pytest.TempPathFactory, on_ray: None) -> tuple[SweepConfig, Store]:
    """An undisturbed sweep of the tiny space."""
    from orchestrator.sweeps import run

    config = load(SweepConfig, str(tiny))
    return config, made_once(tmp_path_factory, "swept", lambda store: run.run(config, store))


@pytest.fixture(scope="session")
def trained(on_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """An undisturbed training of the small hybrid."""
    from driving import HYBRID

    from orchestrator.training import run

    return made_once(tmp_path_factory, "trained", lambda store: run.run(HYBRID, store))


@pytest.fixture(scope="session")
def small_data() -> DatasetConfig:
    return DatasetConfig.model_validate({"L": 8, "sampler": {"sweeps": 5, "finish": 20}, "configurations": 4096 * 4})
