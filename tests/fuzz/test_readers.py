"""Odd files: each reader of one answers in a line, soon, whatever the file holds.

``FUZZ_SECONDS=600 pytest -m slow tests/fuzz/test_readers.py`` gives each reader ten minutes.
"""

from __future__ import annotations

import copy
import io
import json
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzz.mutations import ODD, SHIPPED, Raw
from fuzz.test_requests import LONGEST, TRAINING, Stopped, stop

from nets.system import build
from nets.training import TrainingState, checkpoint, checkpoint_step, restore_checkpoint
from orchestrator.catalogue import index
from orchestrator.catalogue.lineage import Lineage
from orchestrator.config import load
from orchestrator.data import run as data
from orchestrator.data import shards
from orchestrator.errors import RequestError
from orchestrator.lease import lease, newest_try
from orchestrator.optimization import run as optimization
from orchestrator.optimization.found import History
from orchestrator.optimization.request import OptimizeConfig
from orchestrator.store import CARD, Store, _checksum
from orchestrator.sweeps.request import SweepConfig
from orchestrator.training import loop
from orchestrator.training.request import TrainConfig, system_of
from orchestrator.training.trained import TrainedModel, best
from physics import ovf
from physics.states import read_charges, read_together

QUICK, SECONDS = 60, 20
TRAIN = TrainConfig.model_validate(TRAINING)
TOKENS = [*(b"\0", b"-", b"1e999", b"nan", b"9" * 400, b"\n", b",", b":", b"#", b"{", b"]", b'"', b"\xff\xfe"), b"\r\n"]

Read = Callable[[bytes], object]
"""A reader; what is wrong with the file it says by a RequestError or a ValueError of one line."""


def of_bytes(rng: random.Random, content: bytes) -> bytes:
    """One to three changes of a file."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        at, numbers = rng.randrange(len(content) + 1), [*re.finditer(rb"\d+", content[:4000])]
        change = rng.choice(["flip", "cut", "insert", "drop", "twice", "number", "noise"])
        if change == "number" and numbers:
            found = rng.choice(numbers)
            new = rng.choice([b"0", b"-1", b"3.5", b"1000000000000", b"nan", str(rng.randrange(100)).encode()])
            content = content[: found.start()] + new + content[found.end() :]
        elif change == "flip":
            content = content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
        elif change == "cut":
            content = content[:at]
        elif change == "insert":
            content = content[:at] + rng.choice(TOKENS) + content[at:]
        elif change == "drop":
            content = content[:at] + content[at + rng.randrange(20) :]
        elif change == "twice":
            content = content[:at] + content[max(0, at - 50) :]
        else:
            content = content[:at] + rng.randbytes(rng.randrange(30)) + content[at:]
    return content


def of_json(rng: random.Random, content: bytes) -> bytes:
    """A value, a key or an entry that is another; now and then a change of the text."""
    if rng.random() < 0.1:
        return of_bytes(rng, content)
    tree: Any = copy.deepcopy(json.loads(content))
    for _ in range(rng.choice([1, 1, 2])):
        inner = tree
        while isinstance(inner, dict | list) and inner:
            key = rng.choice([*inner] if isinstance(inner, dict) else range(len(inner)))
            if rng.random() < 0.4 or not isinstance(inner[key], dict | list) or not inner[key]:
                break
            inner = inner[key]
        if not inner or not isinstance(inner, dict | list):
            return json.dumps(odd(rng)).encode()
        if rng.random() < 0.2:
            del inner[key]
        elif isinstance(inner, dict) and rng.random() < 0.2:
            inner[str(odd(rng))] = inner.pop(key)
        else:
            inner[key] = odd(rng)
    return json.dumps(tree).encode()


def odd(rng: random.Random) -> Any:
    value = rng.choice(ODD)
    return json.loads(
        json.dumps(str(value) if isinstance(value, Raw) or len(repr(value)[:5000]) > 4000 else value, default=str)
    )


def with_header(rng: random.Random, content: bytes) -> bytes:
    """Of safetensors: the length of a header, the header in JSON, bytes."""
    size = int.from_bytes(content[:8], "little")
    if rng.random() < 0.3:
        return of_bytes(rng, content)
    header = of_json(rng, content[8 : 8 + size])
    length = len(header) if rng.random() < 0.9 else rng.choice([0, 2**63, 2**64 - 1, len(header) + 1, 10**9])
    return length.to_bytes(8, "little") + header + content[8 + size :]


def of_arrays(rng: random.Random, content: bytes) -> bytes:
    """Of NumPy's archive: an array of another shape, kind or value, or gone; a change of its bytes."""
    if rng.random() < 0.4:
        return of_bytes(rng, content)
    with np.load(io.BytesIO(content)) as saved:
        arrays = {key: saved[key] for key in saved.files}
    key = rng.choice([*arrays])
    array = arrays[key]
    others = [array.ravel(), array[..., None], array.astype("U8"), np.zeros(3), np.array("{"), array.astype("O")]
    others += [np.array(number) for number in (0, -1, 1e300, np.inf)]
    arrays[key] = rng.choice(others)
    if rng.random() < 0.2:
        del arrays[key]
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(str(tmp_path_factory.mktemp("whole") / "store"))
    data.make_here(TRAIN.dataset, store)
    loop.make(TRAIN, store)
    return store


