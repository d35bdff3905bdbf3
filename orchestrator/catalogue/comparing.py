"""Two artifacts of a kind side by side."""

from __future__ import annotations

from typing import Any

from orchestrator.catalogue import summary
from orchestrator.catalogue.lineage import Card, parents_of
from orchestrator.store import Kind

Found = tuple[Kind, str, Card]
UNSAID = "-"


def compare(a: Found, b: Found) -> dict[str, Any]:
    """The settings that differ and the figures of both: of each its dotted key, its two values, their difference."""
    (kind, first, card_a), (_, second, card_b) = a, b
    settings = _settings(kind, card_a), _settings(kind, card_b)
    figures = _figures(kind, card_a), _figures(kind, card_b)
    return {
        "kind": kind,
        "a": first,
        "b": second,
        "settings": [
            {"key": key, "a": settings[0].get(key, UNSAID), "b": settings[1].get(key, UNSAID)}
            for key in dict.fromkeys([*settings[0], *settings[1]])
            if settings[0].get(key, UNSAID) != settings[1].get(key, UNSAID)
        ],
        "figures": [
            {"key": key, "a": x, "b": y, "difference": None if x is None or y is None else y - x}
            for key in dict.fromkeys([*figures[0], *figures[1]])
            for x, y in [(figures[0].get(key), figures[1].get(key))]
        ],
    }


def _settings(kind: Kind, card: Card) -> dict[str, Any]:
    """Dotted keys, and what an optimum or an analysis was made from, which its configuration does not say."""
    made_from = {"made from": ", ".join(parents_of(card))} if kind in ("optima", "analyses") else {}
    return made_from | summary.flat(card.get("config") or {})


def _figures(kind: Kind, card: Card) -> dict[str, float]:
    known = summary.flat(card.get("figures") or {})
    if kind == "models":
        known = {"steps": (card.get("config") or {}).get("steps"), "seconds": card.get("seconds"), **known}
    return {key: value for key, value in known.items() if summary.number(value)}


def print_comparison(comparison: dict[str, Any]) -> None:
    """Two tables, whose lines are not broken."""
    from orchestrator.result import print_lines

    print(f"a: {comparison['kind']}/{comparison['a']}\nb: {comparison['kind']}/{comparison['b']}")
    text = summary.value_text
    settings = [(row["key"], text(row["a"]), text(row["b"])) for row in comparison["settings"]]
    if settings:
        print("settings that differ:")
        print_lines(("key", "a", "b"), settings)
    else:
        print("settings that differ: none")
    figures = [
        (row["key"], text(row["a"]), text(row["b"]), "-" if row["difference"] is None else f"{row['difference']:+.4g}")
        for row in comparison["figures"]
    ]
    if figures:
        print("figures:")
        print_lines(("figure", "a", "b", "b - a"), figures)
