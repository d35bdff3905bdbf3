"""Tables on the command line, and the result of a command that makes something."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from orchestrator.html import figure_text
from orchestrator.store import Kind, Store

WIDE = 10  # columns


def print_lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """An unbroken line a row, whoever reads it; under a heading on a terminal."""
    terminal = sys.stdout.isatty()
    lines = aligned([columns, *rows] if terminal else rows)
    if terminal:
        from rich.console import Console

        Console().print(lines.pop(0), style="bold", soft_wrap=True, markup=False, highlight=False)
    print("\n".join(lines))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line a row, its columns below each other."""
    widths = [*(max(map(len, cells)) for cells in list(zip(*rows, strict=True))[:-1]), 0]
    return ["  ".join(f"{cell:{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def print_table(rows: list[dict[str, Any]]) -> None:
    """Rows of one shape."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for column in rows[0]:
        table.add_column(column, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*map(figure_text, row.values(), [0.0] * len(row)))
    Console().print(table)


def _narrow(rows: list[dict[str, Any]], card: dict[str, Any]) -> list[dict[str, Any]]:
    """A table that fits a terminal: of a wide sweep only its points and its metric."""
    if len(rows[0]) <= WIDE or "space" not in card["config"]:
        return rows
    metric = card["figures"]["metric"]
    columns = ("trial", *card["config"]["space"], "seed", *([metric] if isinstance(metric, str) else metric))
    marks = [key for key in ("front", "pruned") if key in rows[0]]
    return [{key: row[key] for key in (*columns, *marks)} for row in rows]


def print_result(kind: Kind, name: str, card: dict[str, Any], store: Store, as_json: bool) -> None:
    """The figures of an artifact and where its files are."""
    folder = store.folder(kind, name)
    if as_json:
        print(json.dumps({"kind": kind, "name": name, "path": folder, **card}))
        return
    figures = card.get("figures", {})
    if isinstance(figures.get("summary"), list):
        print_table(_narrow(figures["summary"], card))
    for key, value in figures.items():
        if isinstance(value, int | float):
            print(f"{key:>30}  {value:.6g}")
    for text in card.get("said", []):
        print(f"  {text}")
    print(folder)
    for address in addresses(store, kind, name, card).values():
        print(f"  {address}")


def addresses(store: Store, kind: Kind, name: str, card: dict[str, Any]) -> dict[str, str]:
    """Where the files of an artifact lie that its card lists, without the shards of a data set."""
    return {file: store.inside(kind, name, entry.get("at", file)) for file, entry in card.get("files", {}).items()}
