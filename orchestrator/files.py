"""Files under one root, a local folder or any fsspec address: each appears under its name only when it is whole."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.console import log
from orchestrator.errors import RequestError
from physics.registry import cut, printable, reason, shown

UNFINISHED = ".unfinished"
DAMAGED = f"{UNFINISHED}/damaged"
ABANDONED_SECONDS = 86_400.0
READERS = 32  # of an object store, side by side: it takes a while to answer, and answers many
PATIENCE = {"retries": {"mode": "standard", "total_max_attempts": 5}, "read_timeout": 30}
TRIED_AGAIN = "ConditionalRequestConflict", "InternalError", "ServiceUnavailable", "500", "502", "503", "504"
MISSING = FileNotFoundError, NotADirectoryError


class Files:
    """Paths are relative to the root.

    Raises:
        RequestError: the root cannot be reached.
    """

    def __init__(self, root: str):
        import fsspec  # slow to import, and not needed to print help
        from fsspec.implementations.local import LocalFileSystem

        self.root = root
        try:
            address = root if "://" in root else str(Path(root).expanduser())
            self.fs, path = fsspec.core.url_to_fs(address, use_listings_cache=False, **_options(address))
            self.path: str = path.rstrip("/")
            self.local = isinstance(self.fs, LocalFileSystem)
            _ = Path(self.path).is_file() if self.local else self.fs.exists(self.path)  # raises where it cannot be
        except Exception as error:  # every protocol has errors of its own
            raise RequestError(f"{cut(root)}: not a store that can be reached: {reason(error)}") from None

    def at(self, path: str) -> str:
        """The address of a path.

        Raises:
            RequestError: it leaves the root.
        """
        if path.startswith("/") or ".." in path.split("/"):
            raise RequestError(f"{self.root}: {shown(path)}: expected a path below it")
        return f"{self.path}/{path}"

    @contextlib.contextmanager
    def reached(self, path: str) -> Iterator[None]:
        """Turn what an object store raises, each in its own way, into an OSError that names the address."""
        try:
            yield
        except (*MISSING, FileExistsError, RequestError):
            raise
        except Exception as error:
            if self.local or getattr(error, "filename", None):
                raise
            why = getattr(error, "strerror", None) or in_a_line(error)
            where = f"{self.root.rstrip('/')}/{path}".rstrip("/")
            raise OSError(getattr(error, "errno", None) or errno.EIO, why, where) from error

    def exists(self, path: str) -> bool:
        with self.reached(path):
            return self.fs.exists(self.at(path))

    def is_folder(self, path: str) -> bool:
        with self.reached(path):
            return self.fs.isdir(self.at(path))

    def entries(self, path: str) -> list[str]:
        """Names in a folder, sorted; none if there is no such folder.

        Raises:
            RequestError: it cannot be read: a name that is too long, no permission.
            OSError: the object store does not answer.
        """
        try:
            with self.reached(path):
                found = self.fs.ls(self.at(path).rstrip("/"), detail=False)
            return sorted(Path(entry).name for entry in found)
        except MISSING:
            return []
        except OSError as error:
            raise self._unread(path, error) from None

    def read_file(self, path: str) -> bytes | None:
        """The content, or None where there is no such file.

        Raises:
            RequestError: it cannot be read: a folder, a loop of links, no permission.
            OSError: the object store does not answer.
        """
        try:
            with self.reached(path):
                return self.fs.cat_file(self.at(path))
        except MISSING:
            return None
        except OSError as error:
            raise self._unread(path, error) from None

    def _unread(self, path: str, error: OSError) -> Exception:
        """A folder's fault is one of the request; an object store that does not answer may do so later."""
        if not self.local:
            return error
        where = cut(f"{self.path}/{path}", 200)
        return RequestError(f"{where}: cannot be read: {error.strerror or in_a_line(error)}")

    def read_json(self, path: str) -> dict[str, Any] | None:
        """Keys and values of a file that is of no value if it is damaged: None where it is, or where there is none."""
        try:
            content = still(json.loads(self.read_file(path) or b""))
        except (ValueError, RecursionError, RequestError):
            return None
        return content if isinstance(content, dict) else None

    def write_file(self, path: str, content: bytes) -> None:
        """In place of what was there."""
        if not self.local:
            self._put(path, content, "overwrite")  # object stores show an object only when it is complete
            return
        with self._temporary(path, content) as temporary:
            temporary.replace(self.at(path))

    def create_file(self, path: str, content: bytes) -> bool:
        """Unless there is such a file: whether it was this call that made it, whoever else tries at the same time.

        On an object store also if what is there is the same content: a put may be done though its answer was lost.
        """
        if not self.local:
            return self._put(path, content, "create")
        with self._temporary(path, content) as temporary:
            try:
                os.link(temporary, self.at(path))
                return True
            except FileExistsError:
                return False

    def _put(self, path: str, content: bytes, mode: str) -> bool:
        """Put an object; whether the content is there, where another one may be."""
        with self.reached(path):
            try:
                self.fs.pipe_file(self.at(path), content, mode=mode)
                return True
            except Exception:
                there = self.read_file(path)
                if there is None or (mode == "overwrite" and there != content):
                    raise
                return there == content

    @contextlib.contextmanager
    def _temporary(self, path: str, content: bytes) -> Iterator[Path]:
        """A local file with the content, on its way to ``path``."""
        Path(self.at(path)).parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(self.path, UNFINISHED, uuid.uuid4().hex)
        temporary.parent.mkdir(exist_ok=True)
        try:
            try:
                with temporary.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:  # a full disk does not say of which file
                raise OSError(error.errno, error.strerror, f"{self.path}/{path}") from None
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def set_aside(self, path: str) -> str:
        """Move a damaged file out of the way; returns its new address."""
        aside = f"{self.path}/{DAMAGED}/{uuid.uuid4().hex[:8]}-{Path(path).name}"
        with self.reached(path):
            self.fs.makedirs(aside.rpartition("/")[0], exist_ok=True)
            self.fs.mv(self.at(path), aside, recursive=True)
        return aside

    def remove_file(self, path: str) -> None:
        """If it is there."""
        with contextlib.suppress(*MISSING), self.reached(path):
            self.fs.rm_file(self.at(path))

    def remove_folder(self, path: str) -> None:
        """With all that is in it, if it is there."""
        if self.local:
            shutil.rmtree(self.at(path), ignore_errors=True)
            return
        with contextlib.suppress(*MISSING), self.reached(path), ThreadPoolExecutor(READERS) as pool:
            list(pool.map(self.fs.rm_file, self.fs.find(self.at(path))))

    def remove_abandoned(self) -> None:
        """Remove what killed processes left half-written more than a day ago."""
        if not self.local or not Path(self.path, UNFINISHED).is_dir():
            return
        for file in Path(self.path, UNFINISHED).iterdir():
            with contextlib.suppress(OSError):
                if len(file.name) == 32 and time.time() - file.lstat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(file) if file.is_dir() else file.unlink()


