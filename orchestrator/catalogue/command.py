"""Looking into the store: orch list, show, compare, open."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from orchestrator.catalogue.lookup import NAME, OPTIONAL_NAME, find
from orchestrator.errors import RequestError
from orchestrator.options import STORE, JsonOption, StoreOption, existing
from orchestrator.store import KINDS, Kind, Store
from physics.registry import printable

PANEL = "Look into the store"
BULK = ("shards", "history", "files", "parents", "config", "given", "figures", "checksum", "kind", "said")
DEEPEST = 12  # steps of indentation


def register(app: typer.Typer) -> None:
    app.command("list", rich_help_panel=PANEL)(list_command)
    app.command("show", rich_help_panel=PANEL)(show_command)
    app.command("compare", rich_help_panel=PANEL)(compare_command)
    app.command("open", rich_help_panel=PANEL)(open_command)


def list_command(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(KINDS)}; all by default.")] = None,
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """List what the store holds, the newest first; what a sweep trained is below it."""
    from orchestrator.catalogue import summary
    from orchestrator.catalogue.lineage import Lineage, kind_of
    from orchestrator.result import print_lines

    if kind is not None and kind not in KINDS:
        raise RequestError(f"{kind}: expected one of {', '.join(KINDS)}")
    lineage = Lineage.of(existing(store))
    apart = summary.parameters(lineage.cards)
    stages = set() if kind == "models" else set(lineage.sweep_of())
    shown: list[tuple[str, str]] = []
    for place in lineage.cards:
        if place not in stages and kind in (None, kind_of(place)):
            shown.append(("", place))
            shown += [("  ", stage) for stage in lineage.stages.get(place, [])]
    if as_json:
        print(json.dumps([_entry(place, lineage, apart) for indent, place in shown if not indent]))
        return
    if shown:
        rows = [_row(indent, place, lineage.cards[place], apart[place]) for indent, place in shown]
        print_lines(("name", "made", "size", "figures; what tells it apart"), rows)


def _row(indent: str, place: str, card: dict[str, Any], apart: dict[str, Any]) -> tuple[str, ...]:
    from orchestrator.catalogue import summary

    said = summary.figures_line(place.partition("/")[0], card), summary.parameters_line(apart)
    name, size = indent + printable(place), summary.size_text(summary.size(card))
    return name, summary.created(card), size, "; ".join(text for text in said if text)


def _entry(place: str, lineage: Any, apart: dict[str, dict[str, Any]]) -> dict[str, Any]:
    from orchestrator.catalogue import summary

    card = lineage.cards[place]
    kind, _, name = place.partition("/")
    stages = [_entry(stage, lineage, apart) for stage in lineage.stages.get(place, [])]
    return {
        "kind": kind,
        "name": name,
        "created": card.get("created"),
        "bytes": summary.size(card),
        "parameters": apart[place],
        "figures": card.get("figures"),
        **({"stages": stages} if kind == "sweeps" else {}),
    }


def show_command(
    name: Annotated[str, NAME],
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Show what an artifact is, what it descends from, what descends from it, and where its files are."""
    from orchestrator.catalogue.lineage import Lineage
    from orchestrator.catalogue.status import print_unfinished

    target = existing(store)
    kind, found = find(target, name)
    card = target.card(kind, found)
    if card is None:
        print_unfinished(target, kind, found, as_json)
        return
    lineage = Lineage.of(target)
    above, below = (walk(f"{kind}/{found}") for walk in (lineage.ancestors, lineage.descendants))
    if as_json:
        descent = {"ancestors": [place for _, place in above], "descendants": [place for _, place in below]}
        print(json.dumps({"kind": kind, "name": found, "path": target.folder(kind, found), **card, **descent}))
        return
    _print_card(target, kind, found, card)
    for heading, line in (("descends from", above), ("what descends from it", below)):
        print(f"{heading}:" if line else f"{heading}: nothing")
        for depth, place in line:
            print(f"{'  ' * min(depth, DEEPEST)}{place}{'' if place in lineage.cards else ' (missing)'}")


def _print_card(store: Store, kind: Kind, name: str, card: dict[str, Any]) -> None:
    from orchestrator.catalogue import summary
    from orchestrator.result import addresses

    print(f"{kind}/{name}")
    about = {key: value for key, value in card.items() if key not in BULK}
    about |= {"created": summary.created(card), "size": summary.size_text(summary.size(card))}
    for heading, content in (("", about), ("configuration", card.get("config")), ("figures", card.get("figures"))):
        if heading and content:
            print(f"{heading}:")
        for key, value in summary.flat(content or {}).items():
            said = f"{len(value)} row{'s' * (len(value) > 1)}" if _is_table(value) else summary.value_text(value)
            print(f"  {key:<30}  {said}")
    for text in card.get("said", []):
        print(f"  {text}")
    print(f"files: {store.folder(kind, name)}")
    if card.get("shards"):
        print(f"  {len(card['shards'])} shards, {store.inside(kind, name, card['shards'][0]['file'])} and on")
    for address in addresses(store, kind, name, card).values():
        print(f"  {address}")


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def compare_command(
    a: Annotated[str, NAME],
    b: Annotated[str, NAME],
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Compare two artifacts of a kind: the settings that differ, and the figures of both."""
    from orchestrator.catalogue.comparing import compare, print_comparison

    target = existing(store)
    first, second = target.find(a), target.find(b)
    if first[0] != second[0]:
        raise RequestError(f"{a}, {b}: expected two artifacts of a kind, found {first[0]} and {second[0]}")
    comparison = compare(first, second)
    if as_json:
        print(json.dumps(comparison))
        return
    print_comparison(comparison)


def open_command(
    name: Annotated[str | None, OPTIONAL_NAME] = None,
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Open the page of an artifact, or without a name the index of the store, in a browser."""
    from orchestrator.catalogue import index

    target = existing(store)
    index.write(target)
    path = f"{target.path}/{_page(target, name) if name else index.INDEX}"
    address = path if target.local else target.fs.unstrip_protocol(path)
    print(json.dumps({"address": address}) if as_json else address)
    if target.local:
        typer.launch(address)


def _page(store: Store, text: str) -> str:
    """Path of the page of an artifact, or of unfinished work as far as it is."""
    from orchestrator.html import PAGE, file_path

    kind, name = find(store, text)
    card = store.card(kind, name)
    unfinished = f"{store.work(kind, name)}/{PAGE}"
    page = file_path(f"{kind}/{name}", card, PAGE) if card else unfinished if store.exists(unfinished) else None
    if page is None:
        raise RequestError(f"{kind}/{name}: has no page; 'orch show {name}' prints what there is")
    return page
