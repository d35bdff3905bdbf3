"""The lineage of a store as a picture: where its boxes and lines are; ``templates/lineage.svg`` draws them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from orchestrator.catalogue.lineage import Lineage, kind_of, parents_of

COLUMN = {"datasets": 0, "models": 1, "sweeps": 1, "optima": 2, "analyses": 2}
HEADINGS = ("data sets", "models and sweeps", "optima and analyses")
MOST = 200  # boxes; the newest are drawn
WIDTH, HEIGHT = 300, 40  # of a box, in pixels
APART = 12  # between boxes of a column
BETWEEN = 120  # columns
TOP, EDGE = 40, 4
LETTERS, SMALL_LETTERS = 38, 41  # that fit into a box


@dataclass(frozen=True)
class Box:
    """An artifact, or a sweep with the models that it trained.

    Attributes:
        x, y: of its upper left corner.
        title: what fits of its name, ``line`` what is said below it.
    """

    place: str
    x: float
    y: float
    title: str
    line: str

    @property
    def kind(self) -> str:
        return kind_of(self.place)


class Picture(NamedTuple):
    """Boxes, the lines between them as SVG paths with the places they join, and how large it all is."""

    boxes: list[Box]
    lines: list[tuple[str, str, str]]
    headings: list[tuple[float, str]]
    width: float
    height: float
    left_out: int


def picture(lineage: Lineage, said: Mapping[str, str]) -> Picture:
    """The picture of a lineage.

    Args:
        said: what stands below the name of an artifact, by place.
    """
    merged = lineage.sweep_of()
    known = [place for place in lineage.cards if place not in merged and kind_of(place) in COLUMN]
    newest = sorted(known, key=lambda place: str(lineage.cards[place].get("created", "")), reverse=True)
    drawn = set(newest[:MOST])
    joined = _joined(lineage, merged, drawn)
    columns = _ordered(drawn, joined, lineage)
    rows = max(map(len, columns), default=0)
    at = {}
    for number, column in enumerate(columns):
        step = max(1, rows) * (HEIGHT + APART) / max(1, len(column))
        for row, place in enumerate(column):
            at[place] = EDGE + number * (WIDTH + BETWEEN), TOP + (row + 0.5) * step - HEIGHT / 2
    boxes = [Box(place, *at[place], _cut(place.partition("/")[2]), _line(place, lineage, said)) for place in at]
    lines = [(parent, child, _curve(at[parent], at[child])) for parent, child in joined]
    headings = [
        (float(EDGE + number * (WIDTH + BETWEEN)), text) for number, text in enumerate(HEADINGS) if columns[number]
    ]
    # lines within the last column bulge beyond it
    width = 3 * WIDTH + 2 * BETWEEN + 2 * EDGE + BETWEEN / 2 * any(at[a][0] == at[b][0] for a, b in joined)
    return Picture(boxes, lines, headings, width, TOP + rows * (HEIGHT + APART), len(known) - len(drawn))


def _joined(lineage: Lineage, merged: Mapping[str, str], drawn: set[str]) -> list[tuple[str, str]]:
    """Parent and child of each line, stages standing for their sweep."""
    pairs = {
        (merged.get(parent, parent), merged.get(place, place)): None
        for place, card in lineage.cards.items()
        for parent in parents_of(card)
    }
    return [(parent, child) for parent, child in pairs if parent != child and parent in drawn and child in drawn]


def _ordered(drawn: set[str], joined: list[tuple[str, str]], lineage: Lineage) -> list[list[str]]:
    """The boxes of each column from top to bottom, near to what they are made from so that few lines cross."""
    parents = defaultdict(list)
    for parent, child in joined:
        parents[child].append(parent)
    height: dict[str, float] = {}

    def middle(place: str) -> float:
        above = [height[parent] for parent in parents[place] if parent in height]
        return sum(above) / len(above) if above else 2.0  # those without parents come last

    columns = []
    for number in range(len(HEADINGS)):
        column = [place for place in lineage.cards if place in drawn and COLUMN[kind_of(place)] == number]
        column.sort(key=middle)
        height.update({place: (row + 0.5) / len(column) for row, place in enumerate(column)})
        columns.append(column)
    return columns


def _curve(start: tuple[float, float], end: tuple[float, float]) -> str:
    """A cubic curve from the right of one box to the left of another; within a column, from right to right."""
    x1, y1, y2 = start[0] + WIDTH, start[1] + HEIGHT / 2, end[1] + HEIGHT / 2
    if start[0] == end[0]:
        bulge = x1 + BETWEEN / 2
        return f"M{x1:g} {y1:.1f}C{bulge:g} {y1:.1f} {bulge:g} {y2:.1f} {x1:g} {y2:.1f}"
    middle = (x1 + end[0]) / 2
    return f"M{x1:g} {y1:.1f}C{middle:g} {y1:.1f} {middle:g} {y2:.1f} {end[0]:g} {y2:.1f}"


def _line(place: str, lineage: Lineage, said: Mapping[str, str]) -> str:
    stages = len(lineage.stages.get(place, []))
    models = f"{stages} model{'s' * (stages > 1)}" if stages else ""
    text = ", ".join(text for text in (models, said.get(place, "")) if text)
    return text if len(text) <= SMALL_LETTERS else f"{text[: SMALL_LETTERS - 1]}…"


def _cut(text: str) -> str:
    """What fits into a box, the end of a name kept since names differ there."""
    return text if len(text) <= LETTERS else f"{text[: LETTERS - 14]}…{text[-13:]}"
