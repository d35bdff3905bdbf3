"""Spaces that are searched or swept: the values that each key may take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from physics.registry import Later, Settings, shown


class Range(Settings):
    """Values that a swept key may take: exactly one of a fixed one, a choice of at most 10,000, and ranges of numbers.

    Attributes:
        when: keys of the space before this one and values of theirs; the key varies only where all of them have one
            of those values, and elsewhere stays what it is without the space.
    """

    fixed: Any = None
    choice: Annotated[tuple[Any, ...], Field(max_length=10_000)] | None = None
    uniform: tuple[float, float] | None = None
    log_uniform: tuple[float, float] | None = None
    integer: tuple[int, int] | None = None
    when: Annotated[dict[str, tuple[Any, ...]] | None, Later()] = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """A bare value is fixed, a bare list a choice; 1e-3, which YAML takes for text, is a number."""
        if isinstance(value, list | tuple):
            return {"choice": tuple(map(_number, value))}
        return value if isinstance(value, Mapping | Range) else {"fixed": value}

    @field_validator("when", mode="before")
    @classmethod
    def _each_a_choice(cls, when: Any) -> Any:
        if not isinstance(when, Mapping):
            return when
        return {key: tuple(values) if isinstance(values, list | tuple) else (values,) for key, values in when.items()}

    @model_validator(mode="after")
    def _one(self) -> Self:
        kinds = [name for name in type(self).model_fields if name != "when"]
        given = [name for name in kinds if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of {', '.join(kinds)}, found {given or 'none'}")
        if self.choice is not None and not self.choice:
            raise ValueError("choice: expected at least one value, found an empty range")
        bounds = self.bounds
        if bounds and not (bounds[0] < bounds[1] and all(map(math.isfinite, bounds))):
            raise ValueError(f"{given[0]}: expected [low, high] with low < high, found {list(bounds)}")
        if self.log_uniform and self.log_uniform[0] <= 0:
            raise ValueError(f"log_uniform: expected low > 0, found {self.log_uniform[0]:g}")
        return self

    def applies(self, point: Mapping[str, Any]) -> bool:
        """Whether the key varies at a point, by the keys before it."""
        return all(point.get(key) in values for key, values in (self.when or {}).items())

    @property
    def values(self) -> tuple[Any, ...] | None:
        """All values of a finite range, None for a continuous one."""
        return self.choice if self.choice is not None else (self.fixed,) if self.fixed is not None else None

    @property
    def examples(self) -> tuple[Any, ...]:
        """Values to try the range by: all of a finite one; the bounds, and one between, of a continuous one."""
        if self.bounds is None:
            return self.values or ()
        low, high = self.bounds
        return low, high, low + 1 if self.integer else low + 0.618 * (high - low)

    @property
    def bounds(self) -> tuple[float, float] | None:
        return self.uniform or self.log_uniform or self.integer

    def to_unit(self, value: float) -> float:
        """Where a value lies between the bounds, 0 to 1; by its logarithm if the range is logarithmic."""
        low, high = self.bounds or (0.0, 1.0)
        if self.log_uniform:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    def from_unit(self, place: float) -> float:
        """The value at a place between the bounds, 0 to 1; the nearest integer in a range of integers."""
        low, high = self.bounds or (0.0, 1.0)
        if self.log_uniform:
            return min(max(low * (high / low) ** place, low), high)
        value = low + place * (high - low)
        return round(value) if self.integer else min(value, high)


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def check_conditions(space: Mapping[str, Range]) -> None:
    """Raise ValueError unless every condition is met by some values of a key that comes before its own."""
    known: dict[str, Range] = {}
    for key, values in space.items():
        for other, wanted in (values.when or {}).items():
            if other not in known:
                raise ValueError(f"space.{key}.when: expected a key of the space before it, found {shown(other)}")
            possible = known[other].values
            for value in wanted:
                if possible is not None and value not in possible:
                    expected = ", ".join(map(shown, possible))
                    raise ValueError(f"space.{key}.when.{other}: expected one of {expected}, found {shown(value)}")
        known[key] = values


def point_of(space: Mapping[str, Range], key: str, value: Any) -> dict[str, Any]:
    """A point at which a key has a value, with no more keys than that takes."""
    point: dict[str, Any] = {}
    for other, values in (space[key].when or {}).items():
        point |= point_of(space, other, values[0])
    return {**point, key: value}


def size_of(space: Mapping[str, Range]) -> int | None:
    """How many points a finite space has at most; None of a space that is not finite."""
    values = [known for known in (values.values for values in space.values()) if known is not None]
    return math.prod(map(len, values)) if len(values) == len(space) else None


def grid_of(space: Mapping[str, Range]) -> list[dict[str, Any]] | None:
    """Every point of a finite space, the last key varying fastest; None of a space that is not finite."""
    if size_of(space) is None:
        return None
    points: list[dict[str, Any]] = [{}]
    for key, values in space.items():
        points = [
            {**point, **more}
            for point in points
            for more in ([{key: value} for value in values.values or ()] if values.applies(point) else [{}])
        ]
    return points
