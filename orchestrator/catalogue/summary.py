"""An artifact in a line: when it was made, how large it is, what tells it apart from others, what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from nets.words import words
from orchestrator.catalogue.lineage import Card, kind_of, parents_of
from orchestrator.html import figure_text
from orchestrator.store import bytes_of
from physics.masks import is_mask, sites_text
from physics.registry import printable

FIGURES = {
    "datasets": {"energy_mean": "ε", "energy_min": "lowest ε"},
    "models": {"energy_mean": "ε", "diversity": "diversity", "validation_reconstruction": "validation reconstruction"},
    "optima": {"score": "score", "energy": "ε"},
}
FIRST = 3  # figures of an analysis that are shown
LONG = 60  # characters of a value
WITHOUT = ("checkpoint_seconds", "resources", "label", "metric", "mode", "analysis")  # which change no result


def created(card: Card) -> str:
    """When an artifact was made, to the minute, by this machine's clock."""
    return local_time(card.get("created"))


def local_time(when: Any) -> str:
    """Of an ISO date or of seconds since 1970, to the minute; "-" where it is neither."""
    try:
        moment = datetime.fromtimestamp(when) if isinstance(when, int | float) else datetime.fromisoformat(when)
        return moment.astimezone().strftime("%Y-%m-%d %H:%M")
    except (TypeError, ValueError, OverflowError, OSError):
        return "-"


def size(card: Card) -> int:
    """Bytes of the files that a card lists."""
    return sum(map(bytes_of, [*card.get("files", {}).values(), *card.get("shards", [])]))


def size_text(count: float) -> str:
    """A number of bytes as a person says it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Sections in sections as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def value_text(value: Any, long: int | None = LONG) -> str:
    """A value on one line."""
    if is_mask(value):
        text = sites_text(value)
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key}: {value_text(inner, None)}" for key, inner in value.items()) + "}"
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(value_text(inner, None) for inner in value) + "]"
    else:
        text = f"{value:.6g}" if isinstance(value, float) else "-" if value is None else str(value)
    text = printable(text)
    return text if long is None or len(text) <= long else f"{text[: long - 4]} ..."


def figures(kind: str, card: Card) -> dict[str, Any]:
    """The figures that matter, under the names that a person reads."""
    known = card.get("figures")
    known = known if isinstance(known, Mapping) else {}
    if kind == "sweeps":
        best, metric = known.get("best"), known.get("metric", [])
        metrics = metric if isinstance(metric, list) else [metric]
        return {words(str(name)): best.get(name) for name in metrics} if isinstance(best, Mapping) else {}
    if kind in FIGURES:
        found = {text: known[key] for key, text in FIGURES[kind].items() if number(known.get(key))}
        return {"n": card["configurations"], **found} if "configurations" in card else found
    return dict([(words(key), value) for key, value in known.items() if number(value)][:FIRST])


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def figures_line(kind: str, card: Card, most: int | None = None) -> str:
    found = list(figures(kind, card).items())[:most]
    return ", ".join(f"{printable(name)} {_figure(value)}" for name, value in found)


def _figure(value: Any) -> str:
    return "-" if value is None else figure_text(value)


def parameters(cards: Mapping[str, Card]) -> dict[str, dict[str, Any]]:
    """What tells artifacts apart, by place: dotted keys that are not as by default, without those all of a kind share.

    Cards of before version 0.5 do not say which keys those are; of them all count.
    """
    given = {place: _given(card) for place, card in cards.items()}
    found: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(map(kind_of, cards)):
        places = [place for place in cards if kind_of(place) == kind]
        shared = _shared([given[place] for place in places])
        lone = kind not in ("datasets", "models")  # of these the leading keys say enough when there is but one
        for place in places:
            apart = {key: value for key, value in given[place].items() if key not in shared}
            if len(places) == 1:
                apart = {} if lone else given[place]
            found[place] = _leading(kind, cards[place]) | apart
    return found


def _given(card: Card) -> dict[str, Any]:
    known = card.get("given")
    config = card.get("config")
    keys = known if isinstance(known, Mapping) else flat(config) if isinstance(config, Mapping) else {}
    return {
        key: value
        for key, value in keys.items()
        if value is not None and key.partition(".")[0] not in (*WITHOUT, "space")
    }


def _shared(settings: Sequence[Mapping[str, Any]]) -> set[str]:
    """Keys that have one value in all."""
    first, *others = settings
    missing = object()
    return {key for key, value in first.items() if all(other.get(key, missing) == value for other in others)}


def _leading(kind: str, card: Card) -> dict[str, Any]:
    """What is always said of an artifact."""
    config = card.get("config")
    config = config if isinstance(config, Mapping) else {}
    if kind == "sweeps":
        space = config.get("space")
        varied = {key: _range(values) for key, values in space.items()} if isinstance(space, Mapping) else {}
        return {"trial.name": _name(config.get("trial")), **varied}
    if kind == "optima":
        parts = {key: _name(config.get(key)) for key in ("objective", "optimizer")}
        named = {f"{key}.name": name for key, name in parts.items()}
        return named | {"iterations": config.get("iterations"), **_models(card)}
    if kind == "analyses":
        return {"analysis": config.get("analysis"), **_models(card)}
    return {}


def _models(card: Card) -> dict[str, Any]:
    """What something was made from."""
    models = [parent.partition("/")[2] for parent in parents_of(card)]
    return {"models": models} if len(models) != 1 else {"model": models[0]}


def _range(values: Any) -> Any:
    """What a swept key may be, as a person writes it."""
    said = {key: value for key, value in values.items() if value is not None} if isinstance(values, Mapping) else values
    return next(iter(said.values())) if isinstance(said, Mapping) and set(said) in ({"choice"}, {"fixed"}) else said


def _name(settings: Any) -> Any:
    return settings.get("name") if isinstance(settings, Mapping) else settings


def parameters_line(keys: Mapping[str, Any]) -> str:
    return ", ".join(f"{printable(key)}={value_text(value)}" for key, value in keys.items())
