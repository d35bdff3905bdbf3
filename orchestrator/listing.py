"""What the store holds, as a person sees it on the command line: list, show, and the result of a command."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from orchestrator.options import STORE, JsonOption, StoreOption, existing
from orchestrator.store import KINDS, Kind, Store

PANEL = "Look into the store"
LISTED = {"models": ("energy_mean", "kspace_mse", "diversity"), "optima": ("score", "energy")}
WIDE = 10  # columns
HIDDEN = ("shards", "history", "files", "parents")


def register(app: typer.Typer) -> None:
    app.command("list", rich_help_panel=PANEL)(list_command)
    app.command("show", rich_help_panel=PANEL)(show_command)


def list_command(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(KINDS)}; all by default.")] = None,
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """List what the store holds."""
    from rich.console import Console
    from rich.table import Table

    from orchestrator.errors import RequestError

    if kind is not None and kind not in KINDS:
        raise RequestError(f"{kind}: expected one of {', '.join(KINDS)}")
    kinds: tuple[Kind, ...] = (kind,) if kind else KINDS
    entries = list(existing(store).cards(*kinds))
    if as_json:
        print(json.dumps([{"kind": k, "name": name, "figures": c.get("figures")} for k, name, c in entries]))
        return
    table = Table(box=None)
    for column in ("kind", "name", "figures"):
        table.add_column(column, overflow="fold")
    for entry_kind, name, card in entries:
        table.add_row(entry_kind, name, _brief(entry_kind, card))
    Console().print(table)


def show_command(
    name: Annotated[str, typer.Argument(help="A name, or its beginning or end.")],
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Show an artifact's card and its line of descent."""
    target = existing(store)
    kind, found, card = target.find(name)
    if as_json:
        print(json.dumps({"kind": kind, "name": found, **card}))
        return
    print(f"{kind}/{found}\n{target.folder(kind, found)}")
    print(json.dumps({key: value for key, value in card.items() if key not in HIDDEN}, indent=1))
    print("descends from:")
    for depth, parent in _descent(target, card):
        print(f"{'  ' * depth}{parent}")


def _descent(store: Store, card: dict[str, Any]) -> list[tuple[int, str]]:
    """Parents and their parents, each once, with their depth."""
    lines, seen = [], set()
    waiting = [(1, parent) for parent in reversed(card.get("parents", []))]
    while waiting:
        depth, parent = waiting.pop()
        if parent in seen:
            continue
        seen.add(parent)
        kind, _, name = parent.partition("/")
        above = store.card(kind, name) if kind in KINDS else None
        lines.append((depth, parent if above else f"{parent} (missing)"))
        waiting += [(depth + 1, further) for further in reversed((above or {}).get("parents", []))]
    return lines


def _numbers(figures: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in figures.items() if isinstance(value, int | float)}


def _brief(kind: str, card: dict[str, Any]) -> str:
    figures = card.get("figures", {})
    if kind == "datasets":
        made = sum(entry["rows"] for entry in card["shards"])
        return f"{made} of {card['configurations']} configurations"
    if kind == "sweeps":
        figures = {figures["metric"]: figures["best"].get(figures["metric"])} if "metric" in figures else {}
    numbers = _numbers(figures)
    keys = [key for key in LISTED.get(kind, list(numbers)[:4]) if key in numbers]
    return ", ".join(f"{key} {numbers[key]:.4g}" for key in keys)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Rows of one shape."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for column in rows[0]:
        table.add_column(column, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*("-" if v is None else f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)


def _narrow(rows: list[dict[str, Any]], card: dict[str, Any]) -> list[dict[str, Any]]:
    """A table that fits a terminal: of a wide sweep only its points and its metric."""
    if len(rows[0]) <= WIDE or "space" not in card["config"]:
        return rows
    return [
        {key: row[key] for key in ("trial", *card["config"]["space"], "seed", card["figures"]["metric"])}
        for row in rows
    ]


def print_result(kind: Kind, name: str, card: dict[str, Any], store: Store, as_json: bool) -> None:
    """The figures of an artifact and where its files are."""
    folder = store.folder(kind, name)
    if as_json:
        print(json.dumps({"kind": kind, "name": name, "path": folder, **card}))
        return
    figures = card.get("figures", {})
    if isinstance(figures.get("summary"), list):
        print_table(_narrow(figures["summary"], card))
    for key, value in _numbers(figures).items():
        print(f"{key:>30}  {value:.6g}")
    print(folder)
    from orchestrator.page import PAGE

    for file in card.get("files", {PAGE: None}):
        print(f"  {folder}/{file}")
