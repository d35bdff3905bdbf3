"""Requests from YAML and the command line, validated before anything starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from orchestrator.errors import RequestError
from orchestrator.reading import DEEPEST, check, read
from physics.registry import MODULES, cut, explained, importing_only, nearest, reason, shown

PRESETS = Path(__file__).parent / "presets"
LARGEST_FILE = 4 * 2**20  # bytes
MOST_FAULTS = 20  # that are listed one by one

Config = TypeVar("Config", bound=BaseModel)
Parsed = TypeVar("Parsed")
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
        references: by key, what a section is if the file, or the settings, give a name in its place.
        defaults: dotted keys and their values where the file says nothing.

    Raises:
        RequestError: one line for each thing that is wrong, with file, key, value and what is expected.
    """
    where = "command line" if source is None else cut(source, 120)
    if source and PRESETS in Path(source).parents:
        where = Path(source).name
    content = {} if source is None else read_yaml(source)
    scales, own = content.pop("scales", None), content.pop("scale", None)
    scale = own if scale is None else scale
    if scale is not None:
        content = _merge(content, _scale(scales, scale, where))
    settings = dict(settings or {})
    for key, resolve in (references or {}).items():
        if isinstance(settings.get(key), str):
            content[key] = settings.pop(key)
        if isinstance(content.get(key), str):
            content[key] = resolve(content[key], scale)
    for key, value in (defaults or {}).items():
        content = _merge(_nested(key, value), content)
    for key, value in settings.items():
        content = _merge(content, _nested(key, value))
    check(content, where)
    return validated(kind, content, where)


def _scale(scales: Any, scale: Any, where: str) -> dict[str, Any]:
    """What a file's ``scales`` say of one of them."""
    if scales is not None and not isinstance(scales, dict):
        raise RequestError(f"{where}: scales: expected keys and values, found {shown(scales)}")
    scales = scales or {}
    if not isinstance(scale, str) or scale not in scales:
        raise RequestError(f"{where}: scale {shown(scale)}: expected one of {cut(', '.join(scales)) or 'none'}")
    content = {} if scales[scale] is None else scales[scale]
    if not isinstance(content, dict):
        raise RequestError(f"{where}: scales.{cut(scale)}: expected keys and values, found {shown(content)}")
    return content


def validated(kind: type[Config], content: Any, where: str) -> Config:
    """``content`` as a request, or RequestError with a line for each thing that is wrong."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        lines = [f"{where}: {line}" for line in explained(error)]
        more = [f"{where}: and {len(lines) - MOST_FAULTS} more"] if len(lines) > MOST_FAULTS else []
        raise RequestError("\n".join([*lines[:MOST_FAULTS], *more])) from None


def stored(parse: Callable[[Any], Parsed], content: Any, where: str) -> Parsed:
    """What a card of a store says, for which no code is imported that no person has named.

    Raises:
        RequestError: it cannot be parsed; one line.
    """
    try:
        with importing_only([module for module in os.environ.get(MODULES, "").split(",") if module]):
            return parse(content)
    except ValidationError as error:
        raise RequestError(f"{where}: {next(explained(error))}") from None
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise RequestError(f"{where}: {reason(error)}") from None


def shipped(room: str) -> list[str]:
    """Names of the files that are shipped for data, systems or sweeps."""
    return sorted(path.stem for path in (PRESETS / room).glob("*.yaml"))


def shipped_file(room: str, name: str) -> str:
    """The shipped file of a name such as ``hybrid``, whatever lies in this folder, or of its file if none lies here.

    Any other name is returned as it is.

    Raises:
        RequestError: neither a shipped name nor a YAML file.
    """
    stem = name if os.path.lexists(name) else name.removesuffix(".yaml")
    if stem in shipped(room):
        return str(PRESETS / room / f"{stem}.yaml")
    if not name.endswith(".yaml"):
        suggestion = nearest(name, dict.fromkeys(shipped(room)))
        raise RequestError(f"{cut(name) or shown(name)}: expected a shipped name or a YAML file{suggestion}")
    return name


def find_file(name: str) -> Path:
    """The path itself, or else a file of that name shipped with the program.

    Raises:
        RequestError: there is neither.
    """
    known = {path.name: path for path in sorted(PRESETS.glob("*/*.yaml"))}
    try:
        path = Path(name).expanduser()
        if path.is_file():
            return path
        if path.is_dir():
            raise RequestError(f"{cut(name) or shown(name)}: a folder; expected a YAML file")
    except (OSError, RuntimeError) as error:  # a name that is too long, a home that is not known
        raise RequestError(f"{cut(name)}: no such file: {reason(error)}") from None
    if name not in known:
        raise RequestError(f"{cut(name)}: no such file; shipped with the program: {', '.join(known)}")
    return known[name]


def assignment(text: str) -> tuple[str, Any]:
    """``key=value`` of a --set option, the value read as YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise RequestError(f"--set {cut(text)}: expected key=value")
    if key.count(".") >= DEEPEST:
        raise RequestError(f"--set {cut(text)}: expected a key of at most {DEEPEST} parts, found {key.count('.') + 1}")
    return key, read(value, f"--set {cut(text)}")


def read_yaml(source: str) -> dict[str, Any]:
    """The keys and values of a file, or RequestError."""
    path, where = find_file(source), cut(source, 120)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise RequestError(f"{where}: expected at most {LARGEST_FILE:,} bytes, found {path.stat().st_size:,}")
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        said = reason(error) if isinstance(error, OSError) else "expected text in UTF-8"
        raise RequestError(f"{where}: not readable as YAML: {said}") from None
    content = read(text, where)
    if not isinstance(content, dict):
        raise RequestError(f"{where}: expected keys and values, found {shown(content)}")
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
