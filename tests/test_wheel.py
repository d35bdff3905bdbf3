"""What ``pip install`` gets: a wheel with all packages and the files beside them."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("physics", "nets", "search", "orchestrator")

pytestmark = pytest.mark.slow


def run(*command: str | Path, **options) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of the files that git knows, so that what lies about is not in it."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    run("git", "checkout-index", "--all", f"--prefix={source}/", cwd=ROOT)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fresh environment that has the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin" / "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    return folder


def test_the_wheel_has_every_module_preset_and_template(wheel: Path):
    kept = set(zipfile.ZipFile(wheel).namelist())
    known = run("git", "ls-files", *PACKAGES, cwd=ROOT).split()
    assert len([name for name in known if name.endswith((".yaml", ".html", ".svg"))]) > 10
    assert not set(known) - kept
    assert {name.split("/")[0] for name in kept if not name.startswith("orch_spins-")} == set(PACKAGES)


def test_the_command_of_a_fresh_environment_finds_its_presets(installed: Path, tmp_path: Path):
    """Its dependencies are those of this environment, its own packages those of the wheel."""
    site = next(installed.glob("lib/python*/site-packages"))
    others = [path for path in sys.path if path.endswith("site-packages")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ORCH"))}
    environment["PYTHONPATH"] = os.pathsep.join([str(site), *others])
    orch = installed / "bin" / "orch"
    assert "sweep" in run(orch, "--help", cwd=tmp_path, env=environment)
    plan = run(orch, "sweep", "--space", "evae.yaml", "--dry-run", cwd=tmp_path, env=environment)
    assert "4000 to make" in plan
    script = "import orchestrator; print(orchestrator.__file__)"
    where = run(installed / "bin" / "python", "-c", script, cwd=tmp_path, env=environment)
    assert where.startswith(str(installed))


def test_the_wheel_offers_what_object_stores_need(installed: Path):
    (metadata,) = next(installed.glob("lib/python*/site-packages")).glob("orch_spins-*.dist-info")
    requires = PathDistribution(metadata).requires or []
    assert any(line.startswith("s3fs") and "extra == 's3'" in line.replace('"', "'") for line in requires), requires
