"""What a person sees while something runs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

console = Console(stderr=True, highlight=False)
_kept: list[Callable[[], str]] = []


def progress() -> Progress:
    """A bar with a count, a rate of the caller's wording, and the time gone and left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        expand=True,
    )


def log(text: str) -> None:
    """A line on standard error; standard output is for results."""
    console.print(text, soft_wrap=True, markup=False)


@contextlib.contextmanager
def on_interrupt(kept: Callable[[], str]) -> Iterator[None]:
    """While this is entered, an interrupt is answered with what ``kept`` says the store holds by then."""
    _kept.append(kept)
    try:
        yield
    finally:
        if not isinstance(sys.exception(), KeyboardInterrupt):  # which is answered further out
            _kept.remove(kept)


def kept_so_far() -> str:
    """What the store holds of the work that was interrupted."""
    return ", ".join(kept() for kept in _kept)
