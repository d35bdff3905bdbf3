"""A store of a stranger: what its cards say runs no code, reaches no other file, and is shown as text."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
from driving import environment, orch
from fuzz.test_requests import TRAINING

from orchestrator.catalogue import index
from orchestrator.data.run import make_here
from orchestrator.errors import RequestError
from orchestrator.html import page_path
from orchestrator.lease import lease
from orchestrator.page import origin, page
from orchestrator.store import CARD, Store, _checksum
from orchestrator.training import loop
from orchestrator.training.request import TrainConfig
from orchestrator.training.trained import TrainedModel

TRAIN = TrainConfig.model_validate(TRAINING)
MARK = "<script>alert(1)</script>"
CURSOR = "\x1b[2J\x07\u202e"
EVIL = "from pathlib import Path\nPath('ran').touch()\nfrom physics.chiral import ChiralMagnet as Thing\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Store:
    store = Store(str(tmp_path_factory.mktemp("whole") / "store"))
    make_here(TRAIN.dataset, store)
    loop.make(TRAIN, store)
    return store


@pytest.fixture
def stranger(whole, tmp_path):
    """Writes what a stranger says into a card of a copy of the store, with the checksum that belongs to it."""
    import shutil

    root = Path(shutil.copytree(whole.path, tmp_path / "store"))

    def says(kind: str, name: str, **said) -> Store:
        path = root / kind / name / CARD
        card = {**json.loads(path.read_text()), **said}
        path.write_text(json.dumps({**card, "checksum": _checksum(card)}))
        return Store(str(root))

    return says


def changed(store: Store, kind: str, name: str, *keys: str, to: object) -> dict:
    """The configuration of a card with another value at a key."""
    config = copy.deepcopy(store.card(kind, name)["config"])  # type: ignore[arg-type]
    *sections, last = keys
    inner = config
    for key in sections:
        inner = inner[key]
    inner[last] = to
    return config


COMMANDS = [
    ["list"],
    ["show", "{model}"],
    ["export", "{data}"],
    ["map", "{model}"],
    ["train", "--data", "{data}", "--dry-run"],
    ["optimize", "--model", "{model}", "--dry-run"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_code_that_a_card_names_is_not_imported(command, whole, stranger):
    """Though it lies in the folder of the store, where the command is given."""
    data, model = TRAIN.dataset.name, TRAIN.name
    stranger("datasets", data, config=changed(whole, "datasets", data, "hamiltonian", "name", to="evil:Thing"))
    store = stranger("models", model, config=changed(whole, "models", model, "model", "name", to="evil:Thing"))
    folder = Path(store.path)
    (folder / "evil.py").write_text(EVIL)
    arguments = [part.format(model=model, data=data) for part in command]
    done = subprocess.run(
        orch(*arguments, "--store", "."), cwd=folder, env=environment(), capture_output=True, text=True
    )
    assert not (folder / "ran").exists()
    if command[0] in ("show", "list"):
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert "evil:Thing: code that a card names is not imported unless ORCH_MODULES=evil allows it" in line


def test_a_module_that_a_person_has_named_is_imported_for_a_card(whole, stranger, monkeypatch, tmp_path):
    data = TRAIN.dataset.name
    store = stranger("datasets", data, config=changed(whole, "datasets", data, "hamiltonian", "name", to="kind:Thing"))
    (tmp_path / "kind.py").write_text(
        "from physics.chiral import ChiralMagnet\nclass Thing(ChiralMagnet):\n  name: str = 'kind:Thing'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    trained = TrainedModel(TRAIN.name, store)
    with pytest.raises(RequestError, match="ORCH_MODULES=kind"):
        _ = trained.dataset
    monkeypatch.setenv("ORCH_MODULES", "other,kind")
    assert type(trained.dataset.hamiltonian).__name__ == "Thing"
    monkeypatch.delenv("ORCH_MODULES")
    assert type(TrainedModel(TRAIN.name, store).dataset.hamiltonian).__name__ == "Thing", "it is there by now"
    sys.modules.pop("kind")


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "a/../../../secret", "..", 3, None, ["a"], "x" * 5000])
def test_a_name_in_a_card_stays_in_the_store(name, whole, stranger, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "card.json").write_text('{"config": {}}')
    model = TRAIN.name
    store = stranger("models", model, config=changed(whole, "models", model, "dataset", to=name))
    with pytest.raises(RequestError) as refused:
        _ = TrainedModel(model, store).dataset
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("file", ["../../../secret", "/etc/passwd", "a/../../x", "..", 3, None])
@pytest.mark.parametrize("where", ["files", "at", "shards"])
def test_a_file_that_a_card_lists_stays_in_its_folder(file, where, whole, stranger):
    kind, name = ("datasets", TRAIN.dataset.name) if where == "shards" else ("models", TRAIN.name)
    card = whole.card(kind, name)
    entry = {"sha256": "0" * 64, "bytes": 1, "rows": 1, "start": 0, "spins_at": 0}
    said = {
        "files": {"files": {str(file): entry}},
        "at": {"files": {"report.html": {**entry, "at": file}}},
        "shards": {"shards": [{**card["shards"][0], "file": file}] if "shards" in card else []},
    }
    if where == "files" and not isinstance(file, str):
        pytest.skip("a key of JSON is text")
    store = stranger(kind, name, **said[where])
    with pytest.raises(RequestError, match="damaged card"):
        store.card(kind, name)
    with pytest.raises(RequestError, match="damaged card"):
        page_path(store, f"{kind}/{name}")


@pytest.mark.parametrize(
    "address", ["s3://bucket/x", "file:///etc/passwd", "https://example.org/x", "::", "memory://x"]
)
def test_an_address_in_a_card_is_a_name_in_its_folder(address, stranger):
    entry = {"sha256": "0" * 64, "bytes": 1, "at": address}
    store = stranger("models", TRAIN.name, files={"vae.safetensors": entry})
    with pytest.raises(RequestError, match=r"missing|leave|below"):
        store.read("models", TRAIN.name, "vae.safetensors")


def test_pages_show_what_a_card_says_as_text(whole, stranger):
    said = {
        "given": {MARK: MARK}, "figures": {"energy_mean": 1.0, MARK: 2.0}, "host": MARK, "created": MARK,
        "parents": [f"datasets/{MARK}", "javascript:alert(1)"], "said": [MARK],
        "files": {"report.html": {"sha256": "0", "bytes": 1, "at": f'"onmouseover="{MARK}.html'}},
    }  # fmt: skip
    store = stranger("models", TRAIN.name, **said)
    (Path(store.path) / "models" / MARK.replace("/", "")).mkdir()
    with pytest.raises(KeyboardInterrupt), lease(store, "models", "b-1") as held:
        held.record.update(host=MARK, cause=MARK, error=MARK, unit=MARK, note=MARK)
        held.report(1, 2, MARK, MARK)
        raise KeyboardInterrupt
    shown = index.render(store)
    assert MARK not in shown and "&lt;script&gt;" in shown
    assert 'href="javascript' not in shown and '"onmouseover="' not in shown
    source = origin(store, "models", TRAIN.name, TRAIN, MARK, [f"models/{TRAIN.name}", f"datasets/{MARK}"])
    report = page(MARK, MARK, [], source)["report.html"].decode()
    assert MARK not in report and '"onmouseover="' not in report


def test_a_card_does_not_move_the_cursor(whole, stranger):
    said = {
        "config": {CURSOR: CURSOR, "seed": [CURSOR]}, "given": {CURSOR: CURSOR}, "figures": {CURSOR: 1.0},
        "host": CURSOR, "created": CURSOR, "parents": [f"models/{CURSOR}"], "said": [CURSOR],
        "files": {CURSOR: {"sha256": "0", "bytes": 1, "at": CURSOR}},
    }  # fmt: skip
    store = stranger("models", TRAIN.name, **said)
    with pytest.raises(KeyboardInterrupt), lease(store, "models", "b-1") as held:
        held.record.update(host=CURSOR, note=CURSOR, said=[CURSOR], log=f"a\n{CURSOR}\nb", command=CURSOR)
        raise KeyboardInterrupt
    lookers = ["list", "status", f"show {TRAIN.name}", "show b-1", "logs b-1", f"compare {TRAIN.name} {TRAIN.name}"]
    for line in [*lookers, "gc --dry-run", f"rm {TRAIN.dataset.name} --dry-run", "optimize --dry-run"]:
        arguments = line.split()
        done = subprocess.run(
            orch(*arguments, "--store", store.path), env=environment(), capture_output=True, text=True
        )
        assert not {"\x1b", "\x07", "\u202e"} & {*done.stdout, *done.stderr}, arguments
        assert "unexpected" not in done.stderr, (arguments, done.stderr)


def test_no_reader_of_the_packages_unpickles_or_evaluates():
    """What they call, by the names that Python gives it; Ray's own messages between its processes are the exception."""
    import ast

    allowed = {("orchestrator/cluster.py", "cloudpickle.loads"), ("orchestrator/reading.py", "yaml.load")}
    found = set()
    root = Path(__file__).parents[2]
    for package in ("physics", "nets", "search", "orchestrator"):
        for file in sorted((root / package).rglob("*.py")):
            for call in ast.walk(ast.parse(file.read_text())):
                if not isinstance(call, ast.Call):
                    continue
                name, keywords = ast.unparse(call.func), {key.arg: ast.unparse(key.value) for key in call.keywords}
                unsafe = name in ("eval", "exec", "compile", "__import__", "torch.load", "yaml.load", "np.load")
                unsafe = unsafe or name.endswith(
                    ("pickle.load", "pickle.loads", "Unpickler", "read_pickle", "joblib.load")
                )
                if unsafe and not (name == "np.load" and keywords.get("allow_pickle") == "False"):
                    found.add((str(file.relative_to(root)), name))
    assert found == allowed
