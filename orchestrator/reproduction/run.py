"""The figures of a paper: its commands one after the other, what is there found, and one page of all of them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from orchestrator.console import log, on_interrupt
from orchestrator.errors import FailedError, RequestError
from orchestrator.html import PAGE, THUMBNAIL
from orchestrator.lease import Lease, made
from orchestrator.options import Job
from orchestrator.page import Section, drawn, listed, origin, page
from orchestrator.reproduction.request import Entry, Reproduction
from orchestrator.store import Store, parts
from physics.registry import cut, digest

COMMAND = "orch reproduce --config"
TABLES = "summary", "rows"  # of the figures on a card, the first that there is
MOST_NUMBERS = 12  # that are listed where there is no table

Asked = Callable[[list[str], bool], Job | None]
"""The job that a command line stands for, None if what it refers to is not there yet; see :func:`job_of`."""


class Step(NamedTuple):
    """An entry with the words of its command, and its job, None while it waits for artifacts of earlier ones."""

    name: str
    entry: Entry
    words: list[str]
    job: Job | None

    @property
    def line(self) -> str:
        return shlex.join(["orch", *self.words])

    def whole(self, store: Store) -> bool:
        """Whether its artifact is there."""
        place = self.job.place if self.job else None
        return place is not None and store.card(*parts(place)) is not None


def steps(config: Reproduction, store: Store, asked: Asked) -> Iterator[Step]:
    """The entries in their order; each is asked for once what it refers to is there, which may be while this runs.

    Raises:
        RequestError: of a command, with the name of its entry.
    """
    known = config.given_values
    for name, entry in config.entries.items():
        words = entry.words(known)
        ready = all(place in known for place in entry.names())
        job = _asked(name, [*words, "--store", store.root], ready, asked)
        step = Step(name, entry, words, job)
        yield step
        if step.whole(store):
            assert job is not None and job.place is not None
            known[name] = job.place.partition("/")[2]


def _asked(name: str, words: list[str], ready: bool, asked: Asked) -> Job | None:
    try:
        job = asked(words, ready)
    except RequestError as error:
        raise RequestError(_of(name, error)) from None
    if job is not None and job.place is None:
        raise RequestError(f"entries.{name}.command: expected one that makes an artifact, found {cut(words[0])}")
    return job


def _of(name: str, error: Exception) -> str:
    """What is said of an entry, every line with its name."""
    return "\n".join(f"entries.{name}: {line}" for line in str(error).splitlines())


def plan(config: Reproduction, store: Store, asked: Asked) -> list[str]:
    """What is found and what would be made, a line an entry."""
    lines = []
    for step in steps(config, store, asked):
        missing = [place for place in dict.fromkeys(step.entry.names()) if f"{{{place}}}" in step.line]
        state = f"after {', '.join(missing)}" if missing else "found" if step.whole(store) else "to make"
        lines.append(f"{step.name}, figure {step.entry.figure}: {state}: {step.line}")
    return [*lines, "result: a page of them all in analyses"]


def run(config: Reproduction, store: Store, asked: Asked) -> tuple[str, dict[str, Any]]:
    """Name and card of the page, after every command; what is in the store is found.

    Raises:
        RequestError, FailedError: of a command, with the name of its entry.
    """
    plan(config, store, asked)  # so that a command that makes no sense is refused before any work
    done: dict[str, str] = {}
    with on_interrupt(lambda: f"the artifacts of {', '.join(done) or 'no entry yet'}, and what the next one had"):
        finished = [_made(step, store, done) for step in steps(config, store, asked)]
    name = f"reproduce-{config.label}-{digest({'config': config.recipe(), 'results': done})}"
    sections = [section for step in finished for section in _sections(step, store)]
    parents = list(dict.fromkeys(done.values()))

    def commit(_: Lease) -> None:
        source = origin(store, "analyses", name, config, COMMAND, parents)
        files = drawn(lambda: page(config.title or config.label, config.summary, sections, source), config)
        card = {
            "kind": "analysis",
            "config": {"analysis": "reproduce", **config.model_dump(mode="json")},
            "given": config.given(),
            "parents": parents,
            "figures": {"commands": len(done), "artifacts": done},
        }
        store.commit("analyses", name, card, files)

    return made(store, "analyses", name, commit, parents)


def _made(step: Step, store: Store, done: dict[str, str]) -> Step:
    """A step whose artifact is whole, as it is noted in ``done``."""
    assert step.job is not None and step.job.place is not None
    if not step.whole(store):
        log(f"{step.name}, figure {step.entry.figure}: {step.line}")
        try:
            step.job.run()
        except (RequestError, FailedError) as error:
            raise type(error)(_of(step.name, error)) from error
    done[step.name] = step.job.place
    return step


def _sections(step: Step, store: Store) -> list[Section]:
    """The pictures of an artifact under the figure that they draw, its command, and its numbers."""
    assert step.job is not None and step.job.place is not None
    kind, name = parts(step.job.place)
    card = store.card(kind, name) or {}
    heading = Section(f"Figure {step.entry.figure}", step.entry.shows, code=step.line)
    pictures = [
        Section("", f"{file} of {kind}/{name}:", store.read(kind, name, file)) for file in _pictures(step, card)
    ]
    return [heading, *pictures, Section("", f"The numbers of {kind}/{name}:", rows=_numbers(card))]


def _pictures(step: Step, card: Mapping[str, Any]) -> list[str]:
    """Names of the files that are shown; none of an artifact whose page could not be drawn."""
    there = [file for file in card.get("files", {}) if file.endswith(".png") and file != THUMBNAIL]
    if PAGE not in card.get("files", {}):
        return []
    for file in step.entry.pictures:
        if file not in there:
            raise RequestError(
                f"entries.{step.name}.pictures: expected files of its page, {', '.join(there) or 'which has none'}, "
                f"found {cut(file)}"
            )
    return list(step.entry.pictures) or there


def _numbers(card: Mapping[str, Any]) -> pd.DataFrame:
    figures = card.get("figures", {})
    for table in TABLES:
        if isinstance(figures.get(table), list) and figures[table]:
            return pd.DataFrame(figures[table]).dropna(axis="columns", how="all")
    numbers = {key: value for key, value in figures.items() if isinstance(value, int | float)}
    return listed(dict(list(numbers.items())[:MOST_NUMBERS]))
