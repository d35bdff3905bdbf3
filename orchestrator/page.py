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
from matplotlib.rcsetup import cycler
from PIL import Image
from pydantic import BaseModel

from orchestrator.console import log
from orchestrator.files import in_a_line
from orchestrator.html import NOISE, PAGE, REQUEST, THUMBNAIL, page_path, table, template
from orchestrator.store import Kind, Store
from physics.masks import is_mask, sites_text
from physics.model import SpinModel
from physics.panels import parted, png
from physics.render import COLUMNS, strips_figure

LINES = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6000"  # told apart without red and green
matplotlib.rcParams["axes.prop_cycle"] = cycler(color=LINES)

THUMBNAIL_PIXELS = (360, 240)


@dataclass(frozen=True)
class Section:
    """A heading with a text, a figure or a table below it.

    Attributes:
        text: about two sentences on what one sees, for a reader who has not read the papers.
        figure: one that is drawn here, or a PNG that was drawn before.
        code: a command, shown as it is typed.
        file: the name that the figure has as a file beside the page, if it is one.
        cover: whether the artifact is known by this figure in the index of the store.
    """

    title: str
    text: str
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


def page(
    title: str,
    summary: str,
    sections: list[Section],
    origin: Origin,
    model: SpinModel | None = None,
    said: Sequence[str] = (),
) -> dict[str, bytes]:
    """The self-contained page under the name :data:`PAGE`, the figures that are files by themselves, the request.

    Args:
        model: whose observables the tables have.
        said: sentences on what was asked for and not reached, or what else one should know first.
    """
    images = [None if section.figure is None else _png(section.figure) for section in sections]
    shown = list(zip(sections, images, strict=True))
    text = template(PAGE).render(
        title=title,
        summary=summary,
        said=said,
        sections=[
            (section, parted(image) if image else [], None if section.rows is None else table(section.rows, model))
            for section, image in shown
        ],
        origin=origin,
        request=yaml.safe_dump(_readable(origin.config.model_dump(mode="json")), sort_keys=False, allow_unicode=True),
    )
    covers = [image for section, image in shown if image and section.cover] or [image for image in images if image]
    return {
        PAGE: text.encode(),
        **request_file(origin.config),
        **{section.file: image for section, image in shown if section.file and image},
        **({THUMBNAIL: _thumbnail(covers[0])} if covers else {}),
    }


def _readable(content: Any) -> Any:
    """Settings with masks as words."""
    if is_mask(content):
        return sites_text(content)
    if isinstance(content, dict):
        return {key: _readable(value) for key, value in content.items()}
    return [_readable(value) for value in content] if isinstance(content, list) else content


def drawn(draw: Callable[[], dict[str, bytes]], config: BaseModel) -> dict[str, bytes]:
    """The files of a page, or the request alone if it cannot be drawn: no page is worth the work that it shows."""
    try:
        return draw()
    except Exception as error:
        log(f"no page: {type(error).__name__}: {in_a_line(error)}")
        plt.close("all")
        return request_file(config)


def spread(values: pd.Series) -> str:
    """Mean and standard deviation, the latter to two digits; the mean alone where there is none."""
    mean, deviation = float(values.mean()), float(values.std())
    if len(values) < 2 or not deviation > NOISE:
        return f"{0.0 if abs(mean) < NOISE else mean:.6g}"
    digits = min(6, max(0, 1 - int(np.floor(np.log10(deviation)))))
    return f"{mean:z.{digits}f} ± {deviation:.{digits}f}"


def _png(figure: Figure | bytes) -> bytes:
    if isinstance(figure, bytes):
        return figure
    content = png(figure)
    plt.close(figure)
    return content


def _thumbnail(png: bytes) -> bytes:
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.thumbnail(THUMBNAIL_PIXELS)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def listed(figures: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({"figure": list(figures), "value": list(figures.values())})


def strip_section(title: str, text: str, spins: np.ndarray, model: SpinModel) -> Section:
    """Configurations side by side."""
    rows = [("", spins[i : i + COLUMNS]) for i in range(0, len(spins), COLUMNS)]
    return Section(title, text, strips_figure(rows, model), cover=True)
