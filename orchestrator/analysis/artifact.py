"""Analyses as artifacts: a page, its table as Parquet, its figures on the card."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd
from pydantic import BaseModel

from orchestrator.lease import made
from orchestrator.page import Section, drawn, listed, origin, page
from orchestrator.store import Store
from physics.registry import Settings, digest

VERSIONS = {"evaluate": 2, "ddls": 2}  # of a kind, raised when the same request begins to give another result


def analysis_name(kind: str, config: BaseModel, of: Sequence[str]) -> str:
    """Of an analysis of the models ``of``."""
    version = {"version": VERSIONS[kind]} if kind in VERSIONS else {}
    return f"{kind}-{digest({'config': config.model_dump(mode='json'), 'models': list(of), **version})}"


def plan(kind: str, config: BaseModel, of: Sequence[str]) -> list[str]:
    """What would be made, line by line."""
    return [f"models {', '.join(of)}", f"result: analyses/{analysis_name(kind, config, of)}"]


class Found(NamedTuple):
    """What an analysis finds: figures for its card, a table for a Parquet file, sections for its page, other files."""

    figures: dict[str, Any]
    table: pd.DataFrame
    sections: list[Section]
    files: Mapping[str, bytes] = MappingProxyType({})


def run(
    kind: str, config: Settings, of: Sequence[str], store: Store, analyse: Callable[[], Found], subject: str = ""
) -> tuple[str, dict[str, Any]]:
    """Name and card of an analysis of the models ``of``, which ``analyse`` makes unless it is in the store.

    Args:
        subject: what the command is given besides the models, for the page.
    """
    name = analysis_name(kind, config, of)
    command = " ".join(["orch", kind, *of, *([subject] if subject else []), "--config"])
    parents = [f"models/{model}" for model in of]
    return made(store, "analyses", name, lambda _: _commit(name, kind, config, of, store, analyse(), command), parents)


def _commit(
    name: str, kind: str, config: Settings, of: Sequence[str], store: Store, found: Found, command: str
) -> None:
    parquet = io.BytesIO()
    found.table.to_parquet(parquet, index=False)
    numbers = {key: value for key, value in found.figures.items() if isinstance(value, int | float)}
    parents = [f"models/{model}" for model in of]
    card = {
        "kind": "analysis",
        "config": {"analysis": kind, **config.model_dump(mode="json")},
        "given": config.given(),
        "parents": parents,
        "figures": found.figures,
    }
    source = origin(store, "analyses", name, config, command, parents)
    sections = [*found.sections, Section("Figures", rows=listed(numbers))]
    files = drawn(lambda: page(f"{kind} of {', '.join(of)}", "", sections, source), config)
    store.commit("analyses", name, card, {**files, f"{kind}.parquet": parquet.getvalue(), **found.files})
