"""Files under one root, a local folder or any fsspec address: each appears under its name only when it is whole."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.errors import RequestError
from physics.registry import cut, reason

UNFINISHED = ".unfinished"
DAMAGED = f"{UNFINISHED}/damaged"
ABANDONED_SECONDS = 86_400.0


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
            self.fs, path = fsspec.core.url_to_fs(address, use_listings_cache=False)
            self.path: str = path.rstrip("/")
            self.local = isinstance(self.fs, LocalFileSystem)
            _ = Path(self.path).is_file() if self.local else self.fs.exists(self.path)  # raises where it cannot be
        except Exception as error:  # every protocol has errors of its own
            raise RequestError(f"{cut(root)}: not a store that can be reached: {reason(error)}") from None

    def exists(self, path: str) -> bool:
        return self.fs.exists(f"{self.path}/{path}")

    def entries(self, path: str) -> list[str]:
        """Names in a folder, sorted; none if there is no such folder.

        Raises:
            RequestError: it cannot be read: a name that is too long, no permission.
        """
        try:
            return sorted(Path(entry).name for entry in self.fs.ls(f"{self.path}/{path}".rstrip("/"), detail=False))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise RequestError(f"{self.path}/{path}: cannot be read: {error.strerror or in_a_line(error)}") from None

    def read_file(self, path: str) -> bytes | None:
        """The content, or None where there is no such file.

        Raises:
            RequestError: it cannot be read: a folder, a loop of links, no permission.
        """
        try:
            return self.fs.cat_file(f"{self.path}/{path}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise RequestError(f"{self.path}/{path}: cannot be read: {error.strerror or in_a_line(error)}") from None

    def read_json(self, path: str) -> dict[str, Any] | None:
        """Keys and values of a file that is of no value if it is damaged: None where it is, or where there is none."""
        try:
            content = json.loads(self.read_file(path) or b"")
        except (ValueError, RecursionError, RequestError):
            return None
        return content if isinstance(content, dict) else None

    def write_file(self, path: str, content: bytes) -> None:
        """In place of what was there."""
        if not self.local:
            self.fs.pipe_file(f"{self.path}/{path}", content)  # object stores show an object only when it is complete
            return
        with self._temporary(path, content) as temporary:
            temporary.replace(f"{self.path}/{path}")

    def create_file(self, path: str, content: bytes) -> bool:
        """Unless there is such a file: whether it was this call that made it, whoever else tries at the same time."""
        target = f"{self.path}/{path}"
        if not self.local:
            try:
                self.fs.pipe_file(target, content, mode="create")
                return True
            except OSError:
                if self.fs.exists(target):
                    return False
                raise
        with self._temporary(path, content) as temporary:
            try:
                os.link(temporary, target)
                return True
            except FileExistsError:
                return False

    @contextlib.contextmanager
    def _temporary(self, path: str, content: bytes) -> Iterator[Path]:
        """A local file with the content, on its way to ``path``."""
        Path(self.path, path).parent.mkdir(parents=True, exist_ok=True)
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
        self.fs.makedirs(aside.rpartition("/")[0], exist_ok=True)
        self.fs.mv(f"{self.path}/{path}", aside, recursive=True)
        return aside

    def remove_file(self, path: str) -> None:
        """If it is there."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self.fs.rm_file(f"{self.path}/{path}")

    def remove_folder(self, path: str) -> None:
        """With all that is in it, if it is there."""
        if self.local:
            shutil.rmtree(f"{self.path}/{path}", ignore_errors=True)
            return
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm(f"{self.path}/{path}", recursive=True)

    def remove_abandoned(self) -> None:
        """Remove what killed processes left half-written more than a day ago."""
        if not self.local or not Path(self.path, UNFINISHED).is_dir():
            return
        for file in Path(self.path, UNFINISHED).iterdir():
            with contextlib.suppress(OSError):
                if len(file.name) == 32 and time.time() - file.lstat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(file) if file.is_dir() else file.unlink()


def in_a_line(error: Exception) -> str:
    """What an error says, in a line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
