"""What lies in a store that no artifact needs."""

from __future__ import annotations

import re
import time

from orchestrator.catalogue.lookup import HASHED, is_whole
from orchestrator.errors import RequestError
from orchestrator.files import DAMAGED, UNFINISHED
from orchestrator.store import KINDS, Kind, Store

HALF_WRITTEN = re.compile(r"[0-9a-f]{32}")
NAMED_BY_CONTENT = re.compile(r"[0-9a-f]{12}-.+")
DAY_SECONDS = 86_400.0


def leftovers(store: Store, days: float) -> dict[str, str]:
    """Paths relative to the root, and why each is not needed; what is younger than ``days`` days is left alone."""
    since = time.time() - days * DAY_SECONDS
    found = _abandoned(store, since)
    for entry in store.entries(UNFINISHED):
        if HALF_WRITTEN.fullmatch(entry) and _newest(store, f"{UNFINISHED}/{entry}") < since:
            found[f"{UNFINISHED}/{entry}"] = "half-written"
    for entry in store.entries(DAMAGED):
        if _newest(store, f"{DAMAGED}/{entry}") < since:
            found[f"{DAMAGED}/{entry}"] = "damaged, set aside"
    for kind in KINDS:
        for name in store.names(kind):
            if is_whole(store, kind, name):
                found |= {} if store.local else _unlisted(store, kind, name)
                continue
            work = store.work(kind, name)
            begun = store.is_folder(work) and work not in found
            if HASHED.fullmatch(name) and not begun and _newest(store, f"{kind}/{name}") < since:
                found[f"{kind}/{name}"] = "without card or record"
    return found


def _abandoned(store: Store, since: float) -> dict[str, str]:
    """Unfinished work that nobody makes: of what is whole, and of what has shown no sign of life."""
    from orchestrator.lease import RUNNING, records

    found = {}
    for kind, name, record in records(store):
        work = store.work(kind, name)
        if record.get("state") == RUNNING or name.startswith(".") or not store.is_folder(work):
            continue
        if is_whole(store, kind, name):
            found[work] = "left over from a whole artifact"
        elif (record.get("beat") or _newest(store, work)) < since:
            found[work] = f"unfinished, {record.get('state')}"
    return found


def _unlisted(store: Store, kind: Kind, name: str) -> dict[str, str]:
    """Files of writers that came second, which the card does not list; on object stores alone, where they can be."""
    try:
        card = store.card(kind, name) or {}
    except RequestError:  # a damaged card says nothing of its files
        return {}
    listed = {entry.get("at", file) for file, entry in card.get("files", {}).items()}
    folder = store.folder(kind, name)
    with store.reached(f"{kind}/{name}"):
        files = [found[len(folder) + 1 :] for found in store.fs.find(folder)]
    return {
        f"{kind}/{name}/{file}": "not on its card"
        for file in files
        if NAMED_BY_CONTENT.fullmatch(file) and file not in listed
    }


def _newest(store: Store, path: str) -> float:
    """When the newest file at or below a path was written; now, where the file system does not say."""
    root = f"{store.path}/{path}"
    with store.reached(path):
        files = store.fs.find(root) or [root]
    try:
        return max(store.fs.modified(file).timestamp() for file in files)
    except (NotImplementedError, OSError, TypeError, ValueError):
        return time.time()
