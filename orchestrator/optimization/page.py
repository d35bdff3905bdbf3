"""The page of an optimum: the state, what is left of it, its rivals, and the data beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from orchestrator.html import figure_text
from orchestrator.optimization.request import OptimizeConfig
from orchestrator.page import Origin, Section, listed, page
from physics.model import SpinModel
from physics.render import COLUMNS, row_figure, state_figure, strips_figure
from search.archive import Archive
from search.figures import LETTERS, archive_figure, ensembles_figure, front_figure, search_figure
from search.optimizer import Optimizer
from search.pareto import Pareto
from search.winner import Winner

PICTURED = 2 * COLUMNS


class Shown(NamedTuple):
    """What the page is made of.

    Attributes:
        spins: of the states that were kept, ``(n, components, L, L)``, in the order of ``table``.
        table: see :func:`search.winner.candidates`.
        history: best score so far and mean score of every iteration, ``(iterations, 2)``.
        course: spins of the best state so far at some iterations, and ``along`` their values.
        generated: spins of states of the prior.
        said: what one should know of the winner.
        beside: values and observables of data and of generated states, by name; of the training data the best first.
        rivals: a row each, see :func:`search.rivals.rated`.
        rival_states: the best of each, ``(n, components, L, L)``.
        limits: that states have to keep, as text.
    """

    winner: Winner
    spins: np.ndarray
    table: pd.DataFrame
    history: np.ndarray
    course: np.ndarray
    along: pd.DataFrame
    generated: np.ndarray
    figures: Mapping[str, float]
    said: Sequence[str]
    beside: Mapping[str, pd.DataFrame]
    rivals: pd.DataFrame
    rival_states: np.ndarray
    limits: str


def optimum_page(
    name: str, config: OptimizeConfig, model: SpinModel, search: Optimizer, shown: Shown, origin: Origin
) -> dict[str, bytes]:
    """The page and its pictures."""
    objective, figures = config.objective, shown.figures
    unit = f" {objective.unit(model)}" if objective.unit(model) else ""
    names = [*model.observables, model.defect_column]
    label = f"{objective.name} = {figures['score']:.5g}{unit}: " + ", ".join(
        f"{key} {figure_text(figures[key])}" for key in names
    )
    sign = 1 if objective.direction == "max" else -1
    training = shown.beside["training"]["score"].to_numpy()
    history = search_figure(sign * shown.history, training, figures["score"], objective.name)
    kept = f"Of {len(shown.table)} that were kept, {int(figures['states_within'])} keep the limits."
    strips = [("found", shown.spins[i : i + COLUMNS]) for i in range(0, min(PICTURED, len(shown.spins)), COLUMNS)]
    text = f"Red circles: {model.defect}. Searched subject to {shown.limits}."
    sections = [
        Section("The optimum", text, state_figure(shown.winner.spins.numpy(), model, label), "winner.png"),
        *_at_rest(shown, model, objective.name),
        _rivals(shown, model, objective.name),
        *_of_many(search, shown, model, objective.name),
        Section(
            "The best states of the search",
            f"{kept} Below, states of the prior.",
            strips_figure([*strips, ("prior", shown.generated)], model),
            "states.png",
        ),
        _along(shown, model, objective.name),
        _ensembles(shown, model),
        Section("The search, and the training data beside it", figure=history, file="history.png"),
        Section("Figures", rows=listed(dict(figures))),
    ]
    return page(f"Optimum {name}", " ".join([f"{label}.", *shown.said]), sections, origin)


def _along(shown: Shown, model: SpinModel, objective: str) -> Section:
    """The best state so far at some iterations, with its values."""
    titles = [f"iteration {row.iteration}\n{objective} {row.score:.4g}" for row in shown.along.itertuples()]
    names = ["iteration", "score", *model.observables, model.defect_column]
    return Section(
        "The best state along the search",
        f"Red circles: {model.defect}.",
        row_figure(shown.course, model, titles),
        "course.png",
        rows=_text(shown.along[names]),
    )


ENSEMBLES = (
    "Distributions: of data, of states generated from the prior, as a search begins with them, and of those found. "
    "Dotted line and star: the optimum, beside the training data on the right. Below, means."
)


def _ensembles(shown: Shown, model: SpinModel) -> Section:
    """Data, generated and found states: distributions and means of every observable."""
    ensembles = {**shown.beside, "found": shown.table}
    names = ["score", *model.observables, model.defect_column]
    means = pd.DataFrame([{"states": name, **table[names].mean()} for name, table in ensembles.items()])
    return Section(
        "Beside data and the prior", ENSEMBLES, ensembles_figure(ensembles, model), "ensembles.png", rows=_text(means)
    )


def _text(table: pd.DataFrame) -> pd.DataFrame:
    """A table as it is printed."""
    text = table.map(lambda value: value if isinstance(value, str) else figure_text(value))
    return text.rename(columns=lambda name: name.replace("_", " "))


def _at_rest(shown: Shown, model: SpinModel, objective: str) -> list[Section]:
    """What is left of the winner after its descent at T = 0."""
    winner = shown.winner
    if winner.rested is None:
        return []
    text = (
        "The nearby state of rest under its own Hamiltonian, by descent at T = 0: what the magnet would leave of the "
        f"state. Moved by {winner.figures['moved']:.3g} and from the nearest of the held-out data by "
        f"{winner.figures['nearest_data']:.3g}, as means of (S - S')^2 / 4."
    )
    label = f"{objective} = {winner.figures['rested_score']:.5g} at rest"
    return [Section("At rest", text, state_figure(winner.rested.numpy(), model, label), "rested.png")]


RIVALS = (
    "Each is the state of highest score within the limits: of the search, of the data, and of samplers that were given "
    "the CPU time of the search (share: what they used of it). In a field means four fields in turn; the energies are "
    "without it."
)


def _rivals(shown: Shown, model: SpinModel, objective: str) -> Section:
    """Winner, data and rivals, a row each."""
    names = ["score", *model.observables, model.defect_column]
    rested = [f"rested_{name}" for name in names if f"rested_{name}" in shown.winner.figures]
    found = {"state": "found", **{name: shown.winner.figures[name] for name in [*names, *rested, "within"]}}
    best = {"state": "best of the training data", **_best_of(shown, names)}
    table = pd.DataFrame([found, best, *shown.rivals.to_dict("records")])
    columns = [name for name in ["state", *names, "within", *rested, "share"] if name in table]
    text = _text(table[columns])
    text["within"] = ["yes" if value else "no" for value in table["within"]]
    titles = [f"{row.state}\n{objective} {row.score:.4g}" for row in table.drop(index=1).itertuples()]
    states = np.concatenate((shown.winner.spins.numpy()[None], shown.rival_states))
    figure = row_figure(states, model, titles)
    return Section("Rivals", RIVALS, figure, "rivals.png", rows=text)


def _best_of(shown: Shown, names: Sequence[str]) -> dict[str, float | bool]:
    row = shown.beside["training"].iloc[0]
    return {**{name: float(row[name]) for name in names}, "within": bool(row["within"])}


FRONT = (
    "Of two states of the front each is better in one of the two values. What lies on its other side was not found: "
    "neither among the data nor by the search."
)


def _of_many(search: Optimizer, shown: Shown, model: SpinModel, objective: str) -> list[Section]:
    """What a search shows that is after more than one winner."""
    data = shown.beside["training"]
    if isinstance(search, Archive):
        text = f"{len(search.cells)} cells are filled. Each has the state of highest score that was found there."
        figure = archive_figure(search, data, shown.spins, shown.table, model, objective)
        return [Section("What the model can make", text, figure, "archive.png", cover=True)]
    if isinstance(search, Pareto):
        against = search.settings.observables[0]
        last = max(0, int(shown.table["within"].sum()) - 1)
        picked = sorted({round(place) for place in np.linspace(0, last, len(LETTERS))})
        rows = shown.table.iloc[picked]
        titles = [
            f"{letter}: {objective} {row['score']:.4g}\n{against} {row[against]:.4g}"
            for letter, (_, row) in zip(LETTERS, rows.iterrows(), strict=False)
        ]
        front = front_figure(shown.table, data, picked, model, objective, against)
        return [
            Section("The front", FRONT, front, "front.png", cover=True),
            Section("Along the front", f"Red circles: {model.defect}.", row_figure(shown.spins[picked], model, titles)),
        ]
    return []
