import pickle
import threading
from pathlib import Path

import pytest

from orchestrator.data.request import DatasetConfig
from orchestrator.errors import RequestError
from orchestrator.html import figure_text
from orchestrator.page import origin, page
from orchestrator.store import Store
from physics.registry import digest


def commit(store, name="a-1", content=b"weights", **card):
    return store.commit("models", name, {"parents": [], **card}, {"file": content})


def test_what_is_whole_is_never_overwritten(store):
    first = commit(store, content=b"first", note=1)
    assert commit(store, content=b"second", note=2) == first
    assert store.read("models", "a-1", "file") == b"first"


@pytest.mark.parametrize("address", ["local", "memory://writers"])
def test_of_writers_at_once_the_first_wins_whole(address, tmp_path):
    """Ten artifacts, each of eight writers whose two files differ: those in the store are of one of them."""
    root = str(tmp_path / "store") if address == "local" else address
    cards: dict[str, list] = {f"a-{number}": [] for number in range(10)}

    def write(writer: int, ready: threading.Barrier) -> None:
        store = Store(root)
        for name, found in cards.items():
            ready.wait()
            files = {part: f"{part} of {writer}".encode() for part in ("encoder", "decoder")}
            found.append(store.commit("models", name, {"parents": [], "writer": writer}, files))

    ready = threading.Barrier(8)
    threads = [threading.Thread(target=write, args=(writer, ready)) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = Store(root)
    for name, found in cards.items():
        card = store.card("models", name)
        assert len(found) == 8 and all(entry == card for entry in found)
        for part in ("encoder", "decoder"):
            assert store.read("models", name, part) == f"{part} of {card['writer']}".encode()


def test_an_edited_card_is_damaged(store):
    commit(store)
    path = Path(store.path) / "models/a-1/card.json"
    path.write_text(path.read_text().replace("file", "../../store"))
    with pytest.raises(RequestError, match=r"damaged card: .*'orch rm models/a-1' removes the artifact"):
        store.card("models", "a-1")
    store.remove("models", "a-1")
    assert store.card("models", "a-1") is None


def test_unfinished_work_of_an_older_version_is_moved_out_of_the_way(store):
    store.write_file("models/a-1/checkpoint.safetensors", b"old")
    commit(store)
    assert store.read("models", "a-1", "file") == b"weights"
    (kept,) = (Path(store.path) / ".unfinished/models/a-1").rglob("checkpoint.safetensors")
    assert kept.read_bytes() == b"old"


def test_what_cannot_be_reached_is_one_line():
    for root, said in (("foo://x", "Protocol not known: foo"), ("gs://bucket/x", "install gcsfs")):
        with pytest.raises(RequestError, match=rf"^{root}: not a store that can be reached: .*{said}"):
            Store(root)


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


@pytest.mark.parametrize(
    ("address", "command", "where"),
    [
        ("local", "orch anneal --config datasets/a-1/request.yaml --store .", "in the folder of the store"),
        ("memory://page", "orch anneal --config request.yaml --store memory://page", "beside the file request.yaml"),
    ],
)
def test_a_page_says_the_command_that_makes_it_again(address, command, where, tmp_path):
    store = Store(str(tmp_path / "store") if address == "local" else address)
    source = origin(store, "datasets", "a-1", DatasetConfig(), "orch anneal --config")
    shown = page("a-1", "", [], source)["report.html"].decode()
    assert f"<pre>{command}</pre>" in shown
    assert where in shown


def test_a_table_has_a_dash_where_there_is_no_number():
    assert [figure_text(value) for value in (0.123456, float("nan"), 3, "text")] == ["0.1235", "-", "3", "text"]
