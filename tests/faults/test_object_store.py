"""A store on S3 whose requests are delayed, dropped, cut and refused: nothing is lost, nothing double."""

from __future__ import annotations

import asyncio
import random
import socket
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from faults.proxy import KINDS, between, bucket
from fuzz.test_requests import TRAINING

from orchestrator import cli
from orchestrator.catalogue.leftovers import leftovers
from orchestrator.data.request import DatasetConfig
from orchestrator.data.run import make_here
from orchestrator.errors import RequestError
from orchestrator.lease import lease
from orchestrator.store import Store
from orchestrator.training import loop
from orchestrator.training.request import TrainConfig

DATA = DatasetConfig.model_validate({"L": 16, "sampler": {"sweeps": 5, "finish": 20}, "configurations": 256})
TRAIN = TrainConfig.model_validate({**TRAINING, "steps": 75, "checkpoint_seconds": 0})
CHANCES = {"slow": 0.02, "refused": 0.05, "lost": 0.1, "cut answer": 0.05, "cut upload": 0.1, "busy": 0.05}


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, int]]:
    with bucket("faults") as target:
        yield target


@pytest.fixture
def root(request) -> str:
    return f"s3://faults/{random.Random(request.node.name).getrandbits(40):x}"


@pytest.fixture
def at_once(monkeypatch) -> None:
    """As many tries as else, without the pauses between them."""

    async def no_pause(seconds: float) -> None:
        return

    hurried = SimpleNamespace(**{**vars(asyncio), "sleep": no_pause})
    monkeypatch.setattr("s3fs.core.asyncio", hurried)
    monkeypatch.setattr("aiobotocore.endpoint.asyncio", hurried)


class WaitedError(Exception):
    """For the holder of a lease."""


def waits(record: dict) -> None:
    raise WaitedError


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "slow"])
def test_files_are_what_was_written_whatever_happens_to_half_of_the_requests(kind, server, root, at_once):
    with between(server, {kind: 0.5}, seed=1) as faults:
        faults.stale_seconds = 0.0
        store = Store(root)
        written = {f"folder/{number}": random.Random(number).randbytes(5000) for number in range(10)}
        for path, content in written.items():
            store.write_file(path, b"before")
            store.write_file(path, content)
        assert {path: store.read_file(path) for path in written} == written
        assert store.entries("folder") == sorted(str(number) for number in range(10))
        store.remove_folder("folder")
        assert store.entries("folder") == []
    assert faults.done[kind] > 2


def test_a_put_that_is_done_though_its_answer_was_lost_is_the_caller_s(server, root, at_once):
    with between(server, {"lost": 0.6}) as faults:
        store = Store(root)
        assert all(store.create_file(f"tries/{number}", b"mine") for number in range(20))
        assert not any(store.create_file(f"tries/{number}", b"another's") for number in range(20))
        assert {store.read_file(f"tries/{number}") for number in range(20)} == {b"mine"}
    assert faults.done["lost"] > 20


def test_one_of_two_that_put_at_once_holds_the_lease_though_answers_are_lost(server, root, at_once):
    with between(server, {"lost": 0.5}):
        for number in range(5):
            with lease(Store(root), "models", f"a-{number}") as held:
                assert held is not None
                with pytest.raises(WaitedError), lease(Store(root), "models", f"a-{number}", waits):
                    raise AssertionError("two hold it")


def test_a_stale_listing_gives_no_second_lease(server, root):
    with between(server, {"stale": 1.0}) as faults:
        store = Store(root)
        with lease(store, "models", "a-1") as held:
            before = faults.asked.total()
            with pytest.raises(WaitedError), lease(store, "models", "a-1", waits):
                raise AssertionError("two hold it")
            assert faults.done["stale"]
            assert faults.asked.total() - before < 60, "it asks without a pause"
            assert held is not None


def test_who_finds_the_artifact_whole_has_no_lease(server, root, monkeypatch):
    """The card came between the first look and the try: on a slow store that is seconds."""
    with between(server, {}):
        store, other = Store(root), Store(root)
        looked: list[str] = []
        card = store.card

        def first_look(kind, name):
            found = card(kind, name)
            if not looked:
                looked.append(name)
                other.commit("models", "a-1", {"parents": []}, {"file": b"weights"})
            return found

        monkeypatch.setattr(store, "card", first_look)
        with lease(store, "models", "a-1") as held:
            assert held is None
        assert store.entries(".unfinished/models") == []


