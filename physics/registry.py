"""Settings that a person gives, and registries of the classes that a ``name`` in them chooses."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib
import inspect
import json
import sys
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError


@dataclass(frozen=True)
class Later:
    """Marks a field that was added after recipes were first written: it stays out of them while it has its default."""


MARKS = ("recipe_version", "source")  # what a recipe holds besides settings
MODULES = "ORCH_MODULES"
"""Of the environment: the modules, with commas, that cards of a store may name besides ours."""
NAMED: set[str] = set()
"""Modules that :func:`import_name` has imported."""

OURS = "physics", "nets", "search", "orchestrator"
_importable: ContextVar[Collection[str] | None] = ContextVar("importable", default=None)

Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""Of random numbers: what every generator that is used takes."""


class Settings(BaseModel):
    """Validated, immutable settings of finite numbers; an unknown key is refused with the nearest known one.

    Attributes:
        recipe_version: of this class, see :meth:`version`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    recipe_version: ClassVar[int] = 1

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:
        unknown = [key for key in given if key not in cls.model_fields] if isinstance(given, Mapping) else []
        if unknown:
            details = [
                InitErrorDetails(
                    type=PydanticCustomError("unknown_key", f"unknown key{nearest(key, cls.model_fields)}"),
                    loc=(str(key),),
                    input=given[key],
                )
                for key in unknown
            ]
            raise ValidationError.from_exception_data(cls.__name__, details)
        return given

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, given: Any, info: ValidationInfo) -> Any:
        if isinstance(given, bool) and cls.model_fields[str(info.field_name)].annotation in (int, float):
            raise PydanticCustomError("number", "expected a number")
        return given

    @model_serializer(mode="wrap")
    def _serialized(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        content = dump(self)
        if not (info.context or {}).get("recipe"):
            return content
        for key, field in type(self).model_fields.items():
            if any(isinstance(mark, Later) for mark in field.metadata) and getattr(self, key) == field.default:
                content.pop(key, None)
        if self.version() > 1:
            content["recipe_version"] = self.version()
        return content

    def version(self) -> int:
        """Raised when the same settings begin to give another result."""
        return self.recipe_version

    def recipe(self) -> dict[str, Any]:
        """All that decides the result, as JSON values; what an artifact's name is a hash of.

        A field that is added later, marked :class:`Later`, changes no recipe until somebody sets it.
        """
        return self.model_dump(mode="json", context={"recipe": True})

    def given(self) -> dict[str, Any]:
        """Dotted keys of what is not as it is by default, and the JSON values that they have."""
        content, found = self.model_dump(mode="json"), {}
        for key, field in type(self).model_fields.items():
            value, default = getattr(self, key), field.get_default(call_default_factory=True)
            if value == default:
                continue
            if not isinstance(value, Settings):
                found[key] = content[key]
                continue
            if isinstance(value, Tagged) and type(value) is not type(default):
                found[f"{key}.name"] = value.name
            found |= {f"{key}.{inner}": said for inner, said in value.given().items()}
        return found


class Tagged(Settings):
    """Settings whose ``name`` says which class they are of: a registered name, or ``module:Class``."""

    name: str = ""

    def defined_by(self) -> list[Any]:
        """The classes or functions of a person's whose source decides what these settings do."""
        return [type(self)] if ":" in self.name else []

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "name" not in given and not cls.model_fields["name"].default:
            return {"name": f"{cls.__module__}:{cls.__qualname__}", **given}
        return given

    @model_serializer(mode="wrap")
    def _serialized(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        content = Settings._serialized(self, dump, info)
        if (info.context or {}).get("recipe") and (sources := self.defined_by()):
            content["source"] = " ".join(map(source_digest, sources))
        return content


T = TypeVar("T", bound=Tagged)


class Registry(Generic[T]):
    """Classes by name, each imported when it is first asked for.

    Args:
        protocol: the class that all of them are classes of.
        kind: what they are, for messages.
        known: names, each with ``module:Class``.
    """

    def __init__(self, protocol: type, kind: str, known: dict[str, str]):
        self.protocol, self.kind, self.known = protocol, kind, known

    def find(self, name: Any) -> type[T]:
        """The class of a registered name or of ``module:Class``.

        Raises:
            ValueError: there is none, or one that is not whole or of another protocol.
        """
        path = self.known.get(name, name) if isinstance(name, str) else ""
        if ":" not in path:
            expected = f"expected one of {', '.join(self.known)} or module:Class"
            raise ValueError(f"name: {expected}, found {shown(name)}{nearest(name, self.known, listed=False)}")
        found = import_name(path)
        if not isinstance(found, type) or not issubclass(found, self.protocol) or inspect.isabstract(found):
            raise ValueError(f"name: expected a kind of {self.kind}, found {shown(found)}")
        return found  # type: ignore[return-value]

    def of_recipe(self, recipe: Mapping[str, Any]) -> T:
        """The settings that a recipe was made of, without the marks of version and source that it adds."""
        return self.parse({key: value for key, value in recipe.items() if key not in MARKS})

    def parse(self, given: Any, default: str | None = None) -> T:
        """Settings of the class that their ``name`` chooses; ``default`` if they name none.

        Raises:
            ValueError: not keys and values, an unknown name, or settings that the class refuses.
        """
        if isinstance(given, self.protocol):
            return given  # type: ignore[return-value]
        if not isinstance(given, Mapping):
            raise ValueError(f"expected keys and values, found {shown(given)}")
        kind = self.find(given.get("name", default))
        return kind.model_validate(dict(given))


@contextlib.contextmanager
def importing_only(modules: Collection[str]) -> Iterator[None]:
    """Until it is left, :func:`import_name` imports no module but these and ours: the names are a stranger's.

    A module that is there already counts as imported.
    """
    token = _importable.set(modules)
    try:
        yield
    finally:
        _importable.reset(token)


def import_name(path: str) -> Any:
    """What ``module:name`` names.

    Raises:
        ValueError: the module cannot be imported, or has no such name, or is not to be imported.
    """
    module, _, name = path.partition(":")
    allowed, top = _importable.get(), module.partition(".")[0]
    if allowed is not None and module not in sys.modules and top not in (*OURS, *allowed):
        raise ValueError(f"{cut(path)}: code that a card names is not imported unless {MODULES}={cut(top)} allows it")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a person's module may fail in any way
        raise ValueError(f"{cut(path)}: {reason(error)}") from None
    NAMED.add(module)
    return found


def source_digest(thing: Any) -> str:
    """SHA-256 of the module that defines a function or class: an edited one makes another artifact.

    Empty, if it is not defined in a file of Python.
    """
    try:
        file = inspect.getsourcefile(thing)
    except TypeError:
        file = None
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def cut(text: object, width: int = 60) -> str:
    """Text on one line, its middle left out if it is longer than ``width``."""
    line = " ".join(printable(str(text)).split())
    return line if len(line) <= width else f"{line[: width // 2]} ... {line[-width // 2 + 5 :]}"


def printable(text: str) -> str:
    """Text without what would break a line or move the cursor."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else " " for letter in text)


def reason(error: Exception) -> str:
    """What an error says, on a short line: of the file system's without number and name."""
    known = getattr(error, "strerror", None)
    return str(known).lower() if known else cut(error, 150)


def writable(text: str) -> bool:
    """Whether text has no control characters, line separators or halves of characters."""
    if text.isascii():
        return text.isprintable()
    return not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text)


