"""What descends from what: the artifacts of a store and the lines between them, whatever their cards say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from orchestrator.store import KINDS, Store

Card = dict[str, Any]


def parents_of(card: Mapping[str, Any] | None) -> list[str]:
    """Places, ``models/NAME``, of what an artifact was made from, each once."""
    parents = (card or {}).get("parents")
    return list(dict.fromkeys(p for p in parents if isinstance(p, str))) if isinstance(parents, list) else []


class Lineage:
    """Artifacts by their places, ``models/NAME``, and the lines of descent between them.

    Attributes:
        cards: of the artifacts that are whole, by place: in the order of kinds, the newest first.
        children: of each place, those that are made from it.
        stages: of each sweep, the models that it trained, in their order.
    """

    def __init__(self, cards: Mapping[str, Card]):
        order: dict[str, int] = {kind: number for number, kind in enumerate(KINDS)}
        newest = sorted(cards.items(), key=lambda entry: (str(entry[1].get("created", "")), entry[0]), reverse=True)
        self.cards = dict(sorted(newest, key=lambda entry: order.get(kind_of(entry[0]), len(order))))
        self.children: dict[str, list[str]] = defaultdict(list)
        for place, card in self.cards.items():
            for parent in parents_of(card):
                self.children[parent].append(place)
        self.stages = {
            place: [parent for parent in parents_of(card) if kind_of(parent) == "models" and parent in cards]
            for place, card in self.cards.items()
            if kind_of(place) == "sweeps"
        }

    @classmethod
    def of(cls, store: Store) -> Self:
        return cls({f"{kind}/{name}": card for kind, name, card in store.cards()})

    def sweep_of(self) -> dict[str, str]:
        """Of each model that is a stage of a sweep, the sweep; the oldest, if there are several."""
        return {stage: sweep for sweep, stages in self.stages.items() for stage in stages}

    def ancestors(self, place: str) -> list[tuple[int, str]]:
        """What an artifact was made from, and what that was made from, each once, with how far it is."""
        return _walk(place, lambda at: parents_of(self.cards.get(at)))

    def descendants(self, place: str) -> list[tuple[int, str]]:
        """What was made from an artifact, and what from that, each once, with how far it is."""
        return _walk(place, lambda at: self.children.get(at, []))

    def youngest_first(self, places: Iterable[str]) -> list[str]:
        """The same places, each after those of them that descend from it."""
        wanted = dict.fromkeys(places)
        ordered: dict[str, None] = {}
        for place in wanted:
            entered: dict[str, None] = {}
            waiting = [(place, False)]
            while waiting:
                at, below_is_done = waiting.pop()
                if below_is_done:
                    ordered[at] = None
                elif at not in entered and at not in ordered:
                    entered[at] = None
                    waiting.append((at, True))
                    waiting += [(child, False) for child in self.children.get(at, []) if child in wanted]
        return list(ordered)


def kind_of(place: str) -> str:
    return place.partition("/")[0]


def _walk(start: str, beyond: Callable[[str], list[str]]) -> list[tuple[int, str]]:
    """Depth first, without recursion, since lines may be long and damaged ones may close."""
    found, seen = [], {start}
    waiting = [(1, place) for place in reversed(beyond(start))]
    while waiting:
        depth, place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        found.append((depth, place))
        waiting += [(depth + 1, further) for further in reversed(beyond(place))]
    return found
