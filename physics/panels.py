"""A figure whose panels a page may lay below each other where it is narrow."""

from __future__ import annotations

import io
from collections import defaultdict
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image
from PIL.PngImagePlugin import PngInfo

DPI = 110
EDGE = 0.08  # inches around what is drawn
KEY = "panels"  # of the text in a PNG that says where its panels are


class Panels(Figure):
    """A figure of rows and columns of panels.

    Args:
        together: rows and columns of panels that are never parted.
    """

    def __init__(self, *args: Any, together: tuple[int, int] = (1, 1), **options: Any):
        super().__init__(*args, **options)
        self.together = together


def png(figure: Figure) -> bytes:
    """The figure as PNG, in which it says where its panels can be cut apart."""
    figure.draw_without_rendering()  # so that everything has its place
    drawn = figure.get_tightbbox().padded(EDGE)
    said = PngInfo()
    said.add_text(KEY, ";".join(",".join(map(str, cuts)) for cuts in _cuts(figure, drawn)))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches=drawn, pil_kwargs={"pnginfo": said})
    return buffer.getvalue()


def parted(content: bytes) -> list[list[tuple[int, bytes]]]:
    """The panels of a PNG, row by row, each with its width in pixels; the whole where it does not say any."""
    image = Image.open(io.BytesIO(content))
    said = getattr(image, "text", {}).get(KEY, ";")
    down, across = ([int(place) for place in cuts.split(",") if place] for cuts in said.split(";"))
    if not down and not across:
        return [[(image.width, content)]]
    rows, columns = ([0, *cuts, size] for cuts, size in zip((down, across), image.size[::-1], strict=True))
    return [
        [(right - left, _cut(image, (left, top, right, bottom))) for left, right in pairwise(columns)]
        for top, bottom in pairwise(rows)
    ]


def _cut(image: Image.Image, box: tuple[int, int, int, int]) -> bytes:
    buffer = io.BytesIO()
    image.crop(box).save(buffer, "PNG")
    return buffer.getvalue()


def _cuts(figure: Figure, drawn: Bbox) -> tuple[list[int], list[int]]:
    """Pixels from the top and from the left at which a row and a column of panels begin, without the first."""
    down, across = getattr(figure, "together", (1, 1))
    tops, lefts = defaultdict[int, list[float]](list), defaultdict[int, list[float]](list)
    for axes in figure.axes:
        place, box = axes.get_subplotspec(), axes.get_tightbbox()
        if place is not None and box is not None:
            inches = box.transformed(figure.dpi_scale_trans.inverted())
            tops[place.rowspan.start // down].append(inches.y1)
            lefts[place.colspan.start // across].append(inches.x0)
    gap = EDGE / 2  # so that letters at the border stay whole
    rows = [round((drawn.y1 - max(tops[row]) - gap) * DPI) for row in sorted(tops)[1:]]
    columns = [round((min(lefts[column]) - gap - drawn.x0) * DPI) for column in sorted(lefts)[1:]]
    return rows, columns
