"""Requests from YAML and the command line, validated before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from orchestrator.errors import RequestError
from physics.registry import explained, nearest

PRESETS = Path(__file__).parent / "presets"

Config = TypeVar("Config", bound=BaseModel)
Reference = Callable[[str, str | None], Any]
"""The content of a section that is given by a name, from the name and the scale."""


def load(
    kind: type[Config],
    source: str | None = None,
    scale: str | None = None,
    settings: Mapping[str, Any] | None = None,
    references: Mapping[str, Reference] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Config:
    """A validated request from a YAML file, one of its scales, and single keys.

    Args:
        source: a path, or else the name of a shipped file; None for defaults alone.
        scale: a key of the file's ``scales``, whose content is laid over the file's; the file's own ``scale`` if None.
        settings: dotted keys and their values, laid over both.
        references: by key, what a section is if the file gives a name in its place.
        defaults: dotted keys and their values where the file says nothing.

    Raises:
        RequestError: one line for each thing that is wrong, with file, key, value and what is expected.
    """
    where = source or "command line"
    if source and PRESETS in Path(source).parents:
        where = Path(source).name
    content = read_yaml(source) if source else {}
    scales = content.pop("scales", {})
    scale = scale or content.pop("scale", None)
    content.pop("scale", None)
    if scale is not None:
        if not isinstance(scales, dict) or not isinstance(scale, str) or scale not in scales:
            known = ", ".join(map(str, scales)) if isinstance(scales, dict) else ""
            raise RequestError(f"{where}: scale {scale!r}: expected one of {known or 'none'}")
        content = _merge(content, scales[scale] or {})
    for key, resolve in (references or {}).items():
        if isinstance(content.get(key), str):
            content[key] = resolve(content[key], scale)
    for key, value in (defaults or {}).items():
        content = _merge(_nested(key, value), content)
    for key, value in (settings or {}).items():
        content = _merge(content, _nested(key, value))
    return validated(kind, content, where)


def validated(kind: type[Config], content: Any, where: str) -> Config:
    """``content`` as a request, or RequestError with a line for each thing that is wrong."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise RequestError("\n".join(f"{where}: {line}" for line in explained(error))) from None


def shipped(room: str) -> list[str]:
    """Names of the files that are shipped for data, systems or sweeps."""
    return sorted(path.stem for path in (PRESETS / room).glob("*.yaml"))


def shipped_file(room: str, name: str) -> str:
    """The shipped file of a name such as ``hybrid``, whatever lies in this folder; any other name as it is.

    Raises:
        RequestError: neither a shipped name nor a YAML file.
    """
    if name in shipped(room):
        return str(PRESETS / room / f"{name}.yaml")
    if not name.endswith(".yaml"):
        suggestion = nearest(name, dict.fromkeys(shipped(room)))
        raise RequestError(f"{name}: expected a shipped name or a YAML file{suggestion}")
    return name


def find_file(name: str) -> Path:
    """The path itself, or else a file of that name shipped with the program.

    Raises:
        RequestError: there is neither.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    for found in PRESETS.glob(f"*/{path.name}"):
        if path.name == name:
            return found
    known = ", ".join(sorted(path.name for path in PRESETS.glob("*/*.yaml")))
    raise RequestError(f"{name}: no such file; shipped with the program: {known}")


def assignment(text: str) -> tuple[str, Any]:
    """``key=value`` of a --set option, the value read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise RequestError(f"--set {text}: expected key=value")
    try:
        return key, yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):
        raise RequestError(f"--set {text}: the value is not YAML") from None


def read_yaml(source: str) -> dict[str, Any]:
    """The keys and values of a file, or RequestError."""
    path = find_file(source)
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, ValueError, OSError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        raise RequestError(f"{source}: not readable as YAML{line}") from None
    if not isinstance(content, dict):
        raise RequestError(f"{source}: expected keys and values, found {type(content).__name__}")
    return content


def _nested(key: str, value: Any) -> dict[str, Any]:
    """A dotted key as sections in sections; the keys of a sweep's space are dotted themselves."""
    first, *rest = key.split(".", 1) if key.startswith("space.") else key.split(".")
    for part in reversed(rest):
        value = {part: value}
    return {first: value}


def _merge(base: Any, over: Any) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: _merge(base.get(key), value) for key, value in over.items()}}
    return over
