"""Where the pages of a store lie and what their templates share; nothing here is slow to import."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2

    from orchestrator.store import Store

PAGE = "report.html"
REQUEST = "request.yaml"
THUMBNAIL = "thumbnail.png"


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
    environment.filters["figure"] = figure_text
    environment.filters["embed"] = lambda content: base64.b64encode(content).decode()
    return environment.get_template(name)


def figure_text(value: Any) -> str:
    """A number to four digits, a dash where there is none, anything else as it is."""
    if value != value:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