def shown(value: Any) -> str:
    """A value that was found, as a message shows it: its Python form, cut to about 60 characters."""
    try:
        return cut(repr(value))
    except (ValueError, RecursionError):  # of an integer with thousands of digits, of a list in itself
        return f"a large {type(value).__name__}"


def nearest(key: Any, known: Mapping[str, Any], listed: bool = True) -> str:
    """ ", did you mean ...?", or what there is."""
    close = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    if close:
        return f", did you mean {close[0]}?"
    return f", expected one of {', '.join(known)}" if known and listed else ""


def explained(error: ValidationError) -> Iterator[str]:
    """A line for each thing that is wrong: its dotted key, what is expected and what was found."""
    for detail in error.errors():
        key = cut(repr(".".join(map(str, detail["loc"])))[1:-1], 100)
        yield cut(f"{key}: {_explain(detail)}".removeprefix(": "), LONGEST)


LONGEST = 280  # characters of a line
WORDINGS = {
    "dict_type": "expected keys and values",
    "tuple_type": "expected a list",
    "too_short": "expected at least {min_length} values",
    "too_long": "expected at most {max_length} values",
    "string_pattern_mismatch": "expected text of the form {pattern}",
    "model_type": "expected keys and values",
    "int_parsing_size": "expected a smaller integer",
    "string_unicode": "expected text in Unicode",
}


def _explain(detail: Any) -> str:
    if detail["type"] == "unknown_key":
        return detail["msg"]
    if detail["type"] == "missing":
        return "expected a value, found none"
    if detail["type"] == "value_error":
        message = str(detail["ctx"]["error"])
        if isinstance(detail["input"], int | float | str):
            message += f", found {shown(detail['input'])}" if "found" not in message else ""
        return message
    wording = WORDINGS.get(detail["type"])
    message = wording.format(**detail.get("ctx", {})) if wording else detail["msg"]
    for pydantic, ours in (("Input should be", "expected"), ("a valid integer", "an integer"), ("a valid ", "a ")):
        message = message.replace(pydantic, ours)
    return f"{message}, found {shown(detail['input'])}"


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """Twelve hexadecimal digits that stand for a JSON value."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:12]


def setting(config: Settings, path: str) -> Any:
    """The value at a dotted key.

    Raises:
        ValueError: there is no such key.
    """
    value: Any = config
    for part in path.split("."):
        fields = type(value).model_fields if isinstance(value, BaseModel) else {}
        if part not in fields:
            raise ValueError(f"{path}: unknown key{nearest(part, fields)}")
        value = getattr(value, part)
    return value
