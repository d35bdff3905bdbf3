"""Settings that a person gives, and registries of the classes that a ``name`` in them chooses."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError


@dataclass(frozen=True)
class Later:
    """Marks a field that was added after recipes were first written: it stays out of them while it has its default."""


MARKS = ("recipe_version", "source")  # what a recipe holds besides settings


class Settings(BaseModel):
    """Validated, immutable settings; an unknown key is refused with the nearest known one.

    Attributes:
        recipe_version: raised when the same settings begin to give another result.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    recipe_version: ClassVar[int] = 1

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:
        unknown = [key for key in given if key not in cls.model_fields] if isinstance(given, Mapping) else []
        if unknown:
            details = [
                InitErrorDetails(
                    type=PydanticCustomError("unknown_key", f"unknown key{nearest(key, cls.model_fields)}"),
                    loc=(key,),
                    input=given[key],
                )
                for key in unknown
            ]
            raise ValidationError.from_exception_data(cls.__name__, details)
        return given

    @model_serializer(mode="wrap")
    def _serialized(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        content = dump(self)
        if not (info.context or {}).get("recipe"):
            return content
        for key, field in type(self).model_fields.items():
            if any(isinstance(mark, Later) for mark in field.metadata) and getattr(self, key) == field.default:
                content.pop(key, None)
        if self.recipe_version > 1:
            content["recipe_version"] = self.recipe_version
        return content

    def recipe(self) -> dict[str, Any]:
        """All that decides the result, as JSON values; what an artifact's name is a hash of.

        A field that is added later, marked :class:`Later`, changes no recipe until somebody sets it.
        """
        return self.model_dump(mode="json", context={"recipe": True})


class Tagged(Settings):
    """Settings whose ``name`` says which class they are of: a registered name, or ``module:Class``."""

    name: str = ""

    def defined_by(self) -> Any:
        """The class or function whose source decides what these settings do."""
        return type(self)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "name" not in given and not cls.model_fields["name"].default:
            return {"name": f"{cls.__module__}:{cls.__qualname__}", **given}
        return given

    @model_serializer(mode="wrap")
    def _serialized(self, dump: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        content = Settings._serialized(self, dump, info)
        if (info.context or {}).get("recipe") and ":" in self.name:
            content["source"] = source_digest(self.defined_by())
        return content


T = TypeVar("T", bound=Tagged)


class Registry(Generic[T]):
    """Classes by name, each imported when it is first asked for.

    Args:
        kind: what they are, for messages.
        known: names, each with ``module:Class``.
    """

    def __init__(self, kind: str, known: dict[str, str]):
        self.kind, self.known = kind, known

    def find(self, name: Any) -> type[T]:
        """The class of a registered name or of ``module:Class``.

        Raises:
            ValueError: there is none.
        """
        path = self.known.get(name, name) if isinstance(name, str) else ""
        if ":" not in path:
            expected = f"expected one of {', '.join(self.known)} or module:Class"
            raise ValueError(f"name: {expected}, found {name!r}{nearest(name, self.known, listed=False)}")
        found = import_name(path)
        if not isinstance(found, type) or not issubclass(found, Tagged):
            raise ValueError(f"name: expected a class of a {self.kind}, found {found!r}")
        return found  # type: ignore[return-value]

    def of_recipe(self, recipe: Mapping[str, Any]) -> T:
        """The settings that a recipe was made of, without the marks of version and source that it adds."""
        return self.parse({key: value for key, value in recipe.items() if key not in MARKS})

    def parse(self, given: Any, default: str | None = None) -> T:
        """Settings of the class that their ``name`` chooses; ``default`` if they name none.

        Raises:
            ValueError: not keys and values, an unknown name, or settings that the class refuses.
        """
        if isinstance(given, Tagged):
            return given  # type: ignore[return-value]
        if not isinstance(given, Mapping):
            raise ValueError(f"expected keys and values, found {given!r}")
        kind = self.find(given.get("name", default))
        return kind.model_validate(dict(given))


def import_name(path: str) -> Any:
    """What ``module:name`` names.

    Raises:
        ValueError: the module cannot be imported, or has no such name.
    """
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def source_digest(thing: Any) -> str:
    """SHA-256 of the module that defines a function or class: an edited one makes another artifact."""
    file = inspect.getsourcefile(thing)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""


def nearest(key: Any, known: Mapping[str, Any], listed: bool = True) -> str:
    """ ", did you mean ...?", or what there is."""
    close = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    if close:
        return f", did you mean {close[0]}?"
    return f", expected one of {', '.join(known)}" if known and listed else ""


def explained(error: ValidationError) -> Iterator[str]:
    """A line for each thing that is wrong: its dotted key, what is expected and what was found."""
    for detail in error.errors():
        key = ".".join(map(str, detail["loc"]))
        yield f"{key}: {_explain(detail)}".removeprefix(": ")


def _explain(detail: Any) -> str:
    if detail["type"] == "unknown_key":
        return detail["msg"]
    if detail["type"] == "value_error":
        message = str(detail["ctx"]["error"])
        if isinstance(detail["input"], int | float | str):
            message += f", found {detail['input']!r}" if "found" not in message else ""
        return message
    message = (
        detail["msg"]
        .replace("Input should be", "expected")
        .replace("a valid integer", "an integer")
        .replace("a valid ", "a ")
    )
    return f"{message}, found {detail['input']!r}"


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
