"""The page of an optimum: the state, the way to it, and the training data beside it."""

from __future__ import annotations

import numpy as np

from orchestrator.html import figure_text
from orchestrator.optimization.request import OptimizeConfig
from orchestrator.page import Origin, Section, listed, page
from physics.model import SpinModel
from physics.render import state_figure
from search.figures import search_figure


def optimum_page(
    name: str,
    config: OptimizeConfig,
    model: SpinModel,
    spins: np.ndarray,
    history: np.ndarray,
    figures: dict[str, float],
    values: np.ndarray,
    origin: Origin,
) -> dict[str, bytes]:
    """The page and its pictures.

    Args:
        spins: the winner, ``(components, L, L)``.
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
        Section("The optimum", f"Red circles: {model.defect}.", state_figure(spins, model, label), "winner.png"),
        Section("The search, and the training data beside it", figure=figure, file="history.png"),
        Section("Figures", rows=listed(figures)),
    ]
    return page(f"Optimum {name}", label, sections, origin)
