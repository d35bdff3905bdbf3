"""Who makes an artifact: one at a time, and what the others see of it."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from orchestrator import lease as leases
from orchestrator.lease import lease, made, newest_try, records
from orchestrator.store import Store

NAME = "a-1"


def commit(store, content=b"weights"):
    return store.commit("models", NAME, {"parents": []}, {"file": content})


def test_one_holds_the_lease_and_the_other_finds_what_was_made(store):
    order = []

    def second():
        with lease(Store(store.path), "models", NAME) as held:
            order.append("found" if held is None else "made")

    with lease(store, "models", NAME) as held:
        assert held is not None
        other = threading.Thread(target=second)
        other.start()
        time.sleep(1.5)
        assert order == []
        commit(store)
        order.append("first")
    other.join()
    assert order == ["first", "found"]
    assert store.entries(".unfinished/models") == []


def test_of_many_at_once_one_makes_it(store):
    """Twenty threads begin together; what each would write differs."""
    holders, ready = [], threading.Barrier(20)

    def make(number):
        mine = Store(store.path)
        ready.wait()
        made(mine, "models", NAME, lambda held: (holders.append(number), commit(mine, b"%d" % number)))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(holders) == 1
    assert store.read("models", NAME, "file") == b"%d" % holders[0]


def killed_holder(store):
    """A process of this machine that dies while it holds the lease."""
    code = f"""
import os, signal
from orchestrator.lease import lease
from orchestrator.store import Store
with lease(Store({store.path!r}), "models", {NAME!r}) as held:
    held.report(3, 10, "steps")
    held._write()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())})


def test_a_killed_holder_is_followed_at_once_on_the_same_machine(store):
    killed_holder(store)
    ((kind, name, record),) = records(store)
    assert (kind, name, record["state"], record["done"]) == ("models", NAME, "stopped", 3)
    started = time.monotonic()
    with lease(store, "models", NAME) as held:
        assert held.record["try"] == 2
    assert time.monotonic() - started < 2


def test_a_holder_on_another_machine_is_waited_for_until_its_heart_stops(store, monkeypatch):
    monkeypatch.setattr(leases, "STALE_SECONDS", 2.0)
    killed_holder(store)
    path = f"{store.work('models', NAME)}/try-0001.json"
    record = store.read_json(path) | {"machine": "another"}
    store.write_file(path, json.dumps(record).encode())
    over = threading.Event()

    def heart():
        for beat in range(8):
            store.write_file(path, json.dumps({**record, "beat": record["beat"] + beat}).encode())
            time.sleep(0.5)
        over.set()

    beating = threading.Thread(target=heart)
    beating.start()
    with lease(store, "models", NAME) as held:
        assert over.is_set()
        assert held.record["try"] == 2
    beating.join()


def test_a_try_that_failed_keeps_its_cause_and_its_log(store):
    with pytest.raises(ValueError), lease(store, "models", NAME):
        raise ValueError("the field is too strong\nby far")
    ((_, _, record),) = records(store)
    assert record["state"] == "failed"
    assert record["error"] == "ValueError"
    assert record["cause"] == "the field is too strong"
    assert "Traceback" in record["log"] and "by far" in record["log"]
    with lease(store, "models", NAME) as held:
        assert held.record["try"] == 2


def test_an_interrupted_try_frees_the_lease(store):
    with pytest.raises(KeyboardInterrupt), lease(store, "models", NAME):
        raise KeyboardInterrupt
    assert newest_try(store, "models", NAME)[1]["state"] == "interrupted"


def test_a_heartbeat_tells_how_far_the_work_is(store, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.1)
    with lease(store, "models", NAME) as held:
        held.report(5, 10, "steps", "energy -0.2")
        first = newest_try(store, "models", NAME)[1]["beat"]
        time.sleep(0.5)
        record = newest_try(store, "models", NAME)[1]
    assert record["beat"] > first
    assert (record["done"], record["total"], record["unit"], record["note"]) == (5, 10, "steps", "energy -0.2")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"state": "running"}', b'{"pid": "x", "beat": []}'])
def test_a_damaged_record_holds_nobody_up(store, content):
    store.write_file(f"{store.work('models', NAME)}/try-0007.json", content)
    list(records(store))
    with lease(store, "models", NAME) as held:
        assert held.record["try"] == 8


def test_leases_on_an_object_store(monkeypatch):
    store = Store("memory://leases")
    with lease(store, "models", NAME) as held:
        assert held.record["try"] == 1
        commit(store)
    with lease(store, "models", NAME) as held:
        assert held is None
    assert store.read("models", NAME, "file") == b"weights"
