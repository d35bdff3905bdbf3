"""Docstrings as the reference shows them: roles become code, formulas MathML, and fields stand with their defaults."""

from __future__ import annotations

import re
from typing import Any

from griffe import Class, Extension, Object
from latex2mathml.converter import convert

ROLE = re.compile(r":(?:class|data|func|meth|mod):`~?([^`]+)`")
INLINE = re.compile(r":math:`([^`]+)`")
DISPLAYED = re.compile(r"^( *)\.\. math:: (.+(?:\n\1 +\S.*)*)$", re.MULTILINE)
SEVERAL = re.compile(r"^( +)(\w+), (\w+(?:, \w+)*): ", re.MULTILINE)


def markdown(text: str) -> str:
    """A docstring of Sphinx's roles as Markdown."""
    text = DISPLAYED.sub(lambda found: f"{found[1]}{_mathml(found[2], 'block')}", text)
    text = INLINE.sub(lambda found: f"<span>{_mathml(found[1], 'inline')}</span>", text)  # a span stays in its line
    text = SEVERAL.sub(r"\1\2: (and \3) ", text)
    return ROLE.sub(r"`\1`", text)


def _mathml(latex: str, display: str) -> str:
    return convert(" ".join(latex.split()), display=display)


class Docstrings(Extension):
    """What griffe calls for every object that it reads."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)

    def on_class_members(self, *, cls: Class, **_: Any) -> None:
        """Ends the docstring of a class with its fields and their defaults."""
        fields = [
            f"{name}: {field.annotation}" + (f" = {field.value}" if field.value is not None else "")
            for name, field in cls.attributes.items()
            if field.annotation and "instance-attribute" in field.labels and not field.is_private
        ]
        if fields and cls.docstring:
            cls.docstring.value += "\n\n```python\n" + "\n".join(fields) + "\n```"