@pytest.fixture(scope="module")
def readers(whole: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes, Callable, Read]]:
    """By name: a file that is whole, what changes it, and what reads it."""
    folder, root = tmp_path_factory.mktemp("read"), Path(whole.path)
    trained = TrainedModel(TRAIN.name, whole)

    def file(name: str, reader: Callable[[Path], object]) -> Read:
        def read(content: bytes) -> object:
            (folder / name).write_bytes(content)
            return reader(folder / name)

        return read

    def card(kind: Any, name: str, parse: Callable[[dict], object]) -> Read:
        def read(content: bytes) -> None:
            said = json.loads(content)
            said = {**said, "checksum": _checksum(said)} if isinstance(said, dict) else said
            path = root / kind / name / CARD
            before = path.read_bytes()
            path.write_text(json.dumps(said))
            try:
                found = whole.card(kind, name)
                Lineage.of(whole)
                index.render(whole)
                parse(found or {})
            finally:
                path.write_bytes(before)

        return read

    def unfinished(path: str, look: Callable[[], object]) -> Read:
        def read(content: bytes) -> object:
            whole.write_file(path, content)
            try:
                return look()
            finally:
                whole.remove_folder(path.rpartition("/")[0])

        return read

    def of_data(said: dict) -> None:
        shards.read(TRAIN.dataset.name, whole, said)
        shards.columns(TRAIN.dataset.name, whole, manifest=said)

    begun = TRAIN.dataset.model_copy(update={"seed": 7})
    manifest = f"{whole.work('datasets', begun.name)}/manifest.json"
    record = f"{whole.work('models', 'a-1')}/try-0001.json"
    with pytest.raises(KeyboardInterrupt), lease(whole, "models", "a-1") as held:
        held.report(1, 2, "steps")
        raise KeyboardInterrupt
    system = build(TRAIN.system, TRAIN.dataset.hamiltonian, "cpu")
    saved = checkpoint(system, TrainingState(3, [{"step": 3, "loss": 1.0}], {2: torch.zeros(1, 3, 16, 16)}))
    search = OptimizeConfig(iterations=2)
    searched = search.optimizer.start(trained.settings.latent, 0)
    codes = searched.ask()
    searched.tell(codes, np.zeros(len(codes)), np.zeros_like(codes))
    path = f"{whole.work('optima', 'b-1')}/{optimization.CHECKPOINT}"
    optimization._save(searched, History([(1.0, 1.0, 1.0, 1.0)], [codes[0]]), whole, path)
    found = whole.read_file(path) or b""

    def continued() -> object:
        with lease(whole, "optima", "b-1") as held:
            return optimization._begin(search, search.optimizer, trained, path, held)

    ovf.write(folder / "a.ovf", np.ones((3, 4, 4)), "text")
    ovf.write(folder / "b.ovf", np.ones((3, 4, 4)), "binary4")
    np.save(folder / "a.npy", np.ones((2, 3, 4, 4), np.float32))
    records = whole.read_file(record) or b"{}"
    model = (root / "models" / TRAIN.name / CARD).read_bytes()
    dataset = (root / "datasets" / TRAIN.dataset.name / CARD).read_bytes()
    space = json.dumps(SHIPPED["evae.yaml"]).encode()

    def of_model(said: dict) -> None:
        system_of(said)
        best(whole)
        _ = TrainedModel(TRAIN.name, whole).decoder

    def of_record() -> None:
        newest_try(whole, "models", "a-1")
        index.render(whole)

    return {
        "card of a model": (model, of_json, card("models", TRAIN.name, of_model)),
        "card of a data set": (dataset, of_json, card("datasets", TRAIN.dataset.name, of_data)),
        "manifest": (dataset, of_json, unfinished(manifest, lambda: data.plan(begun, whole))),
        "record of a try": (records, of_json, unfinished(record, of_record)),
        "OVF": ((folder / "a.ovf").read_bytes(), of_bytes, file("c.ovf", lambda path: read_together([path]))),
        "binary OVF": ((folder / "b.ovf").read_bytes(), of_bytes, file("c.ovf", lambda path: read_together([path]))),
        "npy": ((folder / "a.npy").read_bytes(), of_bytes, file("c.npy", lambda path: read_together([path]))),
        "space": (space, of_json, file("c.yaml", lambda path: load(SweepConfig, str(path)))),
        "checkpoint of a training": (saved, with_header, lambda c: (checkpoint_step(c), restore_checkpoint(system, c))),
        "checkpoint of a search": (found, of_arrays, unfinished(path, continued)),
        "charges": (b"x,y,charge\n1,2,1\n3,3,-1\n", of_bytes, file("c.csv", lambda path: read_charges(path, 8))),
    }  # fmt: skip


