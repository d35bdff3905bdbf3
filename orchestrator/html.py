"""Where the pages of a store lie and what their templates share; nothing here is slow to import."""

from __future__ import annotations

import base64
import math
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple

from nets.words import is_setting, words

if TYPE_CHECKING:
    import jinja2
    import pandas as pd

    from orchestrator.store import Store
    from physics.model import SpinModel

PAGE = "report.html"
REQUEST = "request.yaml"
THUMBNAIL = "thumbnail.png"
NOISE = 5e-7  # what float32 leaves of a zero
NAMES = ("figure", "curve")  # columns whose cells are names of figures


def file_path(place: str, card: dict[str, Any] | None, file: str) -> str | None:
    """Of a file of an artifact, relative to the root of the store; None if its card lists no such file."""
    entry = (card or {}).get("files", {}).get(file)
    return f"{place}/{entry.get('at', file)}" if entry else None


def page_path(store: Store, place: str) -> str:
    """Of the page of an artifact, or of its folder if it has no page, relative to the root of the store."""
    from orchestrator.store import KINDS

    kind, _, name = place.partition("/")
    card = store.card(kind, name) if kind in KINDS else None
    return file_path(place, card, PAGE) or f"{place}/"


def template(name: str) -> jinja2.Template:
    """A template of the package, which escapes what it prints."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("orchestrator"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["embed"] = lambda content: base64.b64encode(content).decode()
    return environment.get_template(name)


def figure_text(value: Any, noise: float = NOISE) -> str:
    """A number to four digits, 0 if it is below ``noise``, a dash where there is none, anything else as it is."""
    if value is None or value != value:
        return "-"
    if str(value) in ("True", "False"):
        return "yes" if value else "no"
    if not isinstance(value, Real) or isinstance(value, Integral):
        return str(value)
    number = float(value)
    return f"{0.0 if abs(number) < noise else number:.4g}"


class Column(NamedTuple):
    """The name of a figure, what it is called, and whether its cells are "words" or "numbers"."""

    name: str
    said: str
    kind: str


class Table(NamedTuple):
    """A table as a page has it, its cells as texts."""

    columns: list[Column]
    rows: list[list[str]]


def table(rows: pd.DataFrame, model: SpinModel | None = None) -> Table:
    """Words and units for the names of figures, and numbers as :func:`figure_text` has them.

    A column of settings has them however small they are.  Where two columns would be called the same, settings say of
    what they are.
    """
    names = [str(name) for name in rows.columns]
    said = [words(name, model) for name in names]
    of = [name.rpartition(".")[0].replace(".", " ").replace("_", " ") for name in names]
    said = [
        f"{text} ({whose})" if whose and said.count(text) > 1 else text for text, whose in zip(said, of, strict=True)
    ]
    texts = [_texts(name, rows.iloc[:, number], model) for number, name in enumerate(names)]
    kinds = ["words" if any(text[:1].isalpha() for text in cells) else "numbers" for cells in texts]
    columns = [Column(*about) for about in zip(names, said, kinds, strict=True)]
    return Table(columns, [list(row) for row in zip(*texts, strict=True)])


def _texts(name: str, values: pd.Series, model: SpinModel | None) -> list[str]:
    if name in NAMES:
        return [words(str(value), model) for value in values]
    numbers = [abs(float(value)) for value in values if isinstance(value, Real) and math.isfinite(value)]
    noise = 0.0 if is_setting(name) else max(NOISE, 1e-7 * max(numbers, default=0.0))
    return [figure_text(value, noise) for value in values]
