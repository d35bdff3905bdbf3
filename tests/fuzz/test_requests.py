"""Odd requests are planned or refused in short lines: no traceback, no waiting, nothing written, no Ray."""

from __future__ import annotations

import collections
import io
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import ray
from fuzz.mutations import Case, case

from orchestrator import cli
from orchestrator.data.run import make_here
from orchestrator.store import Store
from orchestrator.training import loop
from orchestrator.training.request import TrainConfig

SECONDS = 60  # of one case: longer is work, or a list that does not end
LONGEST = 300  # characters of a line
QUICK, CASES, BLOCK = 100, 5000, 250

TINY = {"L": 16, "sampler": {"sweeps": 2, "finish": 0, "overrelaxation": 0}, "configurations": 64}
TRAINING = {"dataset": TINY, "system": {"name": "hybrid", "width": 2, "latent": 4}, "batch": 8, "steps": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a store that holds a data set and a model, and files of states, whole and damaged."""
    folder = tmp_path_factory.mktemp("fuzz")
    store, training = Store(str(folder / "store")), TrainConfig.model_validate(TRAINING)
    make_here(training.dataset, store)
    loop.make(training, store)
    states = np.zeros((2, 3, 16, 16), np.float32)
    states[:, 2] = 1
    np.save(folder / "states.npy", states)
    header = (folder / "states.npy").read_bytes()[:128]
    (folder / "claims.npy").write_bytes(header.replace(b"(2, 3, 16, 16), }       ", b"(2, 3, 1600000, 1600000)}"))
    (folder / "words.ovf").write_text("# OOMMF OVF 2.0\n# xnodes: 2\n# Begin: Data Text\nup down\n# End: Data Text\n")
    return folder


def known(folder: Path) -> list[str]:
    """Names of what the store holds, the model last."""
    return [entry.name for kind in ("datasets", "models") for entry in sorted((folder / "store" / kind).iterdir())]


def written(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "case.yaml"}


class Stopped(BaseException):
    """The time of a case is up."""


def stop(*_: object) -> None:
    raise Stopped


class Answer(NamedTuple):
    code: object
    printed: str
    errors: str


def answer(asked: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """What ``orch`` says in this process: the exit code, or what else came out of it."""
    (folder / "case.yaml").write_bytes(asked.content)
    printed, errors = (io.TextIOWrapper(io.BytesIO(), "utf-8", way) for way in ("strict", "backslashreplace"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["orch", *asked.arguments])
    monkeypatch.setattr(sys, "stdout", printed)
    monkeypatch.setattr(sys, "stderr", errors)
    handler = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        cli.main()
        code: object = "no exit code"
    except SystemExit as error:
        code = error.code
    except BaseException as error:
        code = repr(error)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        monkeypatch.undo()
    for stream in (printed, errors):
        stream.flush()
    return Answer(code, printed.buffer.getvalue().decode(), errors.buffer.getvalue().decode())


@pytest.fixture(scope="module")
def fault(folder: Path) -> Iterator[Callable[[Case], str]]:
    """What is wrong with the answer to a case, "" if it is as it should be."""
    before, path, with_ray = written(folder), [*sys.path], ray.is_initialized()
    codes: collections.Counter[object] = collections.Counter()

    def of(asked: Case) -> str:
        with pytest.MonkeyPatch.context() as monkeypatch:
            found = answer(asked, folder, monkeypatch)
        codes[found.code] += 1
        lines = found.errors.splitlines()
        good = found.code == 0 or (found.code == 2 and lines)
        good = good and all(len(line) < LONGEST for line in lines) and "Traceback" not in found.errors
        if good and ray.is_initialized() == with_ray and written(folder) == before:
            return ""
        return f"{asked.arguments!s:.800}\n{asked.content!s:.800}\n{found.code}\n{found.errors:.1500}\n"

    yield of
    print(f"exit codes: {dict(codes)}")
    sys.path[:] = path


def faults(numbers: range, fault: Callable[[Case], str], folder: Path) -> str:
    names = known(folder)
    return "\n".join(f"case {number}: {wrong}" for number in numbers if (wrong := fault(case(number, names))))


def test_odd_requests_are_answered(fault, folder):
    assert faults(range(QUICK), fault, folder) == ""


@pytest.mark.slow
@pytest.mark.parametrize("first", range(QUICK, CASES, BLOCK))
def test_thousands_of_odd_requests_are_answered(first, fault, folder):
    assert faults(range(first, min(first + BLOCK, CASES)), fault, folder) == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["anneal", "--n", "9" * 5000], "orch anneal --n: expected a smaller integer, found '9999"),
        (["anneal", "--L", "abc"], "--L: expected an integer, unable to parse string as an integer, found 'abc'"),
        (["anneal", "--n", "1000000000000"], "configurations: expected less than or equal to 10000000"),
        (["anneal", "--n", "10000000", "--L", "4096"], "configurations: expected at most 496705 of L = 4096"),
        (["anneal", "--seed", "4294967296"], "seed: expected less than 4294967296, found 4294967296"),
        (["anneal", "--D", "inf"], "hamiltonian.D: expected a finite number, found inf"),
        (["anneal", "--J", "1e30"], "hamiltonian.J: expected less than or equal to 1000000000000"),
        (["anneal", "--model", "physics.model:SpinModel"], "hamiltonian: name: expected a kind of spin model, found"),
        (["anneal", "--model", "physics.annealing:Annealing"], "hamiltonian: name: expected a kind of spin model"),
        (["anneal", "--model", "..a:b"], "..a:b: "),
        (["anneal", "--mask", "claims.npy"], "--mask claims.npy: not a whole array of NumPy"),
        (["anneal", "--mask", "states.npy"], "--mask states.npy: expected 0 and 1 of shape (32, 32), found float32"),
        (["anneal", "--config", "."], ".: a folder; expected a YAML file"),
        (["anneal", "--config", ""], "'': a folder; expected a YAML file"),
        (["anneal", "--config", "x" * 300], "no such file: file name too long"),
        (["anneal", "--config", "*.yaml"], "*.yaml: no such file; shipped with the program"),
        (["anneal", "--set", "a." * 3000 + "a=1"], "expected a key of at most 20 parts, found 3001"),
        (["anneal", "--store", "x" * 300], "not a store that can be reached: file name too long"),
        (["anneal", "--store", "~nobody-at-all"], "~nobody-at-all: not a store that can be reached"),
        (["anneal", "--store", "nope://x"], "nope://x: not a store that can be reached: Protocol not known"),
        (["anneal", "--store", "a\nb"], "'a\\nb': expected text without control characters"),
        (["anneal", "--store", "\udcff"], "'\\udcff': expected text without control characters"),
        (["import", "claims.npy"], "claims.npy: not a whole array of NumPy"),
        (["import", "states.npy", "--set", "L=32"], "--set L=32: expected 16, as the files have it"),
        (["train", "--workers", "²"], "--workers ²: expected N or MIN:MAX"),
        (["train", "--model", ""], "'': expected a shipped name or a YAML file"),
        (["optimize", "--model", ""], ": no such model in "),
        (["sweep", "--space", ""], "'': a folder; expected a YAML file"),
    ],
    ids=lambda value: f"{' '.join(value):.40}" if isinstance(value, list) else "",
)  # fmt: skip
def test_what_is_said_of(arguments, said, folder, monkeypatch):
    store = [] if "--store" in arguments else ["--store", "store"]
    code, printed, errors = answer(Case([*arguments, "--dry-run", *store], b""), folder, monkeypatch)
    assert (code, printed) == (2, "")
    assert said in errors
    assert len(errors.splitlines()) == 1
    assert len(errors) < LONGEST
