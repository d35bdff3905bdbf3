"""What a reader sees of a page, and whether it explains itself."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from orchestrator.catalogue import index
from orchestrator.store import Store

NAME = re.compile(r"[a-z]{3,}_[a-z]|[a-z]_[a-z]{3,}|\b(beta|gamma)\b")  # of a figure on a card, not a symbol like M_z
ZERO = re.compile(r"-0(\.0*)?")
ROUNDING = re.compile(r"-?[\d.]+e-(0[89]|[1-9]\d)")


def elements(page: str, tag: str) -> list[str]:
    """The texts of the elements of a kind, in their order."""
    found = re.findall(rf"<{tag}(?: [^>]*)?>(.*?)</{tag}>", page, re.DOTALL)
    return [unescape(re.sub("<[^>]*>", "", text)).strip() for text in found]


def check_page(page: str) -> None:
    """Every section says what one sees, in words and units; tables scroll, and no number is rounding."""
    headings = elements(page, "h2")
    for heading, following in zip(headings, re.findall(r"</h2>\s*<(\w+)", page), strict=True):
        assert following in ("p", "ul"), f"{heading}: no text"
    for text in elements(page, "p"):
        assert text and not re.search(r"[a-z]{3,}_[a-z]+ (is|of|=)", text), text
    for heading in elements(page, "th"):
        assert heading and not NAME.search(heading), heading
    for cell in elements(page, "td"):
        assert not ZERO.fullmatch(cell) and not ROUNDING.fullmatch(cell), cell
    for table in re.findall(r"<tr>.*?</table>", page, re.DOTALL):
        rows = [elements(row, "t[hd]") for row in elements_html(table, "tr")]
        for column, name in enumerate(rows[0]):
            if name in ("figure", "curve"):
                assert not [row[column] for row in rows[1:] if NAME.search(row[column])]
    assert page.count("<table") == page.count('<div class="scroll"><table'), "a table that does not scroll"
    for image in re.findall("<img [^>]*>", page):
        assert re.search('alt="[^"]+"', image), image[:60]
        assert "max-width: min(100%" in image or 'src="data:' not in image, image[:60]


def elements_html(page: str, tag: str) -> list[str]:
    return re.findall(rf"<{tag}(?: [^>]*)?>(.*?)</{tag}>", page, re.DOTALL)


def check_pages(store: Store) -> list[str]:
    """Of all artifacts of a store; returns their kinds and what their names begin with."""
    pages = sorted(Path(store.path).rglob("report.html"))
    for path in pages:
        check_page(path.read_text())
    check_page(index.render(store))
    return [f"{path.parts[-3]}/{path.parts[-2].partition('-')[0]}" for path in pages]
