import pickle
from pathlib import Path

import pytest

from orchestrator.errors import RequestError
from orchestrator.store import Store
from physics.registry import digest


def commit(store, name="a-1", content=b"weights", **card):
    return store.commit("models", name, {"parents": [], **card}, {"file": content})


def test_what_is_whole_is_never_overwritten(store):
    first = commit(store, content=b"first", note=1)
    assert commit(store, content=b"second", note=2) == first
    assert store.read("models", "a-1", "file") == b"first"


def test_a_folder_without_a_card_does_not_count(store):
    store.write_file("models/half-1/file", b"weights")
    assert store.card("models", "half-1") is None
    assert list(store.cards("models")) == []


def test_nothing_temporary_is_left_behind(store):
    commit(store)
    assert not list(Path(store.path).rglob(".unfinished/*"))


def test_a_damaged_file_is_named(store):
    commit(store)
    (Path(store.path) / "models/a-1/file").write_bytes(b"weighty")
    with pytest.raises(RequestError, match=r"models/a-1/file: damaged: 7 bytes"):
        store.read("models", "a-1", "file")


def test_a_missing_file_is_named(store):
    commit(store)
    (Path(store.path) / "models/a-1/file").unlink()
    with pytest.raises(RequestError, match=r"models/a-1/file: missing"):
        store.read("models", "a-1", "file")


def test_other_peoples_folders_are_not_stores(tmp_path):
    (tmp_path / "thesis.tex").write_text("\\begin{document}")
    with pytest.raises(RequestError, match="not a store"):
        Store(str(tmp_path))


def test_a_file_is_not_a_store(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="not a store"):
        Store(str(tmp_path / "file"))


def test_another_format_is_refused(tmp_path):
    (tmp_path / "store.json").write_text('{"format": 99}')
    with pytest.raises(RequestError, match="store format 99, expected 1"):
        Store(str(tmp_path))


def test_names_are_found_by_either_end_when_only_one_fits(store):
    for name in ("evae-aa11", "evae-bb22"):
        commit(store, name)
    assert store.find("bb22")[1] == "evae-bb22"
    with pytest.raises(RequestError, match=r"2 of .* match"):
        store.find("evae")
    with pytest.raises(RequestError, match="no such model"):
        store.find("cc", "models")


def test_equal_configurations_have_equal_digests():
    assert digest({"a": 1e-3, "b": [1, 2]}) == digest({"b": [1, 2], "a": 0.001})
    assert digest({"a": 1}) != digest({"a": 2})


def test_a_store_may_be_any_fsspec_address():
    store = Store("memory://shared")
    commit(store)
    assert pickle.loads(pickle.dumps(store)).read("models", "a-1", "file") == b"weights"
