"""Who is making an artifact: a lease with a heartbeat, which is its record from the first minute.

Every try at an artifact is a file ``.unfinished/<kind>/<name>/try-<number>.json`` that is created only if there is
none of that number, so one process alone holds the lease.  Its holder writes it anew every few seconds.  Another one
waits, or begins the next try when the heartbeat has stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from orchestrator.console import log
from orchestrator.errors import FailedError, RequestError
from orchestrator.files import UNFINISHED, in_a_line
from orchestrator.store import KINDS, Kind, Store

BEAT_SECONDS = 2.0
REMOTE_BEAT_SECONDS = 10.0  # on an object store, which counts each
STALE_SECONDS = 40.0
POLL_SECONDS = 0.5
STOP_SECONDS = 60.0
LARGEST = 1e15  # number in a record
TRY = re.compile(r"try-\d{4}\.json")
RUNNING = "running"

Record = dict[str, Any]


class StoppedError(FailedError):
    """Somebody asked for the work to be ended."""


class Lease:
    """A try at an artifact, while it is held.

    Attributes:
        record: what others read of it: who, where, since when, how far.
    """

    def __init__(self, store: Store, path: str, record: Record):
        self.store, self.path, self.record = store, path, record
        self._over, self._stopped = threading.Event(), False
        self._interruptible = _interruptible()
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._beating.start()

    def report(self, done: int, total: int, unit: str, note: str = "") -> None:
        """How far the work is; written with the next heartbeat.

        Raises:
            StoppedError: somebody asked for its end.
        """
        if self._stopped and not self._interruptible:
            raise StoppedError("stopped by 'orch stop'; what it had reached is kept")
        now = time.time()
        self.record.setdefault("first", {"done": done, "at": now})
        self.record.update(done=done, total=total, unit=unit, note=note, reported=now)

    def needs(self, *parents: str) -> None:
        """What the artifact is made from, which is not to be removed meanwhile."""
        self.record["parents"] = list(dict.fromkeys([*self.record.get("parents", []), *parents]))

    def say(self, text: str) -> None:
        """Tell whoever follows the record, and the card, what a person should know."""
        log(text)
        self.record["said"] = [*self.record.get("said", []), text]
        with contextlib.suppress(Exception):
            self._write()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS if self.store.local else REMOTE_BEAT_SECONDS):
            with contextlib.suppress(Exception):  # a full disk or a store that stands still; the next may pass
                self._write()
                if not self._stopped and self.store.exists(stop_file(self.path)):
                    self._stop()

    def _stop(self) -> None:
        """End the work as Ctrl-C would, or where a worker of Ray does it, with the next report."""
        self._stopped = True
        if self._interruptible:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def _write(self) -> None:
        self.record["beat"] = time.time()
        self.store.write_file(self.path, json.dumps(self.record).encode())

    def end(self, state: str, error: Exception | None = None) -> None:
        """Let others go on, and tell them why this try ended."""
        self._over.set()
        self._beating.join()
        self.record["state"] = state
        if error is not None:
            log = "".join(traceback.format_exception(error))
            self.record.update(error=type(error).__name__, cause=in_a_line(error), log=log)
        try:
            self._write()
        except Exception:  # those who wait see that the heartbeat has stopped
            self._write_in_place()

    def _write_in_place(self) -> None:
        """Over the record that is there, which takes no room of a disk that is full."""
        content = json.dumps({key: value for key, value in self.record.items() if key != "log"}).encode()
        with contextlib.suppress(OSError):
            if self.store.local:
                with Path(self.store.path, self.path).open("r+b") as file:
                    file.write(content)
                    file.truncate()


def _interruptible() -> bool:
    """Whether Ctrl-C would end what this thread does; Ray's workers block it."""
    main = threading.current_thread() is threading.main_thread()
    return main and signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@contextlib.contextmanager
def lease(
    store: Store,
    kind: Kind,
    name: str,
    waiting: Callable[[Record], None] | None = None,
    parents: Sequence[str] = (),
) -> Iterator[Lease | None]:
    """Hold the lease of an artifact, or None if it is whole by the time that the lease is free.

    What is unfinished is removed once the artifact is whole; until then it stays, with the record of how the try
    ended: "interrupted", or "failed" with its cause and its log.

    Args:
        waiting: called about every half second with the record of the holder that is waited for.
        parents: what it is made from.
    """
    held = _acquire(store, kind, name, waiting or _announce(kind, name), parents)
    if held is None:
        yield None
        return
    try:
        yield held
    except KeyboardInterrupt:
        held.end("interrupted")
        raise
    except StoppedError as error:
        held.record["cause"] = str(error)
        held.end("interrupted")
        raise
    except Exception as error:
        held.end("failed", error)
        raise
    else:
        held.end("interrupted")
        if store.card(kind, name) is not None:
            store.remove_folder(store.work(kind, name))


def made(
    store: Store, kind: Kind, name: str, make: Callable[[Lease], Any], parents: Sequence[str] = ()
) -> tuple[str, dict[str, Any]]:
    """Name and card of an artifact, which ``make`` commits under its lease unless it is whole by then."""
    with lease(store, kind, name, parents=parents) as held:
        if held is None:
            log(f"found {kind}/{name}")
        else:
            make(held)
    card = store.card(kind, name)
    if card is None:
        raise FailedError(f"{kind}/{name}: it was removed as soon as it was made")
    return name, card