def still(value: Any) -> Any:
    """A JSON value in whose text nothing but ends of lines moves the cursor of whoever prints it."""
    if isinstance(value, str):
        return value if value.isprintable() else "\n".join(map(printable, value.split("\n")))
    if isinstance(value, dict):
        return {still(key): still(inner) for key, inner in value.items()}
    return [still(inner) for inner in value] if isinstance(value, list) else value


def _options(address: str) -> dict[str, Any]:
    """How an object store is asked: on S3 patiently, and in one piece, which is asked for again if it is cut."""
    if not address.startswith(("s3://", "s3a://")):
        return {}
    import fsspec

    fsspec.get_filesystem_class("s3")  # says what to install where it is missing
    import s3fs

    s3fs.core.set_custom_error_handler(_may_pass)
    own = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
    return {"max_concurrency": 1, "config_kwargs": PATIENCE | own, "session": _session()}


@cache
def _session() -> Any:
    """Of botocore, one that puts at once: for leave to do so it would wait as long as a server is silent."""
    from aiobotocore.session import AioSession
    from botocore.handlers import add_expect_header

    session = AioSession()
    session.unregister("before-call.s3", add_expect_header)
    return session


def _may_pass(error: Exception) -> bool:
    """Whether s3fs is to ask again, after all tries of botocore: each of its five is said."""
    from botocore.exceptions import ConnectionError

    code = getattr(error, "response", {}).get("Error", {}).get("Code")
    if code not in TRIED_AGAIN and not isinstance(error, ConnectionError):
        return False
    log(f"{in_a_line(error)}; it is tried again")
    return True


def in_a_line(error: Exception) -> str:
    """What an error says, in a line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