def test_a_data_set_made_through_faults_is_the_one_of_a_folder(server, root, at_once, tmp_path):
    local = Store(str(tmp_path / "store"))
    make_here(DATA, local)
    with between(server, CHANCES | {"stale": 0.2}) as faults:
        store = Store(root)
        make_here(DATA, store)
        card = store.card("datasets", DATA.name)
        assert card and card["shards"] == local.card("datasets", DATA.name)["shards"]
        for entry in card["shards"]:
            path = f"datasets/{DATA.name}/{entry['file']}"
            assert store.read_file(path) == local.read_file(path)
        faults.chances = {}
        assert set(leftovers(store, 0).values()) <= {"left over from a whole artifact"}  # by a stale listing
    assert faults.done.total() > 20 and faults.done["lost"] and faults.done["cut upload"]


def test_a_training_goes_on_through_faults_from_its_checkpoint_as_in_a_folder(server, root, at_once, tmp_path):
    local = Store(str(tmp_path / "store"))
    make_here(TRAIN.dataset, local)
    loop.make(TRAIN, local)
    with between(server, CHANCES) as faults:
        store = Store(root)
        make_here(TRAIN.dataset, store)
        with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop.Recorder, "__call__", interrupted_at(50, loop.Recorder.__call__))
            loop.make(TRAIN, store)
        assert loop.steps_done(TRAIN, store) == 25
        loop.make(TRAIN, store)
        assert loop.make(TRAIN, Store(root))[1] == store.card("models", TRAIN.name)
        for file in (*TRAIN.system.networks(3), "generated"):
            name = f"{file}.safetensors" if file != "generated" else "generated.float32"
            assert store.read("models", TRAIN.name, name) == local.read("models", TRAIN.name, name)
    assert faults.done.total() > 20


def interrupted_at(step: int, record):
    def recorded(recorder, done: int, losses: dict[str, float]) -> None:
        if done >= step:
            raise KeyboardInterrupt
        record(recorder, done, losses)

    return recorded


def said(arguments: list[str], monkeypatch, capsys) -> tuple[int, list[str]]:
    """Exit code and lines of a command."""
    monkeypatch.setattr(sys, "argv", ["orch", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code, capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("fault", ["refused", "busy"])
@pytest.mark.parametrize("command", [["list"], ["anneal", "--dry-run"], ["show", "a-1"], ["rm", "a-1"], ["gc"]])
def test_a_store_that_does_not_answer_is_one_line(command, fault, server, root, at_once, monkeypatch, capsys):
    with between(server, {}) as faults:
        Store(root).commit("models", "a-1", {"parents": []}, {"file": b"weights"})
        faults.chances = {fault: 1.0}
        code, lines = said([*command, "--store", root], monkeypatch, capsys)
    lines = [line for line in lines if not line.endswith("it is tried again")]
    assert (code, len(lines)) == (2, 1), lines
    assert lines[0].startswith(f"{root}: not a store that can be reached: ")


def test_a_store_that_answers_no_more_is_one_line_that_names_it(server, root, at_once, monkeypatch, capsys):
    with between(server, {}) as faults:
        Store(root).commit("models", "a-1", {"parents": []}, {"file": b"weights"})
        monkeypatch.setattr(Store, "cards", lambda store, *kinds: faults.chances.update(busy=1.0) or store.entries("a"))
        code, lines = said(["list", "--store", root], monkeypatch, capsys)
    assert (code, lines) == (1, [f"orch: {root}/a: Please reduce your request rate."])


def test_a_server_that_is_not_there_is_one_line(root, at_once, monkeypatch, capsys, server):
    import s3fs

    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    s3fs.S3FileSystem.clear_instance_cache()
    code, lines = said(["list", "--store", root], monkeypatch, capsys)
    s3fs.S3FileSystem.clear_instance_cache()
    assert code == 2
    assert "Could not connect to the endpoint URL" in lines[-1] and lines[-1].startswith(root)
    assert len({*lines}) == 2, lines
    assert "it is tried again" in lines[0]


def test_a_put_to_a_server_that_is_silent_ends(monkeypatch, server):
    """It would wait for leave to put, without end."""
    from orchestrator import files

    monkeypatch.setattr(files, "PATIENCE", {"retries": {"total_max_attempts": 1}, "read_timeout": 1})
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = Store("s3://faults/silent")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        store.fs = type(store.fs)(**store.fs.storage_options, skip_instance_cache=True)
        with pytest.raises(OSError, match="Read timeout") as failed:
            store.write_file("store.json", b"{}")
        assert failed.value.filename == "s3://faults/silent/store.json"


def test_a_damaged_object_is_a_fault_of_the_store_and_is_not_asked_for_again(server, root):
    with between(server, {}) as faults:
        store = Store(root)
        card = store.commit("models", "a-1", {"parents": []}, {"file": b"weights"})
        store.write_file(f"models/a-1/{card['files']['file']['at']}", b"weighty")
        faults.asked.clear()
        with pytest.raises(RequestError, match="damaged: 7 bytes"):
            store.read("models", "a-1", "file")
        assert faults.asked["GET"] == 2