NAMES = ["card of a model", "card of a data set", "manifest", "record of a try", "OVF", "binary OVF", "npy", "space"]
NAMES += ["checkpoint of a training", "checkpoint of a search", "charges"]


def fault(reader: tuple[bytes, Callable, Read], number: int) -> str:
    """What is wrong with the answer to case ``number``, "" if it is as it should be."""
    content, change, read = reader
    changed = change(random.Random(number), content)
    handler = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        read(changed)
    except (RequestError, ValueError) as error:
        lines = str(error).splitlines()
        if lines and max(map(len, lines)) <= 3 * LONGEST and all(map(str.isprintable, lines)):
            return ""
        return f"case {number}: {error!s:.600}"
    except (Exception, Stopped) as error:
        return f"case {number}: {error!r:.300}\n{changed[:1500]!r}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
    return ""


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without what is said of files that are set aside."""
    monkeypatch.setattr("orchestrator.lease.log", lambda text: None)
    monkeypatch.setattr("orchestrator.store.log", lambda text: None)
    monkeypatch.setattr("orchestrator.optimization.run.log", lambda text: None)
    yield


@pytest.mark.parametrize("name", NAMES)
def test_odd_files_are_answered(name, readers):
    assert not [said for number in range(QUICK) if (said := fault(readers[name], number))]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_many_odd_files_are_answered(name, readers):
    end, number, found = time.monotonic() + float(os.environ.get("FUZZ_SECONDS", "60")), QUICK, []
    while time.monotonic() < end and len(found) < 20:
        found += [said] if (said := fault(readers[name], number)) else []
        number += 1
    print(f"{name}: {number - QUICK} files")
    assert not found, "\n\n".join(found)
