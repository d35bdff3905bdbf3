"""YAML as people write it: the one reader of request files and of the values of ``--set``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from orchestrator.errors import RequestError
from physics.registry import cut, shown, writable

MOST_VALUES = 20_000
DEEPEST = 20
LARGEST = 10**18


class _Loader(yaml.SafeLoader):
    """Sections, lists, text, true, false and numbers: 1e-3 is one, as in YAML 1.2, and 1:30 or a date is text.

    A key that is given twice is refused, and so is a tag of any other kind of value.
    """

    nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.nodes += 1
        if self.nodes > 2 * MOST_VALUES:  # keys are nodes as well
            raise ConstructorError(None, None, f"more than {MOST_VALUES:,} values")
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        found: set[str] = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and key.value in found:
                raise ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
            found.add(str(key.value))
        return node

    def flatten_mapping(self, node: Any) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MOST_VALUES:  # of merges that are merged in turn
            raise ConstructorError(None, None, "too many merged keys", node.start_mark)

    def construct_number(self, node: Any) -> Any:
        """A number, or the text where it is none or too long for one, for the field's own message."""
        text = self.construct_scalar(node)
        kind = int if node.tag == _tag("int") else float
        try:
            return kind(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text.lower()))
        except ValueError:
            return text


def _tag(kind: str) -> str:
    return f"tag:yaml.org,2002:{kind}"


_Loader.yaml_implicit_resolvers, _Loader.yaml_constructors = {}, {None: yaml.SafeLoader.construct_undefined}
for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"(?i:true|false|yes|no|on|off)", "tTfFyYnNoO"),
    ("int", r"[-+]?[0-9][0-9_]*", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(?i:inf)|\.(?i:nan)", "-+0123456789."),
    ("merge", "<<", "<"),
):
    _Loader.add_implicit_resolver(_tag(_kind), re.compile(f"^(?:{_pattern})$"), ["", *_first])
for _kind in ("null", "bool", "str", "seq", "map"):
    _Loader.add_constructor(_tag(_kind), yaml.SafeLoader.yaml_constructors[_tag(_kind)])
for _kind in ("int", "float"):
    _Loader.add_constructor(_tag(_kind), _Loader.construct_number)


def read(text: str, where: str) -> Any:
    """The value that YAML stands for: sections with keys of text, lists, text, numbers, true, false and none.

    Raises:
        RequestError: it is not YAML, or holds what no request has; a line for each such thing.
    """
    try:
        content = yaml.load(text, _Loader)
    except RecursionError:
        raise RequestError(f"{where}: not readable as YAML: nested too deeply") from None
    except Exception as error:  # a tag such as !!bool fails in its own way
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise RequestError(f"{where}: not readable as YAML{line}: {cut(problem or error, 100)}") from None
    check(content, where)
    return content


def check(content: Any, where: str) -> None:
    """Raise RequestError, with a line for each thing that is wrong, unless the content is one of a request."""
    if wrong := [line for _, line in zip(range(20), _faults(content), strict=False)]:
        raise RequestError("\n".join(f"{where}: {line}" for line in wrong))


def _faults(content: Any) -> Iterator[str]:
    waiting: list[tuple[str, int, Any]] = [("", 0, content)]
    count = 0
    while waiting:
        key, depth, value = waiting.pop()
        count += 1
        if count > MOST_VALUES or depth > DEEPEST:
            yield f"{key}expected at most {MOST_VALUES:,} values, {DEEPEST} deep, found more"
            return
        if isinstance(value, dict):
            wrong = [part for part in value if not isinstance(part, str) or not writable(part)]
            yield from (f"{key}expected keys of text, found {shown(part)}" for part in wrong)
            below = key.removesuffix(": ") + "." * bool(key)
            parts = [(part, inner) for part, inner in reversed(value.items()) if part not in wrong]
            waiting += [(f"{cut(below + part)}: ", depth + 1, inner) for part, inner in parts]
        elif isinstance(value, list | tuple):
            waiting += [(key, depth + 1, inner) for inner in reversed(value)]
        elif isinstance(value, int) and abs(value) >= LARGEST:
            yield f"{key}expected a number of at most 18 digits, found {shown(value)}"
        elif isinstance(value, str) and not writable(value):
            yield f"{key}expected text without control characters, found {shown(value)}"
