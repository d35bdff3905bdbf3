"""The page of a training: losses along it, states generated on the way, figures beside the data's."""

from __future__ import annotations

import pandas as pd
from torch import Tensor

from orchestrator.page import Origin, Section, listed, page
from orchestrator.training.reference import REFERENCE
from orchestrator.training.request import TrainConfig
from physics.render import curves_figure, strips_figure


def training_page(
    config: TrainConfig,
    history: list[dict[str, float]],
    pictures: dict[int, Tensor],
    figures: dict[str, float],
    data: dict[str, float],
    origin: Origin,
) -> dict[str, bytes]:
    """The page and its figures.

    Args:
        pictures: states of the same codes after some numbers of steps.
        figures, data: of the generated ensemble and of the training data; empty while training goes on.
    """
    losses = curves_figure(pd.DataFrame(history).set_index("step"), "step")
    rows = [(f"step {step}", spins.numpy()) for step, spins in pictures.items()]
    states = strips_figure(rows, config.dataset.hamiltonian)
    beside = pd.DataFrame(
        {"figure": list(data), "generated": [figures[key] for key in data], "data": list(data.values())}
    )
    held_out = {key: value for key, value in figures.items() if key.startswith(("validation_", "linear_vae_"))}
    sections = [
        Section("Losses", figure=losses, file="losses.png"),
        Section(
            "Generated states", "From the same codes of the prior, as training went.", states, "states.png", cover=True
        ),
        *([Section("Figures", rows=beside)] if data else []),
        *([Section("Held out", REFERENCE, rows=listed(held_out))] if "linear_vae_loss" in held_out else []),
    ]
    summary = f"{config.system.name} on {config.dataset.name}: step {history[-1]['step']} of {config.steps}."
    return page(f"Training {config.name}", summary, sections, origin)
