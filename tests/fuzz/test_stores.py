"""Damaged stores: whatever is asked of them is answered in short lines, and nothing else in them is lost."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from fuzz.mutations import Case
from fuzz.test_requests import LONGEST, TRAINING, answer

from orchestrator.analysis import run as analysis
from orchestrator.analysis.request import MapConfig
from orchestrator.data.run import make_here
from orchestrator.lease import lease
from orchestrator.optimization.found import History, Searched, commit
from orchestrator.optimization.request import OptimizeConfig
from orchestrator.store import Store
from orchestrator.training import loop
from orchestrator.training.request import TrainConfig
from orchestrator.training.trained import TrainedModel
from search.constraint import Penalised
from search.winner import ranked

CASES = 500
QUICK = 10
REMADE = "index.html", "store.json"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A data set, a model, an optimum, an analysis, and unfinished work with a checkpoint."""
    store, training = Store(str(tmp_path_factory.mktemp("whole") / "store")), TrainConfig.model_validate(TRAINING)
    make_here(training.dataset, store)
    name, _ = loop.make(training, store, page=True)
    analysis.run("map", MapConfig(points=21), name, store)
    trained = TrainedModel(name, store)
    optimum(trained)
    unfinished = training.model_copy(update={"seed": 1})
    with pytest.raises(KeyboardInterrupt), lease(store, "models", unfinished.name) as held:
        checkpoint = f"{store.work('models', unfinished.name)}/checkpoint.safetensors"
        store.write_file(checkpoint, b"\x08\0\0\0\0\0\0\0{}      ")
        held.report(1, 2, "steps")
        raise KeyboardInterrupt
    return store


def optimum(trained: TrainedModel) -> None:
    """One of a search of an iteration, without rivals."""
    config, model, states = OptimizeConfig(iterations=1), trained.model, torch.zeros(4, 3, 16, 16)
    search, penalised = config.optimizer.start(trained.settings.latent, 0), Penalised(config.objective, [], 1.0)
    codes = search.ask()
    search.tell(codes, np.zeros(len(codes)), np.zeros_like(codes))
    history = History([(1.0, 1.0, 1.0, 1.0)], [codes[0]])
    table = ranked(states, model, penalised)[0]
    observed, cost = {name: table[name] for name in model.observables}, {"seconds": 1.0, "cpu_seconds": 1.0}
    none = pd.DataFrame(), np.empty((0, 3, 16, 16), np.float32)
    commit(Searched(config, trained, penalised, search, history, observed, table, states, cost, *none))


def damage(rng: random.Random, root: Path) -> tuple[str, Path]:
    """Do something to a file of a store; returns what, and where."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    path = rng.choice(files)
    if rng.random() < 0.4:
        path = rng.choice([file for file in files if file.suffix in (".json", ".safetensors", ".parquet")])
    content = path.read_bytes()
    kind = rng.choice(["cut", "flip", "empty", "noise", "gone", "folder", "loop", "stray", "json", "edit", "no access"])
    if kind == "stray":
        path = path.parent / rng.choice([".DS_Store", "Thumbs.db", "a", "x" * 200, "try-0001.json.swp", "card.json~"])
        path.write_bytes(content[:100])
    elif kind == "cut":
        path.write_bytes(content[: rng.randrange(len(content) + 1)])
    elif kind == "flip":
        at = rng.randrange(max(1, len(content)))
        path.write_bytes(content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :])
    elif kind == "edit":
        old, new = rng.choice([(b"1", b"-7"), (b"{", b"["), (b'"', b""), (b"models", b"../models"), (b":", b":null,")])
        path.write_bytes(content.replace(old, new, rng.randrange(1, 4)))
    elif kind == "no access":
        path.chmod(0)
    else:
        path.unlink()
        if kind == "folder":
            path.mkdir()
        elif kind == "loop":
            path.symlink_to(path)
        elif kind != "gone":
            text = {"empty": b"", "noise": rng.randbytes(300), "json": rng.choice([b"[]", b"null", b"3", b'{"a": 1}'])}
            path.write_bytes(text[kind])
    return kind, path


def questions(store: Store, folder: Path) -> list[list[str]]:
    """Commands that look at everything in a store, or plan with it."""
    names = [name for kind in ("datasets", "models", "optima", "analyses") for name in store.entries(kind)]
    model, dataset = store.entries("models")[0], store.entries("datasets")[0]
    again = {"dataset": dataset, "system": {"name": "hybrid", "width": 2, "latent": 4}, "batch": 8}
    (folder / "again.yaml").write_text(yaml.safe_dump(again))
    return [
        ["list"],
        ["status"],
        ["open"],
        *(["show", name] for name in names),
        ["compare", names[0], names[0]],
        ["export", dataset, "--form", "npy", "--to", "exported", "--set", "rows=0:2"],
        ["export", model, "--to", "exported", "--set", "rows=0:1"],
        ["map", model, "--set", "points=22", "--set", "seed=5"],
        ["train", "--config", "again.yaml", "--dry-run"],
        ["optimize", "--dry-run"],
        ["rm", model, "--dry-run"],
        ["gc", "--days", "0", "--dry-run"],
    ]


def kept(root: Path, damaged: Path) -> dict[str, bytes]:
    """What must stay as it is: everything but what is damaged, and what every command writes anew."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path != damaged and path.name not in REMADE
    }


def faults(number: int, whole: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is wrong with the answers of one damaged store."""
    rng = random.Random(number)
    root = folder / "store"
    shutil.copytree(whole.path, root)
    asked = rng.sample(questions(Store(str(root)), folder), 6)
    what, where = damage(rng, root)
    before, found = kept(root, where), []
    monkeypatch.setattr("typer.launch", lambda address: None)
    for question in asked:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("ORCH_STORE", str(root))
            code, _, errors = answer(Case(question, b""), folder, patch)
        short = all(len(line) <= LONGEST for line in errors.splitlines())
        if code not in (0, 1, 2) or (code and not errors) or not short or "unexpected" in errors:
            found.append(f"store {number}, {what} {where.relative_to(root)}, orch {question}:\n{code}\n{errors[:1500]}")
    after = kept(root, where)
    lost = [path for path, content in before.items() if after.get(path) != content]
    return [*found, *(f"store {number}, {what} {where.relative_to(root)}: {path} was lost" for path in lost)]


@pytest.fixture
def answered(whole, tmp_path, monkeypatch):
    def run(numbers: range) -> str:
        found = []
        for number in numbers:
            (tmp_path / str(number)).mkdir()
            found += faults(number, whole, tmp_path / str(number), monkeypatch)
            shutil.rmtree(tmp_path / str(number))
        return "\n\n".join(found)

    return run


def test_damaged_stores_are_answered(answered):
    assert not answered(range(QUICK))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(QUICK, CASES, 49))
def test_hundreds_of_damaged_stores_are_answered(first, answered):
    assert not answered(range(first, first + 49))
