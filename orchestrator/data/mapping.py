"""Shards as memory maps: of a local store where they lie, of an object store from a cache on this machine's disk.

The cache is shared by all processes of a user on a machine.  A file's name in it is the SHA-256 of its content.  One
process fetches a shard while the others wait; what was used longest ago goes first when there is no room.  It may be
removed at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from orchestrator.console import log
from orchestrator.errors import RequestError
from orchestrator.files import in_a_line
from physics.registry import cut

FOLDER, LIMIT = "ORCH_CACHE", "ORCH_CACHE_GB"
DEFAULT_GB = 10.0
LOCK = "lock"
PART = ".part"


def mapped(path: str, sha256: str) -> mmap.mmap:
    """A file that is checked against its SHA-256 once in this process.

    Raises:
        RequestError: it is missing or damaged.
    """
    try:
        with Path(path).open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        status = Path(path).stat()
        found = _hashed(path, status.st_ino, status.st_size, status.st_mtime_ns)
    except FileNotFoundError:
        raise RequestError(
            f"{cut(path, 200)}: missing, though its card lists it; the same request makes it again"
        ) from None
    except (OSError, ValueError) as error:
        raise RequestError(f"{cut(path, 200)}: damaged: {in_a_line(error)}") from None
    if found != sha256:
        raise RequestError(
            f"{cut(path, 200)}: damaged: {len(content)} bytes that do not match its checksum; "
            "without it, the same request makes it again"
        )
    return content


@lru_cache(maxsize=100_000)
def _hashed(path: str, inode: int, size: int, modified: int) -> str:
    """SHA-256 of a file, which is read once as long as it does not change."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def limit() -> float:
    """Bytes that the cache may hold, 0 for none.

    Raises:
        RequestError: the environment says no number of GB.
    """
    said = os.environ.get(LIMIT, "")
    try:
        gigabytes = float(said) if said else DEFAULT_GB
    except ValueError:
        gigabytes = -1.0
    if not gigabytes >= 0:  # nor NaN
        raise RequestError(f"{LIMIT}: expected a number of GB, 0 or more, found {cut(said)!r}")
    return gigabytes * 1e9


def cached(sha256: str, size: int, fetch: Callable[[], bytes]) -> mmap.mmap | bytes:
    """The content of that SHA-256: mapped from the cache, or as it was fetched if there is no cache for it.

    Args:
        fetch: called if the cache does not have it; what it raises is raised.
    """
    with contextlib.ExitStack() as stack:
        try:
            if size > limit():
                return fetch()
            place = _folder() / sha256
            if (found := _kept(place)) is not None:
                return found
            part = stack.enter_context(_alone(place.with_suffix(PART)))
            if (found := _kept(place)) is not None:  # by now
                Path(part.name).unlink()
                return found
            _reserve(part, size)
        except OSError as error:
            _without(in_a_line(error))
            return fetch()
        content = fetch()
        try:
            part.write(content)
            part.truncate()
            part.flush()
            Path(part.name).rename(place)
            return _kept(place) or content
        except OSError as error:
            _without(in_a_line(error))
            part.truncate(0)
            return content


def _folder() -> Path:
    """Where the cache lies; it is made if it is not there."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(os.environ.get(FOLDER) or f"{base}/orch").expanduser()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _kept(place: Path) -> mmap.mmap | None:
    """A file of the cache, which counts as used; None if it is not there.  A damaged one is removed."""
    if not place.exists():
        return None
    try:
        content = mapped(str(place), place.name)
        os.utime(place, ns=(time.time_ns(), place.stat().st_mtime_ns))
    except FileNotFoundError:  # it went meanwhile, and the map stays
        pass
    except RequestError:
        place.unlink(missing_ok=True)
        return None
    return content


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[BinaryIO]:
    """A file that no other process has open here at the same time; it goes if what is done with it fails."""
    while True:
        with open(path, "r+b", opener=_made) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is(file, path):  # whoever had it before has given it its name
                continue
            try:
                yield file
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            return


def _made(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT, 0o600)


def _is(file: BinaryIO, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.fstat(file.fileno()).st_ino == path.stat().st_ino
    return False


def _reserve(part: BinaryIO, size: int) -> None:
    """Make room in the cache for a file of this size: what was used longest ago goes."""
    folder, own = Path(part.name).parent, Path(part.name).name
    with _alone(folder / LOCK):
        files = []
        for path in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                files += [(path.stat(), path)] if path.name not in (LOCK, own) else []
        held = sum(status.st_size for status, _ in files)
        for status, path in sorted(files, key=lambda file: file[0].st_atime_ns):
            if held + size <= limit():
                break
            held -= status.st_size if _removed(path) else 0
        part.truncate(size)


def _removed(path: Path) -> bool:
    """Whether a file has gone; one that another process fetches stays."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        path.unlink(missing_ok=True)
    return True


@lru_cache
def _without(why: str) -> None:
    """Said once."""
    log(f"shards are fetched without a cache: {why}")
