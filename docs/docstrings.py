"""Docstrings as the reference shows them: roles of Sphinx become code, formulas in LaTeX become MathML."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object
from latex2mathml.converter import convert

ROLE = re.compile(r":(?:class|data|func|meth|mod):`~?([^`]+)`")
INLINE = re.compile(r":math:`([^`]+)`")
DISPLAYED = re.compile(r"^( *)\.\. math:: (.+(?:\n\1 +\S.*)*)$", re.MULTILINE)


def markdown(text: str) -> str:
    """A docstring of Sphinx's roles as Markdown."""
    text = DISPLAYED.sub(lambda found: f"{found[1]}{_mathml(found[2], 'block')}", text)
    text = INLINE.sub(lambda found: f"<span>{_mathml(found[1], 'inline')}</span>", text)  # a span stays in its line
    return ROLE.sub(r"`\1`", text)


def _mathml(latex: str, display: str) -> str:
    return convert(" ".join(latex.split()), display=display)


class Docstrings(Extension):
    """What griffe calls for every object that it reads."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
