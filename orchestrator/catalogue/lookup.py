"""Which artifact a person means, whole or unfinished, by names alone: no card but those that match is read."""

from __future__ import annotations

import os
import re

import typer

from orchestrator.errors import RequestError
from orchestrator.options import STORE
from orchestrator.store import CARD, KINDS, Kind, Store

HASHED = re.compile(r".+-[0-9a-f]{12}")
"""A name that this program gives."""


def entries(store: Store) -> list[tuple[Kind, str]]:
    """Kind and name of all that may be an artifact: what lies among the whole ones and among the unfinished."""
    return [
        (kind, name)
        for kind in KINDS
        for name in sorted({*store.names(kind), *store.entries(store.work(kind, ""))})
        if name and not name.startswith(".")
    ]


def is_whole(store: Store, kind: Kind, name: str) -> bool:
    """Whether there is a card, damaged or not."""
    return store.exists(f"{kind}/{name}/{CARD}")


def is_unfinished(store: Store, kind: Kind, name: str) -> bool:
    return not is_whole(store, kind, name) and store.is_folder(store.work(kind, name))


def find(store: Store, text: str) -> tuple[Kind, str]:
    """The one artifact whose name is ``text``, with or without its kind, or starts or ends with it.

    A folder without card or record is one only if it is named in full and as this program names artifacts.

    Raises:
        RequestError: none, or several.
    """
    kind, slash, rest = text.partition("/")
    wanted = rest if slash and kind in KINDS else text
    known = [entry for entry in entries(store) if wanted == text or entry[0] == kind]
    matching = [entry for entry in known if entry[1] == wanted]
    found = [entry for entry in matching if _is_artifact(store, *entry) or HASHED.fullmatch(wanted)]
    if not found:
        ends = [entry for entry in known if wanted and (entry[1].startswith(wanted) or entry[1].endswith(wanted))]
        found = [entry for entry in ends if _is_artifact(store, *entry)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RequestError(
            f"{text}: {len(found)} of {store.root} match, such as {'/'.join(found[0])}, {'/'.join(found[1])}"
        )
    raise RequestError(f"{text}: no such artifact in {store.root} ('orch list' and 'orch status' show what there is)")


def _is_artifact(store: Store, kind: Kind, name: str) -> bool:
    return is_whole(store, kind, name) or is_unfinished(store, kind, name)


def complete(context: typer.Context, incomplete: str) -> list[str]:
    """What a NAME may be completed to."""
    try:
        known = entries(Store(context.params.get("store") or os.environ.get("ORCH_STORE") or STORE))
    except Exception:  # a completion is no place for messages
        return []
    return sorted(name for _, name in known if name.startswith(incomplete))


NAME = typer.Argument(help="A name, or its beginning or end.", autocompletion=complete)
NAMES = typer.Argument(help="Names, or their beginnings or ends.", autocompletion=complete)
OPTIONAL_NAME = typer.Argument(help="A name, or its beginning or end. Default: the index.", autocompletion=complete)
