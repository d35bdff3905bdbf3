"""The page of an optimum: the state, the way to it, and the training data beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from orchestrator.html import figure_text
from orchestrator.optimization.request import OptimizeConfig
from orchestrator.page import Origin, Section, listed, page
from physics.model import SpinModel
from physics.render import state_figure
from search.figures import search_figure
from search.objectives import Objective
from search.winner import Winner


def optimum_page(
    name: str,
    config: OptimizeConfig,
    model: SpinModel,
    winner: Winner,
    history: np.ndarray,
    figures: dict[str, float],
    said: list[str],
    values: np.ndarray,
    origin: Origin,
) -> dict[str, bytes]:
    """The page and its pictures.

    Args:
        said: what one should know of the winner.
        history: best score so far and mean score of every iteration, ``(iterations, 2)``.
        values: of the objective on training configurations, as in figure 5e, f of the 2023 paper.
    """
    objective = config.objective
    unit = f" {objective.unit(model)}" if objective.unit(model) else ""
    measured = ", ".join(f"{key} {figure_text(figures[key])}" for key in [*model.observables, model.defect_column])
    label = f"{objective.name} = {figures['score']:.5g}{unit}: {measured}"
    sign = 1 if objective.direction == "max" else -1
    figure = search_figure(sign * history, values, figures["score"], objective.name)
    sections = [
        Section(
            "The optimum",
            f"Red circles: {model.defect}.",
            state_figure(winner.spins.numpy(), model, label),
            "winner.png",
        ),
        *_at_rest(winner, model, objective),
        Section("The search, and the training data beside it", figure=figure, file="history.png"),
        Section("Figures", rows=listed(figures)),
    ]
    return page(f"Optimum {name}", " ".join([f"{label}.", *said]), sections, origin)


def _at_rest(winner: Winner, model: SpinModel, objective: Objective) -> list[Section]:
    """What is left of the winner after its descent at T = 0."""
    if winner.rested is None:
        return []
    names = ["score", *model.observables, model.defect_column]
    table = pd.DataFrame(
        {
            "": [objective.name, *names[1:]],
            "as found": [figure_text(winner.figures[name]) for name in names],
            "at rest": [figure_text(winner.figures[f"rested_{name}"]) for name in names],
        }
    )
    text = (
        "The nearby state of rest under its own Hamiltonian, by descent at T = 0: what the magnet would leave of the "
        f"state. Moved by {winner.figures['moved']:.3g} and from the nearest of the data by "
        f"{winner.figures['nearest_data']:.3g}, as means of (S - S')^2 / 4."
    )
    label = f"{objective.name} = {winner.figures['rested_score']:.5g} at rest"
    return [Section("At rest", text, state_figure(winner.rested.numpy(), model, label), "rested.png", rows=table)]
