"""The page of an optimum: the state, what is left of it, its rivals, and the data beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from nets.words import words
from orchestrator.html import figure_text
from orchestrator.optimization.request import OptimizeConfig
from orchestrator.page import Origin, Section, listed, page
from physics.model import SpinModel
from physics.render import COLUMNS, colors_text, evenly, rings_text, row_figure, state_figure, strips_figure
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
    wanted = words(objective.name, model)
    values = _values(figures, model)
    sign = 1 if objective.direction == "max" else -1
    training = shown.beside["training"]["score"].to_numpy()
    history = search_figure(sign * shown.history, training, figures["score"], wanted)
    kept = f"Of {len(shown.table)} that were kept, {int(figures['states_within'])} keep the limits."
    strips = [("found", shown.spins[i : i + COLUMNS]) for i in range(0, min(PICTURED, len(shown.spins)), COLUMNS)]
    text = (
        "The best state, of those that keep the limits if any does: left, its spins; right, the energy of each site, "
        f"half of its bonds and its own field, whose mean is ε. {colors_text(model)} {rings_text(model)} Searched "
        f"subject to {shown.limits}."
    )
    sections = [
        Section("The optimum", text, state_figure(shown.winner.spins.numpy(), model, values), "winner.png"),
        *_at_rest(shown, model),
        _rivals(shown, model, wanted),
        *_of_many(search, shown, model, wanted),
        Section(
            "The best states of the search",
            f"The states that the search ended with, the best first. {kept} Below, states of the prior, from which it "
            "began: the found ones should be as good textures as these.",
            strips_figure([*strips, ("prior", shown.generated)], model),
            "states.png",
        ),
        _along(shown, model, wanted),
        _ensembles(shown, model),
        Section("The search, and the training data beside it", HISTORY, history, "history.png"),
        Section("Figures", FIGURES, rows=listed(dict(figures))),
    ]
    summary = f"{wanted} = {figures['score']:z.5g}{unit} ({objective.name}): {values}."
    return page(f"Optimum {name}", summary, sections, origin, model, shown.said)


def _values(figures: Mapping[str, float], model: SpinModel, prefix: str = "") -> str:
    """Observables and defects of a state on a line."""
    said = [f"{known.label} {figure_text(figures[prefix + name])}" for name, known in model.observables.items()]
    return ", ".join([*said, f"{model.defect} {figures[prefix + model.defect_column]:g}"])


HISTORY = (
    "Left, the best score so far and the mean of the states of each iteration: a best score that still rises at the "
    "end asks for more iterations. Right, how many of the training data have each value, and the optimum beside them."
)
FIGURES = (
    "All numbers of the optimum that its card holds. Those of the data are of what the model was trained on; distances "
    "are means of (S - S')² / 4 over the sites, 0 for equal states and 1 for opposite ones."
)


def _along(shown: Shown, model: SpinModel, objective: str) -> Section:
    """The best state so far at some iterations, with its values."""
    titles = [f"iteration {row.iteration}\n{objective} {row.score:z.4g}" for row in shown.along.itertuples()]
    names = ["iteration", "score", *model.observables, model.defect_column]
    return Section(
        "The best state along the search",
        f"The best state so far at some iterations, and what is measured of it. {rings_text(model)}",
        row_figure(shown.course, model, titles),
        "course.png",
        rows=shown.along[names].rename(columns={"score": objective}),
    )


ENSEMBLES = (
    "Distributions of what is measured: of data, of states generated from the prior, as a search begins with them, and "
    "of those found. Dotted line and star: the optimum, beside the training data on the right; an optimum far from all "
    "data is a state that the model has made up. Below, means."
)


def _ensembles(shown: Shown, model: SpinModel) -> Section:
    """Data, generated and found states: distributions and means of every observable."""
    ensembles = {**shown.beside, "found": shown.table}
    names = ["score", *model.observables, model.defect_column]
    means = pd.DataFrame(
        [{"states": name.replace("_", "-"), **table[names].mean()} for name, table in ensembles.items()]
    )
    return Section(
        "Beside data and the prior", ENSEMBLES, ensembles_figure(ensembles, model), "ensembles.png", rows=means
    )


def _at_rest(shown: Shown, model: SpinModel) -> list[Section]:
    """What is left of the winner after its descent at T = 0."""
    winner = shown.winner
    if winner.rested is None:
        return []
    text = (
        "The nearby state of rest under its own Hamiltonian, by descent at T = 0: what the magnet would leave of the "
        f"state. Moved by {winner.figures['moved']:.3g} and from the nearest of the held-out data by "
        f"{winner.figures['nearest_data']:.3g}, as means of (S - S')² / 4: far from rest, the score is one that no "
        f"magnet keeps. At rest it is {winner.figures['rested_score']:z.5g}."
    )
    values = _values(winner.figures, model, "rested_")
    return [Section("At rest", text, state_figure(winner.rested.numpy(), model, values), "rested.png")]


RIVALS = (
    "Each is the state of highest score within the limits: of the search, of the data, and of samplers that were given "
    "as much time of CPUs as the search took of its CPUs or GPUs; the relative cost is what they used of it. A search "
    "that is worth its time finds what they do not. In a field means four fields in turn; the energies are without it."
)


def _rivals(shown: Shown, model: SpinModel, objective: str) -> Section:
    """Winner, data and rivals, a row each."""
    names = ["score", *model.observables, model.defect_column]
    rested = [f"rested_{name}" for name in names if f"rested_{name}" in shown.winner.figures]
    found = {"state": "found", **{name: shown.winner.figures[name] for name in [*names, *rested, "within"]}}
    best = {"state": "best of the training data", **_best_of(shown, names)}
    table = pd.DataFrame([found, best, *shown.rivals.to_dict("records")])
    columns = [name for name in ["state", *names, "within", *rested, "share"] if name in table]
    titles = [f"{row.state}\n{objective} {figure_text(row.score)}" for row in table.drop(index=1).itertuples()]
    states = np.concatenate((shown.winner.spins.numpy()[None], shown.rival_states))
    figure = row_figure(states, model, titles)
    rows = table[columns].assign(within=table["within"].astype(bool))
    return Section("Rivals", RIVALS, figure, "rivals.png", rows=rows)


def _best_of(shown: Shown, names: Sequence[str]) -> dict[str, float | bool]:
    row = shown.beside["training"].iloc[0]
    return {**{name: float(row[name]) for name in names}, "within": bool(row["within"])}


FRONT = (
    "Each point is a state: of two on the front each is better in one of the two values. What lies on its other side "
    "was not found, neither among the data nor by the search. The letters are states that are drawn below."
)


def _of_many(search: Optimizer, shown: Shown, model: SpinModel, objective: str) -> list[Section]:
    """What a search shows that is after more than one winner."""
    data = shown.beside["training"]
    if isinstance(search, Archive):
        text = (
            f"Each cell is a kind of state, by two of its observables; {len(search.cells)} are filled, with the state "
            "of highest score that was found there. Red: the training data; cells far from them are what the model "
            "makes beyond its data. Right, some of the states where they lie in the map."
        )
        figure = archive_figure(search, data, shown.spins, shown.table, model, objective)
        return [Section("What the model can make", text, figure, "archive.png", cover=True)]
    if isinstance(search, Pareto):
        against = search.settings.observables[0]
        picked = evenly(max(1, int(shown.table["within"].sum())), len(LETTERS))
        rows = shown.table.iloc[picked]
        titles = [
            f"{letter}: {objective} {figure_text(row['score'])}\n{words(against, model)} {figure_text(row[against])}"
            for letter, (_, row) in zip(LETTERS, rows.iterrows(), strict=False)
        ]
        front = front_figure(shown.table, data, picked, model, objective, against)
        along = row_figure(shown.spins[picked], model, titles)
        text = f"From the best of the objective, a, to the best of the other value. {rings_text(model)}"
        return [
            Section("The front", FRONT, front, "front.png", cover=True),
            Section("Along the front", text, along, "along.png"),
        ]
    return []
