"""Analyses as artifacts: a page, its table as Parquet, its figures on the card."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pandas as pd
from pydantic import BaseModel

from orchestrator.console import log
from orchestrator.page import Section, listed, page, yaml_section
from orchestrator.store import Store, versions
from physics.registry import digest


def analysis_name(kind: str, config: BaseModel, of: Sequence[str]) -> str:
    """Of an analysis of the models ``of``."""
    return f"{kind}-{digest({'config': config.model_dump(mode='json'), 'models': list(of)})}"


def plan(kind: str, config: BaseModel, of: Sequence[str]) -> list[str]:
    """What would be made, line by line."""
    return [f"models {', '.join(of)}", f"result: analyses/{analysis_name(kind, config, of)}"]


def found(kind: str, config: BaseModel, of: Sequence[str], store: Store) -> tuple[str, dict[str, Any] | None]:
    """Name and card of an analysis, None if it has not been made."""
    name = analysis_name(kind, config, of)
    card = store.card("analyses", name)
    if card is not None:
        log(f"found analyses/{name}")
    return name, card


def commit(
    kind: str,
    config: BaseModel,
    of: Sequence[str],
    store: Store,
    figures: dict[str, Any],
    table: pd.DataFrame,
    sections: list[Section],
) -> tuple[str, dict[str, Any]]:
    """Write an analysis: its page of ``sections`` and figures, and the table as Parquet."""
    name = analysis_name(kind, config, of)
    parquet = io.BytesIO()
    table.to_parquet(parquet, index=False)
    numbers = {key: value for key, value in figures.items() if isinstance(value, int | float)}
    sections = [*sections, Section("Figures", rows=listed(numbers)), yaml_section(config)]
    card = {
        "kind": "analysis",
        "config": {"analysis": kind, **config.model_dump(mode="json")},
        "parents": [f"models/{model}" for model in of],
        "figures": figures,
        "versions": versions(),
    }
    files = {
        **page(f"{kind} of {', '.join(of)}", "", sections),
        f"{kind}.parquet": parquet.getvalue(),
    }
    return name, store.commit("analyses", name, card, files)
