"""Excerpts in the docs are code that runs."""

import re
import tomllib
from pathlib import Path

import pytest
import torch
import yaml

from physics.chiral import ChiralMagnet

ROOT = Path(__file__).parents[1]
EXCERPTS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "adding.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("excerpt", EXCERPTS, ids=lambda text: text.strip().splitlines()[0][:40])
def test_an_excerpt_is_in_the_toys(excerpt):
    assert excerpt in (ROOT / "tests" / "toys.py").read_text()


def test_every_protocol_is_in_the_table():
    text = (ROOT / "docs" / "adding.md").read_text()
    suites = [path.name for path in (ROOT / "tests" / "conformance").glob("test_*.py")]
    assert len(suites) == 6
    for file in (*suites, *re.findall(r"`([\w/]+\.py)`, `[A-Z_]+`", text)):
        assert file in text
    for path in re.findall(r"`((?:physics|nets|search|orchestrator|tests|docs)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path


def test_what_the_readme_links_to_exists():
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text())
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_citation_is_of_this_version_and_of_the_papers_that_the_docs_name():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    named = (ROOT / "docs" / "papers.md").read_text()
    for paper in citation["references"]:
        assert f"*{paper['title']}*" in named
        assert paper.get("doi", "") in named and str(paper["year"]) in named


def test_the_worked_example_of_units_prints_what_it_says(capsys):
    text = (ROOT / "docs" / "physics.md").read_text()
    code, printed = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", text, re.DOTALL).groups()
    exec(code, {})
    assert capsys.readouterr().out == printed


def test_the_units_give_the_energy_of_the_continuum():
    """J = 2 A t and D = D_c a t of docs/physics.md, on a field that varies slowly in every direction."""
    a, t, A, D_c = 0.5, 3.0, 0.7, 0.2  # such that no factor is lost
    L = 256
    x, y = torch.meshgrid(*[torch.arange(L, dtype=torch.float64) * 2 * torch.pi / L] * 2, indexing="xy")
    polar, azimuth = 0.7 * torch.sin(x) + 0.5 * torch.cos(2 * y), 0.9 * torch.cos(x - y) + torch.sin(2 * x)
    m = torch.stack((polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin(), polar.cos()))
    dx, dy = ((torch.roll(m, -1, axis) - torch.roll(m, 1, axis)) / (2 * a) for axis in (-1, -2))
    curl = m[0] * dy[2] - m[1] * dx[2] + m[2] * (dx[1] - dy[0])
    divergence = m[0] * dx[2] + m[1] * dy[2] - m[2] * (dx[0] + dy[1])
    for coupling, dm, density in (
        ({"J": 2 * A * t, "D": 0.0}, "bloch", A * (dx.square() + dy.square()).sum(0)),
        ({"J": 0.0, "D": D_c * a * t}, "bloch", D_c * curl),
        ({"J": 0.0, "D": D_c * a * t}, "neel", D_c * divergence),
    ):
        energy = L**2 * float(ChiralMagnet(**coupling, dm=dm).energy(m))
        assert energy == pytest.approx(float(density.sum()) * a**2 * t, rel=2e-3), (coupling, dm)
