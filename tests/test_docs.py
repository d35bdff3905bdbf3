"""Excerpts in the docs are code that runs."""

import re
from pathlib import Path

import pytest

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
