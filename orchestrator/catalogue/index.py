"""The index of a store, ``index.html``: what is unfinished, what descends from what, every artifact by kind."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

from orchestrator.catalogue import status, summary
from orchestrator.catalogue.drawing import picture
from orchestrator.catalogue.lineage import Lineage, kind_of
from orchestrator.console import log
from orchestrator.files import in_a_line
from orchestrator.html import PAGE, THUMBNAIL, file_path, template
from orchestrator.store import KINDS, Store

INDEX = "index.html"
SAID = 2  # figures in a box of the picture
HEADINGS = dict(zip(KINDS, ("Data sets", "Models", "Sweeps", "Optima", "Analyses"), strict=True))
ABOUT = {
    "Data sets": "Configurations of a spin model, from a sampler or imported: what models are trained on.",
    "Models": "Generative models that were trained by themselves. Those of a sweep are listed with it.",
    "Sweeps": "Trainings of which some settings vary, with the best figure that was found.",
    "Optima": "States of largest or smallest score that were found in the latent space of a model.",
    "Analyses": "What was looked at inside models, or how they were judged.",
}


def renew(store: Store) -> None:
    """Write the index; no command fails for want of it."""
    try:
        write(store)
    except Exception as error:
        log(f"no index: {type(error).__name__}: {in_a_line(error)}")


def write(store: Store) -> str:
    """Write the index of a store, all at once; returns its address."""
    store.write_file(INDEX, render(store).encode())
    return f"{store.path}/{INDEX}"


def render(store: Store) -> str:
    """The index as HTML, all of whose links are relative to the root of the store."""
    lineage = Lineage.of(store)
    apart = summary.parameters(lineage.cards)
    stages = lineage.sweep_of()
    sections = [
        (HEADINGS[kind], [_shown(p, lineage, apart) for p in lineage.cards if kind_of(p) == kind and p not in stages])
        for kind in KINDS
    ]
    said = {place: summary.figures_line(kind_of(place), card, SAID) for place, card in lineage.cards.items()}
    return template(INDEX).render(
        store=store.path.rpartition("/")[2] or store.root,
        written=summary.local_time(time.time()),
        sections=[(heading, ABOUT[heading], shown) for heading, shown in sections if shown],
        unfinished=[_unfinished(store, *entry) for entry in status.unfinished(store)],
        picture=picture(lineage, said),
        links={place: link(place, card) for place, card in lineage.cards.items()},
        count=len(lineage.cards),
        bytes=summary.size_text(sum(map(summary.size, lineage.cards.values()))),
    )


def link(place: str, card: dict[str, Any]) -> str:
    """To the page of an artifact, or to its folder if it has none."""
    return quote(file_path(place, card, PAGE) or f"{place}/")


def _shown(place: str, lineage: Lineage, apart: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the template shows of an artifact."""
    card = lineage.cards[place]
    thumbnail = file_path(place, card, THUMBNAIL)
    return {
        "name": place.partition("/")[2],
        "link": link(place, card),
        "thumbnail": quote(thumbnail) if thumbnail else None,
        "made": summary.created(card),
        "size": summary.size_text(summary.size(card)),
        "figures": summary.figures_line(kind_of(place), card),
        "parameters": {key: summary.value_text(value) for key, value in apart[place].items()},
        "stages": [_shown(stage, lineage, apart) for stage in lineage.stages.get(place, [])],
    }


def _unfinished(store: Store, kind: str, name: str, record: dict[str, Any]) -> dict[str, Any]:
    """What the template shows of unfinished work."""
    page = f"{store.work(kind, name)}/{PAGE}"  # type: ignore[arg-type]
    return {
        "place": f"{kind}/{name}",
        "link": quote(page) if store.exists(page) else None,
        "state": record.get("state"),
        "percent": status.pace(record).get("percent"),
        "progress": status.progress_text(record),
        "rate": status.rate_text(record),
        "who": status.who(record),
        "since": summary.local_time(record.get("started")),
        "beat": summary.local_time(record.get("beat")),
        "cause": status.cause_text(record),
    }
