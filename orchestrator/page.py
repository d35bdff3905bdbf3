"""What every page is made of: figures as PNG, sections, one self-contained HTML file."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")

import jinja2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import yaml
from matplotlib.figure import Figure
from pydantic import BaseModel

from physics.model import SpinModel
from physics.render import COLUMNS, strips_figure

PAGE = "report.html"


@dataclass(frozen=True)
class Section:
    """A heading with a text, a figure, a table or code below it.

    Attributes:
        file: the name that the figure has as a file beside the page, if it is one.
    """

    title: str
    text: str = ""
    figure: Figure | None = None
    file: str = ""
    rows: pd.DataFrame | None = None
    code: str = ""


def page(title: str, summary: str, sections: list[Section]) -> dict[str, bytes]:
    """The self-contained page, under the name :data:`PAGE`, and the figures that are files by themselves."""
    images = [None if section.figure is None else _png(section.figure) for section in sections]
    environment = jinja2.Environment(loader=jinja2.PackageLoader("orchestrator"), autoescape=True)
    environment.filters["figure"] = figure_text
    environment.filters["embed"] = lambda content: base64.b64encode(content).decode()
    shown = list(zip(sections, images, strict=True))
    text = environment.get_template(PAGE).render(title=title, summary=summary, sections=shown)
    return {PAGE: text.encode(), **{section.file: image for section, image in shown if section.file and image}}


def figure_text(value: Any) -> str:
    """A number to four digits, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def spread(values: pd.Series) -> str:
    """Mean and standard deviation, the latter to two digits."""
    if len(values) < 2 or not values.std() > 0:
        return f"{values.mean():.6g}"
    digits = min(6, max(0, 1 - int(np.floor(np.log10(values.std())))))
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return buffer.getvalue()


def yaml_section(config: BaseModel) -> Section:
    return Section("Configuration", code=yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def listed(figures: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({"figure": list(figures), "value": list(figures.values())})


def strip_section(title: str, spins: np.ndarray, model: SpinModel) -> Section:
    """Configurations side by side."""
    rows = [("", spins[i : i + COLUMNS]) for i in range(0, len(spins), COLUMNS)]
    return Section(title, figure=strips_figure(rows, model))
