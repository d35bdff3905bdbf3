"""The store: data sets, models, sweeps, optima and analyses, each named by a hash of all that makes it.

An artifact is a folder ``<kind>/<label>-<hash>`` whose card, a JSON file, names its configuration, its parents, its
figures and the SHA-256 of each of its files.  The card makes it whole: a folder without one does not count.  What is
not whole yet lies, with the record of who makes it, under ``.unfinished/<kind>/<name>`` (:mod:`orchestrator.lease`).
"""

from __future__ import annotations

import errno
import hashlib
import json
import socket
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, get_args

from orchestrator.console import log
from orchestrator.errors import RequestError
from orchestrator.files import MISSING, READERS, UNFINISHED, Files, in_a_line, still
from physics.registry import shown

Kind = Literal["datasets", "models", "sweeps", "optima", "analyses"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SINGULAR = dict(zip(KINDS, ("data set", "model", "sweep", "optimum", "analysis"), strict=True))
FORMAT = 1
MARKER = "store.json"
CARD = "card.json"


def versions() -> dict[str, str]:
    """Of the packages that decide a result."""
    found = {}
    for name in ("orch-spins", "torch", "numpy", "numba", "ray", "optuna"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


class Store(Files):
    """Artifacts under one root.  What is whole stays as it is.

    Attributes:
        sent: what the store was that a copy of this was sent from, see :meth:`identity`; None here.

    Raises:
        RequestError: ``root`` cannot be reached, holds other things and is not a store, or is of another format.
    """

    def __init__(self, root: str):
        super().__init__(root)
        if self.local and Path(self.path).is_file():
            raise RequestError(f"{root}: not a store: it is a file")
        try:
            content = self.read_file(MARKER)
            marker = json.loads(content or "null")
        except (RequestError, ValueError, RecursionError):
            raise RequestError(f"{root}: not a store: {MARKER} cannot be read") from None
        except OSError as error:
            raise RequestError(f"{root}: not a store that can be reached: {in_a_line(error)}") from None
        if content is None:
            if set(self.entries("")) - {UNFINISHED}:
                raise RequestError(
                    f"{root}: not a store: it has files but no {MARKER}; expected a store or an empty folder"
                )
        elif not isinstance(marker, dict) or marker.get("format") != FORMAT:
            found = marker.get("format") if isinstance(marker, dict) else marker
            raise RequestError(f"{root}: store format {str(found)[:40]}, expected {FORMAT}")
        self._made = content is not None

    sent: str | None = None

    def __reduce__(self) -> tuple[type[Store], tuple[str], dict[str, Any]]:
        root = self.path if self.local else self.root  # a worker may stand in another folder
        return Store, (root,), {"sent": self.identity()}

    def created(self) -> bool:
        """Whether there is a store yet."""
        self._made = self._made or self.exists(MARKER)
        return self._made

    def identity(self) -> str | None:
        """What tells this store from another one at the same address; None before it is made, and of old ones."""
        return (self.read_json(MARKER) or {}).get("id")

    def _create(self) -> None:
        if not self.created():
            super().create_file(MARKER, json.dumps({"format": FORMAT, "id": uuid.uuid4().hex}).encode())

    def write_file(self, path: str, content: bytes) -> None:
        self._create()
        super().write_file(path, content)

    def create_file(self, path: str, content: bytes) -> bool:
        self._create()
        return super().create_file(path, content)

    def folder(self, kind: Kind, name: str) -> str:
        """Address of an artifact, for people and for readers of other files."""
        return self.at(f"{kind}/{name}")

    def work(self, kind: Kind, name: str) -> str:
        """Where the unfinished work on an artifact lies, relative to the root."""
        return f"{UNFINISHED}/{kind}/{name}"

    def card(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """The artifact's card, or None where there is none.

        Raises:
            RequestError: it is damaged: not JSON, or not as it was written.
        """
        path = f"{kind}/{name}/{CARD}"
        content = self.read_file(path)
        if content is None:
            return None
        try:
            card = json.loads(content)
        except (ValueError, RecursionError):
            card = None
        if not isinstance(card, dict) or not _is_sound(card) or not all(map(_is_below, _listed_in(card))):
            raise RequestError(
                f"{self.path}/{path}: damaged card: expected the JSON that was written; "
                f"'orch rm {kind}/{name}' removes the artifact"
            )
        return still(card)

    def commit(
        self, kind: Kind, name: str, card: dict[str, Any], files: dict[str, bytes], placed: bool = False
    ) -> dict[str, Any]:
        """Make an artifact whole, all at once, and return its card; of two writers the first wins, for both.

        A local folder is staged and renamed.  On an object store, where nothing is renamed, files are named by what
        they hold, and the card is put only if there is none.

        Args:
            placed: larger files of it lie in its folder already, none of which two writers would make differently.
        """
        if (existing := self.card(kind, name)) is not None:
            return existing
        staged = self.local and not placed
        stage = f"{UNFINISHED}/{uuid.uuid4().hex}" if staged else f"{kind}/{name}"
        listed: dict[str, dict[str, Any]] = {}
        try:
            for file, content in files.items():
                at = file if self.local or placed else f"{hashlib.sha256(content).hexdigest()[:12]}-{file}"
                if not self.create_file(f"{stage}/{at}", content):
                    content = self.read_file(f"{stage}/{at}") or b""
                listed[file] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
                listed[file] |= {"at": at} if at != file else {}
            card = json.loads(json.dumps({**card, **_provenance(), "files": listed}))
            card["checksum"] = _checksum(card)
            mine = self.create_file(f"{stage}/{CARD}", json.dumps(card, indent=1).encode())
            if staged:
                mine = self._rename(stage, kind, name)
        finally:
            if staged:
                self.remove_folder(stage)
        return card if mine else self.card(kind, name) or card

    def _rename(self, stage: str, kind: Kind, name: str) -> bool:
        """Give a staged folder its name, unless there is such an artifact: whether it was done."""
        target = Path(self.folder(kind, name))
        target.parent.mkdir(parents=True, exist_ok=True)
        while not (target / CARD).exists():
            try:
                Path(self.path, stage).rename(target)
                return True
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            if not (target / CARD).exists():  # unfinished work of before version 0.5
                aside = Path(self.path, self.work(kind, name), f"before-{uuid.uuid4().hex[:8]}")
                aside.parent.mkdir(parents=True, exist_ok=True)
                target.rename(aside)
        return False

    def remove(self, kind: Kind, name: str) -> None:
        """Remove an artifact, its card first, and the unfinished work on it."""
        self.remove_file(f"{kind}/{name}/{CARD}")
        self.remove_folder(f"{kind}/{name}")
        self.remove_folder(self.work(kind, name))

    def read(self, kind: Kind, name: str, file: str) -> bytes:
        """A file of an artifact, checked against its card.

        Raises:
            RequestError: it is missing or damaged.
        """
        return self.read_checked(*self._listed(kind, name, file))

    def _listed(self, kind: Kind, name: str, file: str) -> tuple[str, str]:
        """Address and SHA-256 of a file, as the card says; RequestError if it does not list it."""
        entry = (self.card(kind, name) or {}).get("files", {}).get(file)
        if entry is None:
            raise RequestError(f"{self.root}: no {file} of {kind}/{name}")
        return self.inside(kind, name, entry.get("at", file)), entry["sha256"]

    def inside(self, kind: Kind, name: str, file: str) -> str:
        """The address of a file that a card names, which cannot leave the artifact."""
        folder = self.folder(kind, name)
        if not _is_below(file):
            raise RequestError(f"{folder}/{CARD}: damaged card: {shown(file)} is not in its folder")
        return f"{folder}/{file}"

    def read_checked(self, path: str, sha256: str) -> bytes:
        """The content at an address; RequestError if it is missing or not what the card says."""
        try:
            with self.reached(path.removeprefix(f"{self.path}/")):
                content = self.fs.cat_file(path)
        except MISSING:
            raise RequestError(f"{path}: missing, though its card lists it") from None
        except OSError as error:
            if not self.local:
                raise
            raise RequestError(f"{path}: damaged: {error.strerror or in_a_line(error)}") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise RequestError(f"{path}: damaged: {len(content)} bytes that do not match its checksum")
        return content

    def names(self, kind: Kind) -> list[str]:
        """Of the artifacts of a kind, sorted, and of what may become one."""
        return self.entries(kind)

    def cards(self, *kinds: Kind) -> Iterator[tuple[Kind, str, dict[str, Any]]]:
        """All artifacts of the given kinds (of every kind, if none is named) that are whole; a damaged one is said."""
        yield from self._whole(self._places(kinds))

    def _places(self, kinds: Sequence[Kind]) -> list[tuple[Kind, str]]:
        return [(kind, name) for kind in kinds or KINDS for name in self.names(kind)]

    def _whole(self, places: Sequence[tuple[Kind, str]]) -> Iterator[tuple[Kind, str, dict[str, Any]]]:
        """Those that have a sound card, with it."""
        with ThreadPoolExecutor(READERS) as pool:
            read = map if self.local else pool.map
            for (kind, name), card in zip(places, read(lambda place: self._sound_card(*place), places), strict=True):
                if card is not None:
                    yield kind, name, card

    def _sound_card(self, kind: Kind, name: str) -> dict[str, Any] | None:
        """The card, None where there is none; a damaged one is said."""
        try:
            return self.card(kind, name)
        except RequestError as error:
            log(str(error))
            return None

    def find(self, text: str, *kinds: Kind) -> tuple[Kind, str, dict[str, Any]]:
        """The one artifact whose name is ``text``, with or without its kind, or starts or ends with it.

        Raises:
            RequestError: none, or several.
        """
        kind, slash, rest = text.partition("/")
        if slash and kind in (kinds or KINDS):
            kinds, text = (kind,), rest
        known = self._places(kinds)
        matching = [entry for entry in known if entry[1] == text]
        ends = [entry for entry in known if text and (entry[1].startswith(text) or entry[1].endswith(text))]
        found = list(self._whole(matching)) or list(self._whole(ends))
        if len(found) == 1:
            return found[0]
        what = " or ".join(SINGULAR[kind] for kind in kinds) or "artifact"
        if found:
            raise RequestError(f"{text}: {len(found)} of {self.root} match, such as {found[0][1]}, {found[1][1]}")
        raise RequestError(f"{text}: no such {what} in {self.root} ('orch list' shows what there is)")


def parts(place: str) -> tuple[Kind, str]:
    """Kind and name of a place such as "models/vae"."""
    kind, _, name = place.partition("/")
    return kind, name  # type: ignore[return-value]


def _provenance() -> dict[str, Any]:
    """When and where an artifact was made, and with which versions."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {"created": created, "host": socket.gethostname(), "versions": versions()}


def _is_sound(card: dict[str, Any]) -> bool:
    """Whether a card is as it was written; cards of before version 0.5 have no checksum."""
    return card["checksum"] == _checksum(card) if "checksum" in card else "config" in card


def _listed_in(card: dict[str, Any]) -> list[Any]:
    """Names of all files that a card lists; None for what is no entry of a file."""
    files, shards = card.get("files", {}), card.get("shards", [])
    if not isinstance(files, dict) or not isinstance(shards, list):
        return [None]
    entries = [*files.values(), *shards]
    if not all(isinstance(entry, dict) and isinstance(entry.get("sha256"), str) for entry in entries):
        return [None]
    return [*files, *(entry["at"] for entry in entries if "at" in entry), *(entry.get("file") for entry in shards)]


def bytes_of(entry: dict[str, Any]) -> int:
    """The size of a file that a card lists; 0 where it says none that a file could have."""
    size = entry.get("bytes")
    return size if type(size) is int and 0 <= size < 2**63 else 0


def _is_below(file: Any) -> bool:
    """Whether this is the name of a file in the folder that it is named in."""
    return isinstance(file, str) and not file.startswith("/") and ".." not in file.split("/")


def _checksum(card: dict[str, Any]) -> str:
    """Of all that a card says."""
    said = {key: value for key, value in card.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
