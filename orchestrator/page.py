"""What every page is made of: figures as PNG, sections, one self-contained HTML file."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure
from PIL import Image
from pydantic import BaseModel

from orchestrator.console import log
from orchestrator.files import in_a_line
from orchestrator.html import PAGE, REQUEST, THUMBNAIL, page_path, template
from orchestrator.store import Kind, Store
from physics.model import SpinModel
from physics.render import COLUMNS, strips_figure

THUMBNAIL_PIXELS = (360, 240)


@dataclass(frozen=True)
class Section:
    """A heading with a text, a figure or a table below it.

    Attributes:
        figure: one that is drawn here, or a PNG that was drawn before.
        code: a command, shown as it is typed.
        file: the name that the figure has as a file beside the page, if it is one.
        cover: whether the artifact is known by this figure in the index of the store.
    """

    title: str
    text: str = ""
    figure: Figure | bytes | None = None
    file: str = ""
    rows: pd.DataFrame | None = None
    cover: bool = False
    code: str = ""


class Origin(NamedTuple):
    """Where an artifact comes from.

    Attributes:
        place: its kind and name, ``models/NAME``.
        config: the request.
        command: what makes it again, up to the option that names the request's file.
        parents: places of what it was made from, each with the path of its page.
        root: of the store, as the page sees it.
        address: of a store that is no folder.
    """

    place: str
    config: BaseModel
    command: str
    parents: Sequence[tuple[str, str]] = ()
    root: str = "../.."
    address: str = ""

    @property
    def again(self) -> str:
        if self.address:
            return f"{self.command} {REQUEST} --store {self.address}"
        return f"{self.command} {self.place}/{REQUEST} --store ."


def origin(store: Store, kind: Kind, name: str, config: BaseModel, command: str, parents: Sequence[str] = ()) -> Origin:
    """The :class:`Origin` of an artifact whose parents are in the store."""
    made_from = [(parent, page_path(store, parent)) for parent in parents]
    return Origin(f"{kind}/{name}", config, command, made_from, address="" if store.local else store.root)


def request_file(config: BaseModel) -> dict[str, bytes]:
    """The request, under its file's name; given to the command again it finds the artifact."""
    return {REQUEST: yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode()}


def page(title: str, summary: str, sections: list[Section], origin: Origin) -> dict[str, bytes]:
    """The self-contained page under the name :data:`PAGE`, the figures that are files by themselves, the request."""
    images = [None if section.figure is None else _png(section.figure) for section in sections]
    shown = list(zip(sections, images, strict=True))
    request = request_file(origin.config)
    text = template(PAGE).render(
        title=title, summary=summary, sections=shown, origin=origin, request=request[REQUEST].decode()
    )
    covers = [image for section, image in shown if image and section.cover] or [image for image in images if image]
    return {
        PAGE: text.encode(),
        **request,
        **{section.file: image for section, image in shown if section.file and image},
        **({THUMBNAIL: _thumbnail(covers[0])} if covers else {}),
    }


def drawn(draw: Callable[[], dict[str, bytes]], config: BaseModel) -> dict[str, bytes]:
    """The files of a page, or the request alone if it cannot be drawn: no page is worth the work that it shows."""
    try:
        return draw()
    except Exception as error:
        log(f"no page: {type(error).__name__}: {in_a_line(error)}")
        plt.close("all")
        return request_file(config)


def spread(values: pd.Series) -> str:
    """Mean and standard deviation, the latter to two digits."""
    if len(values) < 2 or not values.std() > 0:
        return f"{values.mean():.6g}"
    digits = min(6, max(0, 1 - int(np.floor(np.log10(values.std())))))
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def _png(figure: Figure | bytes) -> bytes:
    if isinstance(figure, bytes):
        return figure
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return buffer.getvalue()


def _thumbnail(png: bytes) -> bytes:
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.thumbnail(THUMBNAIL_PIXELS)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def listed(figures: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({"figure": list(figures), "value": list(figures.values())})


def strip_section(title: str, spins: np.ndarray, model: SpinModel) -> Section:
    """Configurations side by side."""
    rows = [("", spins[i : i + COLUMNS]) for i in range(0, len(spins), COLUMNS)]
    return Section(title, figure=strips_figure(rows, model), cover=True)
