"""Which models a person means: by name, or as stages of a sweep with the settings that tell them apart."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from orchestrator.catalogue.summary import flat, value_text
from orchestrator.errors import RequestError
from orchestrator.reading import read
from orchestrator.store import Store
from orchestrator.training.trained import TrainedModel
from physics.registry import cut, nearest

LISTED = 12  # values, in a message


def chosen(texts: Sequence[str], store: Store) -> list[str]:
    """Names of the models that texts mean, each once, in their order.

    A text is a name, or its beginning or end; or a sweep, a colon, and conditions on the columns of its trainings, such
    as ``evae:beta=0.001,gamma=0,gamma=100,seed=0``.  A key given twice may have either value; without any condition it
    means every training of the sweep.

    Raises:
        RequestError: there is no such model or sweep, no such key, or no training that meets the conditions.
    """
    return list(dict.fromkeys(name for text in texts for name in _meant(text, store)))


def one(text: str, store: Store) -> str:
    """The name of the one model that a text means, or RequestError."""
    found = chosen([text], store)
    if len(found) > 1:
        raise RequestError(f"{cut(text)}: expected one model, found {len(found)}, such as {found[0]}, {found[1]}")
    return found[0]


def _meant(text: str, store: Store) -> list[str]:
    sweep, colon, conditions = text.partition(":")
    if not colon:
        return [store.find(text, "models")[1]]
    name = store.find(sweep, "sweeps")[1]
    table = pd.read_parquet(io.BytesIO(store.read("sweeps", name, "stages.parquet")))
    for key, values in _conditions(conditions, text).items():
        if key not in table or key == "model":
            known = [str(column) for column in table if column != "model"]
            raise RequestError(f"{cut(text)}: {cut(key)}: unknown key{nearest(key, dict.fromkeys(known))}")
        missing = [value for value in values if not any(_same(found, value) for found in table[key])]
        if missing:
            known = [value_text(value) for value in dict.fromkeys(table[key])]
            more = ", ..." * (len(known) > LISTED)
            found = ", ".join(map(value_text, missing))
            raise RequestError(f"{cut(text)}: {key}: expected one of {', '.join(known[:LISTED])}{more}, found {found}")
        table = table[[any(_same(found, value) for value in values) for found in table[key]]]
    return [str(model) for model in table["model"]]


def _conditions(text: str, where: str) -> dict[str, list[Any]]:
    """Keys and the values that each may have."""
    found: dict[str, list[Any]] = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise RequestError(f"{cut(where)}: expected SWEEP:KEY=VALUE,..., found {cut(part)}")
        found.setdefault(key, []).append(read(value, cut(where)))
    return found


def _same(found: Any, wanted: Any) -> bool:
    """Whether a value of the table is the one that was given, to rounding."""
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return isinstance(found, int | float) and math.isclose(found, wanted, rel_tol=1e-6)
    return str(found) == str(wanted)


def alike(names: Sequence[str], store: Store) -> list[TrainedModel]:
    """Models by name, or RequestError unless all are of the data set of the first."""
    models = [TrainedModel(name, store) for name in names]
    for trained in models:
        if trained.dataset != models[0].dataset:
            raise RequestError(
                f"{trained.name}: expected a model of the data set {models[0].dataset.name} as {names[0]} is"
            )
    return models


def told_apart(models: Sequence[TrainedModel]) -> list[str]:
    """What a legend calls models: their systems if there are several, and what differs among those of one system.

    These are weights, sizes and seeds; names where that is not enough.
    """
    settings = [flat({**trained.card["config"]["model"], "seed": trained.card["config"]["seed"]}) for trained in models]
    several = len({found["name"] for found in settings}) > 1

    def label(found: dict[str, Any]) -> str:
        same = [other for other in settings if other["name"] == found["name"]]
        differing = [key for key in found if len({str(other.get(key)) for other in same}) > 1]
        return ", ".join([found["name"]] * several + [f"{key} {value_text(found[key])}" for key in differing])

    labels = [label(found) for found in settings]
    return labels if len({*labels}) == len(models) and all(labels) else [trained.name for trained in models]
