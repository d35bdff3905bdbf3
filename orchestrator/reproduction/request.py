"""The figures of a paper as a list of commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from physics.registry import Seed, Settings, nearest, shown

PLACE = re.compile(r"\{(\w+)\}")
"""``{name}`` in a command."""


def _text(figure: Any) -> Any:
    """A number of a figure as text."""
    return str(figure) if isinstance(figure, int) else figure


def _line(command: Any) -> Any:
    """A list of words as the line that a person would type."""
    if isinstance(command, list) and all(isinstance(word, str) for word in command):
        return shlex.join(command)
    return command


class Entry(Settings):
    """A command and what of a paper it draws.

    Attributes:
        figure: of the paper, such as "3A, 3B".
        command: as it is typed, or its words; ``{name}`` stands for a value of the reproduction, for its seed, or for
            the artifact of an earlier entry.
        shows: what is to be seen, in a sentence or two.
        pictures: files of the artifact that are shown, in this order; all of them if empty.
    """

    figure: Annotated[str, BeforeValidator(_text), Field(min_length=1, max_length=100)]
    command: Annotated[str, BeforeValidator(_line), Field(min_length=1, max_length=4000)]
    shows: Annotated[str, Field(max_length=2000)] = ""
    pictures: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """What its command refers to."""
        return PLACE.findall(self.command)

    def words(self, known: Mapping[str, str]) -> list[str]:
        """The words of the command after ``orch``, with what is known in its places.

        Raises:
            ValueError: a quotation that does not end.
        """
        words = shlex.split(PLACE.sub(lambda match: known.get(match[1], match[0]), self.command))
        return words[1:] if words[:1] == ["orch"] else words


class Reproduction(Settings):
    """Commands in their order, each of which makes an artifact or finds it.

    Attributes:
        label: the beginning of the name of the page.
        values: text by name that commands have in common, and that differs from scale to scale.
        entries: by name.
    """

    label: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    title: str = ""
    summary: str = ""
    values: dict[str, str | int | float] = Field(default_factory=dict)
    entries: Annotated[dict[str, Entry], Field(min_length=1, max_length=100)]
    seed: Seed = 0

    @property
    def given_values(self) -> dict[str, str]:
        """What may stand in a command before anything is made."""
        return {"seed": str(self.seed), **{name: str(value) for name, value in self.values.items()}}

    @model_validator(mode="after")
    def _refers_to_what_is_there(self) -> Self:
        known = dict.fromkeys(self.given_values)
        for name, entry in self.entries.items():
            if not re.fullmatch(r"\w+", name) or name in known:
                raise ValueError(f"entries: expected names of letters and digits, each once, found {shown(name)}")
            for place in entry.names():
                if place not in known:
                    raise ValueError(f"entries.{name}.command: {{{place}}}: unknown name{nearest(place, known)}")
            try:
                words = entry.words(self.given_values)
            except ValueError as error:
                raise ValueError(f"entries.{name}.command: {error}") from None
            if not words:
                raise ValueError(f"entries.{name}.command: expected a command of orch, found {shown(entry.command)}")
            known[name] = None
        return self
