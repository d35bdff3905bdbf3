"""What a person sees while something runs."""

from __future__ import annotations

import contextlib
import sys
import time
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

from physics.registry import printable

SHOWN_AFTER = 2.0  # seconds: what takes less needs no bar

Show = Callable[..., None]  # is told how much is done, of how much, and a note
Report = Callable[[int, int, str, str], None]  # as orchestrator.lease.Lease.report

console = Console(stderr=True, highlight=False)
_kept: list[Callable[[], str]] = []


def _bar() -> Progress:
    """A bar with a count, a note of the caller's wording, and the time gone and left."""
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


@contextlib.contextmanager
def counted(
    unit: str, report: Report | None = None, *, name: str = "", done: int = 0, total: int | None = None
) -> Iterator[Show]:
    """A function that is told how much is done, of how much, and a note: it shows and reports that.

    Args:
        unit: of what is counted.
        report: is told the same, with the unit.
        name: of the bar, else the unit.
        done, total: at the start.  Of a known total a bar is shown at once, else if the work takes long.
    """
    bar, started = _bar(), time.monotonic()
    task = bar.add_task(name or unit, completed=done, total=total, note="")

    def show(done: int, total: int, note: str = "") -> None:
        bar.update(task, completed=done, total=total, note=note)
        if time.monotonic() - started > SHOWN_AFTER:
            bar.start()
        if report is not None:
            report(done, total, unit, note)

    if total is not None:
        bar.start()
    try:
        yield show
    finally:
        if bar.live.is_started:
            bar.stop()


def log(text: str) -> None:
    """A line on standard error; standard output is for results."""
    lines = "\n".join(map(printable, text.splitlines()))
    console.print(lines, soft_wrap=True, markup=False)


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
