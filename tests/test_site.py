"""The documentation builds without a warning, and nothing that it refers to in itself is missing."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ("mkdocs", "material", "mkdocstrings", "latex2mathml")

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in DOCS),
    reason="mkdocs is not installed: pip install -r requirements.lock, or pip install '.[docs]'",
)


class Page(HTMLParser):
    """What a page refers to, and the anchors that it has."""

    def __init__(self, path: Path):
        super().__init__()
        self.references: list[str] = []
        self.anchors = {""}
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("href", "src") and value is not None:
                self.references.append(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def broken(site: Path) -> list[str]:
    """References between pages, to anchors and to files that lead nowhere."""
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for reference in page.references:
            parts = urlsplit(reference)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchors = pages[target].anchors if target in pages else {""}
            if not target.is_file() or unquote(parts.fragment) not in anchors:
                found.append(f"{path.relative_to(site.resolve())}: {reference}")
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_link_anchor_and_picture_of_the_site_exists(site: Path):
    assert not broken(site)


def test_a_link_an_anchor_and_a_picture_that_are_missing_are_found(tmp_path: Path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there"></a><a href="b.html#gone"></a><a href="c.html"></a><img src="d.png"><i id="here"></i>'
        '<a href="#here"></a><a href="#nowhere"></a><a href="https://example.org/e"></a>'
    )
    (tmp_path / "b.html").write_text('<h1 id="there"></h1>')
    assert broken(tmp_path) == [f"a.html: {name}" for name in ("b.html#gone", "c.html", "d.png", "#nowhere")]


def test_nothing_of_the_site_is_fetched_from_elsewhere(site: Path):
    page = (site / "index.html").read_text()
    assert not [line for line in page.split("<") if line.startswith(("script", "link")) and "//" in line.split(">")[0]]


def test_the_reference_has_every_protocol_with_its_formulas(site: Path):
    for page, names in {
        "physics": ("physics.model.SpinModel", "physics.sampler.Sampler", "physics.chiral.ChiralMagnet"),
        "nets": ("nets.system.SystemSettings",),
        "search": ("search.optimizer.Optimizer", "search.objectives.Objective"),
        "orchestrator": ("orchestrator.sweeps.program.TrialProgram", "orchestrator.store.Store"),
    }.items():
        path = site / "reference" / f"{page}.html"
        assert set(names) <= Page(path).anchors, page
        text = path.read_text()
        assert ":class:" not in text and ".. math" not in text, page
    text = (site / "reference" / "physics.html").read_text()
    assert "<math" in text
    assert re.search(r"T_start.{,80}PositiveFloat.{,80}1\.0", text), "fields stand with their defaults"


def test_the_notebook_stands_on_its_page_with_what_it_draws(site: Path):
    text = (site / "notebook.html").read_text()
    assert "notebook: notebooks" not in text
    assert text.count('src="data:image/png;base64,') >= 2


def test_the_six_examples_are_shown_as_they_are_tested(site: Path):
    shown = "".join(path.read_text() for path in (site / "protocols").glob("*.html"))
    assert "8&lt;--" not in shown and "--8" not in shown
    for name in ("Ising", "Glauber", "LinearVAE", "HillClimbing", "Order", "Twice"):
        assert f'<span class="nc">{name}</span>' in shown, name
