"""Removing: orch rm, of what a person names; orch gc, of what no artifact needs."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from orchestrator.catalogue.command import PANEL
from orchestrator.catalogue.lookup import NAMES, find
from orchestrator.console import log
from orchestrator.errors import RequestError
from orchestrator.options import STORE, JsonOption, StoreOption, existing
from orchestrator.store import CARD, KINDS, Store, parts

Entry = dict[str, str | int]

NAMED = 3  # at most, in a message
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print what would be removed and remove nothing.")]


def register(app: typer.Typer) -> None:
    app.command("rm", rich_help_panel=PANEL)(rm_command)
    app.command("gc", rich_help_panel=PANEL)(gc_command)


def rm_command(
    names: Annotated[list[str], NAMES],
    stages: Annotated[
        bool, typer.Option("--stages", help="With a sweep, the models that it trained and nothing else needs.")
    ] = False,
    dry_run: DryRunOption = False,
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Remove artifacts, whole or unfinished, unless something descends from them or a process needs them."""
    target = existing(store)
    wanted, kept = _wanted(target, names, stages)
    removed: list[Entry] = [{"path": place, "bytes": _bytes(target, place), "why": ""} for place in wanted]
    if not dry_run:
        for place in wanted:
            kind, name = parts(place)
            target.remove(kind, name)
        _renew_index(target)
    _print(removed, dry_run, as_json)
    if kept:
        log(f"kept, since others descend from them: {_some(kept)}")


def _wanted(store: Store, names: list[str], stages: bool) -> tuple[list[str], list[str]]:
    """Places of what is to be removed, each before what it descends from, and of the stages that others need.

    Raises:
        RequestError: something descends from one of them, or a process makes it or needs it.
    """
    from orchestrator.catalogue.lineage import Lineage, parents_of
    from orchestrator.catalogue.status import unfinished
    from orchestrator.lease import RUNNING

    lineage = Lineage.of(store)
    wanted = list(dict.fromkeys("/".join(find(store, name)) for name in names))
    kept: list[str] = []
    if stages:
        trained = [stage for place in wanted for stage in lineage.stages.get(place, []) if stage not in wanted]
        for stage in lineage.youngest_first(trained):
            lone = set(lineage.children.get(stage, [])) <= set(wanted)
            (wanted if lone else kept).append(stage)
    for place in wanted:
        if below := [child for child in lineage.children.get(place, []) if child not in wanted]:
            raise RequestError(f"{place}: {_some(below)} descend{'s' * (len(below) == 1)} from it; remove them first")
    for kind, name, record in unfinished(store):
        if record.get("state") != RUNNING:
            continue
        who = f"process {record.get('pid')} on {record.get('host')}"
        if f"{kind}/{name}" in wanted:
            raise RequestError(f"{kind}/{name}: {who} is making it")
        for parent in parents_of(record):
            if parent in wanted:
                raise RequestError(f"{parent}: {who} is making {kind}/{name} from it")
    return lineage.youngest_first(wanted), kept


def _some(places: list[str]) -> str:
    """At most three of them by name."""
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    return ", ".join(places[:NAMED]) + more


def _bytes(store: Store, place: str) -> int:
    """Of an artifact and of the unfinished work on it."""
    return sum(disk_bytes(store, path) for path in (place, store.work(*parts(place))))


def disk_bytes(store: Store, path: str) -> int:
    """Of a file or a folder with all that is in it; 0 if it is not there."""
    try:
        return int(store.fs.du(f"{store.path}/{path}"))
    except (OSError, ValueError):
        return 0


def gc_command(
    days: Annotated[
        float, typer.Option(min=0, help="How long unfinished work has shown no sign before it goes.")
    ] = 7.0,
    dry_run: DryRunOption = False,
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Remove what no artifact needs: abandoned work, damaged and half-written files, leftovers."""
    from orchestrator.catalogue.leftovers import leftovers

    target = existing(store)
    found: list[Entry] = [
        {"path": path, "bytes": disk_bytes(target, path), "why": why} for path, why in leftovers(target, days).items()
    ]
    if not dry_run:
        for entry in found:
            remove(target, str(entry["path"]))
        _renew_index(target)
    _print(found, dry_run, as_json)


def remove(store: Store, path: str) -> None:
    """A file, or a folder with all that is in it."""
    if store.is_folder(path):
        if path.partition("/")[0] in KINDS and store.exists(f"{path}/{CARD}"):
            log(f"kept {path}, which has become whole")
            return
        store.remove_folder(path)
    else:
        store.remove_file(path)


def _renew_index(store: Store) -> None:
    from orchestrator.catalogue import index

    if store.exists(index.INDEX):
        index.renew(store)


def _print(entries: list[Entry], dry_run: bool, as_json: bool) -> None:
    from orchestrator.catalogue.summary import size_text

    total = sum(int(entry["bytes"]) for entry in entries)
    if as_json:
        print(json.dumps({"removed": entries, "bytes": total, "dry_run": dry_run}))
        return
    done = "would remove" if dry_run else "removed"
    for entry in entries:
        why = f", {entry['why']}" if entry["why"] else ""
        print(f"{done} {entry['path']}, {size_text(int(entry['bytes']))}{why}")
    if not entries:
        print("nothing to remove")
    elif len(entries) > 1:
        print(f"{done} {size_text(total)} in all")