def _announce(kind: Kind, name: str) -> Callable[[Record], None]:
    told: list[Any] = []

    def waiting(record: Record) -> None:
        if record.get("holder") not in told:
            told.append(record.get("holder"))
            log(f"{kind}/{name}: process {record.get('pid')} on {record.get('host')} is making it; waiting for it")

    return waiting


def _acquire(
    store: Store, kind: Kind, name: str, waiting: Callable[[Record], None], parents: Sequence[str]
) -> Lease | None:
    beats: dict[Any, float] = {}  # when, by this process's clock, each heartbeat was first seen
    while store.card(kind, name) is None:
        number, newest = newest_try(store, kind, name)
        seen = beats.setdefault((number, newest.get("beat")), time.monotonic())
        if newest.get("state") != RUNNING or _dead(newest) or time.monotonic() - seen > STALE_SECONDS:
            path = f"{store.work(kind, name)}/try-{number + 1:04d}.json"
            record = {**_record(number + 1), "parents": list(parents)}
            if store.create_file(path, json.dumps(record).encode()):
                if store.card(kind, name) is None:
                    return Lease(store, path, record)
                store.remove_folder(store.work(kind, name))  # it has become whole meanwhile
        else:
            waiting(newest)
        time.sleep(POLL_SECONDS)
    return None


def newest_try(store: Store, kind: Kind, name: str) -> tuple[int, Record]:
    """Number and record of the last try at an artifact; 0 and an empty one if nobody has tried."""
    tries = [file for file in store.entries(store.work(kind, name)) if TRY.fullmatch(file)]
    if not tries:
        return 0, {}
    record = store.read_json(f"{store.work(kind, name)}/{tries[-1]}") or {}
    whole = all(is_number(record.get(key)) for key in ("pid", "process_started", "started", "beat"))
    return int(tries[-1][4:8]), record if whole else {}


def is_number(value: Any) -> bool:
    """Whether a record says a number that a time or a process may have."""
    return isinstance(value, int | float) and abs(value) < LARGEST


def tries(store: Store, kind: Kind, name: str) -> list[Record]:
    """The records of all tries at what is unfinished, the first before the last."""
    folder = store.work(kind, name)
    found = [store.read_json(f"{folder}/{file}") for file in store.entries(folder) if TRY.fullmatch(file)]
    return [record for record in found if record]


def stop_file(path: str) -> str:
    """Beside the record of a try: whoever makes it asks for the end of that try."""
    return path.removesuffix(".json") + ".stop"


def stop(store: Store, kind: Kind, name: str) -> Record:
    """Ask for the end of the try that runs, wait for it, and return its record.

    Raises:
        RequestError: nobody makes the artifact.
        FailedError: it has not ended in time.
    """
    number, record = newest_try(store, kind, name)
    if record.get("state") != RUNNING or _dead(record) or time.time() - record["beat"] > STALE_SECONDS:
        raise RequestError(f"{kind}/{name}: nobody is making it")
    path = f"{store.work(kind, name)}/try-{number:04d}.json"
    store.write_file(stop_file(path), b"")
    deadline = time.monotonic() + STOP_SECONDS
    while record.get("state") == RUNNING:
        if time.monotonic() > deadline:
            raise FailedError(
                f"{kind}/{name}: asked process {record['pid']} on {record['host']} to end; it has not in "
                f"{STOP_SECONDS:.0f} s, and will with its next report"
            )
        time.sleep(POLL_SECONDS)
        latest, newest = newest_try(store, kind, name)
        if latest != number or not newest:  # it was finished, or has been taken over
            break
        record = newest
    return record


def records(store: Store) -> Iterator[tuple[Kind, str, Record]]:
    """What is unfinished, with the record of its last try.

    A record whose process has died on this machine, or whose heartbeat is old, is said to be "stopped".
    """
    for kind in KINDS:
        for name in store.entries(f"{UNFINISHED}/{kind}"):
            _, record = newest_try(store, kind, name)
            silent = time.time() - record.get("beat", 0) > STALE_SECONDS
            if record.get("state", RUNNING) == RUNNING and (_dead(record) or silent):
                record = {**record, "state": "stopped"}
            yield kind, name, record


def _record(number: int) -> Record:
    now = time.time()
    return {
        "try": number,
        "state": RUNNING,
        "holder": uuid.uuid4().hex,
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "process_started": psutil.Process().create_time(),
        "command": " ".join(sys.argv),
        "started": now,
        "beat": now,
    }


@cache
def _machine() -> str:
    """Of all machines and containers, the one in which a process's number means that process."""
    boot, numbers = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    if boot.exists() and numbers.exists():
        return f"{boot.read_text().strip()} {numbers.readlink()}"
    return f"{socket.gethostname()} {int(psutil.boot_time())}"


def _dead(record: Record) -> bool:
    """Whether the holder was a process of this machine that is no more."""
    if record.get("machine") != _machine():
        return False
    try:
        process = psutil.Process(record["pid"])
        return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - record["process_started"]) > 1
    except psutil.Error:
        return True
