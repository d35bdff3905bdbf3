"""The store: data sets, models, sweeps, optima and analyses, each named by a hash of all that makes it.

An artifact is a folder ``<kind>/<label>-<hash>`` whose card, a JSON file written last, names its configuration,
its parents, its figures and the SHA-256 of each of its files.  A folder without a card does not count.  The root
is a local path or any fsspec address, so that a cluster can share one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

from orchestrator.errors import RequestError

Kind = Literal["datasets", "models", "sweeps", "optima", "analyses"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SINGULAR = dict(zip(KINDS, ("data set", "model", "sweep", "optimum", "analysis"), strict=True))
FORMAT = 1
CARD = "card.json"
UNFINISHED = ".unfinished"  # where files are written before they get their names
ABANDONED_SECONDS = 86_400.0


def versions() -> dict[str, str]:
    """Of the packages that decide a result."""
    found = {}
    for name in ("orch-spins", "torch", "numpy", "numba", "ray", "optuna"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


class Store:
    """Artifacts under one root.  A file appears under its name only when whole; what is whole stays as it is.

    Raises:
        RequestError: ``root`` holds other things and is not a store, or is of another format.
    """

    def __init__(self, root: str):
        import fsspec  # slow to import, and not needed to print help
        from fsspec.implementations.local import LocalFileSystem

        self.root = root
        self.fs, path = fsspec.core.url_to_fs(root if "://" in root else str(Path(root).expanduser()))
        self.path: str = path.rstrip("/")
        self.local = isinstance(self.fs, LocalFileSystem)
        try:
            marker = json.loads(self.fs.cat_file(f"{self.path}/store.json"))
        except FileNotFoundError:
            if any(Path(entry).name != UNFINISHED for entry in self._entries()):
                raise RequestError(
                    f"{root}: not a store: it has files but no store.json; expected a store or an empty folder"
                ) from None
        except (ValueError, NotADirectoryError, IsADirectoryError):
            raise RequestError(f"{root}: not a store: store.json cannot be read") from None
        else:
            if marker.get("format") != FORMAT:
                raise RequestError(f"{root}: store format {marker.get('format')}, expected {FORMAT}")
        if self.local and Path(self.path).is_file():
            raise RequestError(f"{root}: not a store: it is a file")

    def _entries(self) -> list[str]:
        return self.fs.ls(self.path, detail=False) if self.fs.exists(self.path) else []

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.path if self.local else self.root,)  # a worker may stand in another folder

    def remove_abandoned(self) -> None:
        """Remove what killed processes left half-written more than a day ago."""
        if self.local and Path(self.path, UNFINISHED).is_dir():
            for file in Path(self.path, UNFINISHED).iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - file.stat().st_mtime > ABANDONED_SECONDS:
                        file.unlink()

    def created(self) -> bool:
        """Whether there is a store yet."""
        return self.fs.exists(f"{self.path}/store.json")

    def write_file(self, path: str, content: bytes) -> None:
        """Under its name only when whole; ``path`` is relative to the root."""
        if path != "store.json" and not self.created():
            self.write_file("store.json", f'{{"format":{FORMAT}}}'.encode())
        target = f"{self.path}/{path}"
        self.fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        if not self.local:
            self.fs.pipe_file(target, content)  # object stores show an object only when it is complete
            return
        temporary = Path(self.path, UNFINISHED, uuid.uuid4().hex)
        temporary.parent.mkdir(exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def folder(self, kind: Kind, name: str) -> str:
        """Address of an artifact, for people and for readers of other files."""
        return f"{self.path}/{kind}/{name}"

    def card(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """The artifact's card, or None where there is none.

        Raises:
            RequestError: the card is not JSON.
        """
        path = f"{self.folder(kind, name)}/{CARD}"
        try:
            return json.loads(self.fs.cat_file(path))
        except FileNotFoundError:
            return None
        except ValueError:
            raise RequestError(f"{path}: damaged card: expected JSON") from None

    def commit(self, kind: Kind, name: str, card: dict[str, Any], files: dict[str, bytes]) -> dict[str, Any]:
        """Write an artifact, its card last, and return its card; if it is there already, return that one."""
        if (existing := self.card(kind, name)) is not None:
            return existing
        card = {
            **card,
            "files": {
                file: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
                for file, content in files.items()
            },
        }
        for file, content in files.items():
            self.write_file(f"{kind}/{name}/{file}", content)
        self.write_file(f"{kind}/{name}/{CARD}", json.dumps(card, indent=1).encode())
        return card

    def read(self, kind: Kind, name: str, file: str, sha256: str | None = None) -> bytes:
        """A file of an artifact, checked against ``sha256`` or else against its card.

        Raises:
            RequestError: it is missing or damaged.
        """
        path = f"{self.folder(kind, name)}/{file}"
        if sha256 is None:
            card = self.card(kind, name)
            if card is None or file not in card.get("files", {}):
                raise RequestError(f"{self.root}: no {file} of {kind}/{name}")
            sha256 = card["files"][file]["sha256"]
        try:
            content = self.fs.cat_file(path)
        except FileNotFoundError:
            raise RequestError(f"{path}: missing, though its card lists it") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise RequestError(f"{path}: damaged: {len(content)} bytes that do not match its checksum")
        return content

    def names(self, kind: Kind) -> list[str]:
        """Of the artifacts of a kind, sorted."""
        folder = f"{self.path}/{kind}"
        if not self.fs.exists(folder):
            return []
        return sorted(Path(entry).name for entry in self.fs.ls(folder, detail=False))

    def cards(self, *kinds: Kind) -> Iterator[tuple[Kind, str, dict[str, Any]]]:
        """All artifacts of the given kinds (of every kind, if none is named) that have a card."""
        for kind in kinds or KINDS:
            for name in self.names(kind):
                if (card := self.card(kind, name)) is not None:
                    yield kind, name, card

    def find(self, text: str, *kinds: Kind) -> tuple[Kind, str, dict[str, Any]]:
        """The one artifact whose name is ``text``, or starts or ends with it.

        Raises:
            RequestError: none, or several.
        """
        known = list(self.cards(*kinds))
        found = [entry for entry in known if entry[1] == text] or [
            entry for entry in known if text and (entry[1].startswith(text) or entry[1].endswith(text))
        ]
        if len(found) == 1:
            return found[0]
        what = " or ".join(SINGULAR[kind] for kind in kinds) or "artifact"
        if found:
            raise RequestError(f"{text}: {len(found)} of {self.root} match, such as {found[0][1]}, {found[1][1]}")
        raise RequestError(f"{text}: no such {what} in {self.root} ('orch list' shows what there is)")
