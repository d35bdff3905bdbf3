"""Analyses as artifacts: a page, its table as Parquet, its figures on the card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from orchestrator.lease import Lease, made
from orchestrator.page import Section, drawn, listed, origin, page
from orchestrator.store import Store
from physics.model import SpinModel
from physics.registry import Settings, digest

VERSIONS = {"evaluate": 2, "ddls": 2}  # of a kind, raised when the same request begins to give another result
SUMMARIES = {
    "map": "Energy, defects and the discriminator's verdict over a plane of the latent space of a model.",
    "ddls": "Samples of a model on their way uphill in its discriminator, which is to leave those that look like data.",
    "field": "Spins beside the effective fields that act on them, in data, reconstructed and generated states.",
    "interpolate": "States along straight lines between codes, and the energy barriers on the way.",
    "invert": "A given state, and the nearest to it that a model can make.",
    "evaluate": "What trained models generate, held against data that they were not trained on.",
    "searches": "What searches of the latent space of a model found, side by side.",
    "reconstruct": "Microscopic fields made from given vortices and a temperature.",
}
FIGURES = "The numbers of this analysis that its card holds, as orch show prints them. They are of what is shown above."


def analysis_name(kind: str, config: Settings, of: Sequence[str]) -> str:
    """Of an analysis of the models ``of``."""
    version = {"version": VERSIONS[kind]} if kind in VERSIONS else {}
    return f"{kind}-{digest({'config': config.recipe(), 'models': list(of), **version})}"


def plan(kind: str, config: Settings, of: Sequence[str]) -> list[str]:
    """What would be made, line by line."""
    return [f"models {', '.join(of)}", f"result: analyses/{analysis_name(kind, config, of)}"]


class Found(NamedTuple):
    """What an analysis finds.

    Attributes:
        figures: for its card.
        table: for a Parquet file.
        sections: of its page.
        files: others, by name.
        said: sentences on what was asked for and not reached.
        parents: artifacts that it was made from, besides the models.
    """

    figures: dict[str, Any]
    table: pd.DataFrame
    sections: list[Section]
    files: Mapping[str, bytes] = MappingProxyType({})
    said: Sequence[str] = ()
    parents: Sequence[str] = ()


def run(
    kind: str,
    config: Settings,
    of: Sequence[str],
    store: Store,
    model: SpinModel,
    analyse: Callable[[Lease], Found],
    subject: str = "",
    command: str = "",
) -> tuple[str, dict[str, Any]]:
    """Name and card of an analysis of the models ``of``, which ``analyse`` makes unless it is in the store.

    Args:
        analyse: is given the lease, to say how far it is.
        model: the spin model of all of them.
        subject: what the command is given besides the models, for the page.
        command: that makes it, if not ``orch KIND MODELS SUBJECT``.
    """
    name = analysis_name(kind, config, of)
    command = f"{command or ' '.join(['orch', kind, *of, *([subject] if subject else [])])} --config"
    parents = [f"models/{model}" for model in of]

    def make(held: Lease) -> None:
        _commit(name, kind, config, of, store, model, analyse(held), command)

    return made(store, "analyses", name, make, parents)


def _commit(
    name: str,
    kind: str,
    config: Settings,
    of: Sequence[str],
    store: Store,
    model: SpinModel,
    found: Found,
    command: str,
) -> None:
    numbers = {key: value for key, value in found.figures.items() if isinstance(value, int | float)}
    parents = [*(f"models/{model}" for model in of), *found.parents]
    card = {
        "kind": "analysis",
        "config": {"analysis": kind, **config.model_dump(mode="json")},
        "given": config.given(),
        "parents": parents,
        "figures": found.figures,
        "said": list(found.said),
    }
    source = origin(store, "analyses", name, config, command, parents)
    sections = [*found.sections, *([Section("Figures", FIGURES, rows=listed(numbers))] if numbers else [])]
    title, text = f"{kind} of {', '.join(of)}", SUMMARIES.get(kind, "")
    files = drawn(lambda: page(title, text, sections, source, model, found.said), config)
    files |= {f"{kind}.parquet": found.table.to_parquet(index=False), **found.files}
    store.commit("analyses", name, card, files)
