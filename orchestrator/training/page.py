"""The page of a training: losses along it, states generated on the way, figures beside the data's."""

from __future__ import annotations

import pandas as pd
from torch import Tensor

from nets.words import words
from orchestrator.page import Origin, Section, listed, page
from orchestrator.training.reference import REFERENCE, above_linear
from orchestrator.training.request import TrainConfig
from physics.render import colors_text, curves_figure, strips_figure

LOSSES = (
    "The losses that the networks were trained with, against the steps done. They should have become flat by the end; "
    "one that still falls asks for more steps."
)
STATES = (
    "A row after each number of steps, decoded from the same codes of the prior: what the model makes, as it learnt. "
    "The last row should look like the data and each state unlike the others; states that are all alike have collapsed."
)
BESIDE = (
    "Means over states generated from the prior, beside as many of the data. A good model has about the same energies, "
    "magnetisations and defects; a k-space MSE far below that of the data says that its states resemble each other."
)


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
    model = config.dataset.hamiltonian
    table = pd.DataFrame(history).set_index("step")
    losses = curves_figure(table.rename(columns=lambda name: words(str(name), model)), "step")
    rows = [(f"step {step}", spins.numpy()) for step, spins in pictures.items()]
    states = strips_figure(rows, model)
    beside = pd.DataFrame(
        {"figure": list(data), "generated": [figures[key] for key in data], "data": list(data.values())}
    )
    held_out = {key: value for key, value in figures.items() if key.startswith(("validation_", "linear_vae_"))}
    sections = [
        Section("Losses", LOSSES, losses, "losses.png"),
        Section("Generated states", f"{STATES} {colors_text(model)}", states, "states.png", cover=True),
        *([Section("Generated states beside the data", BESIDE, rows=beside)] if data else []),
        *([Section("Held out", REFERENCE, rows=listed(held_out))] if "linear_vae_loss" in held_out else []),
    ]
    summary = f"{config.system.name} on {config.dataset.name}: step {history[-1]['step']} of {config.steps}."
    return page(f"Training {config.name}", summary, sections, origin, model, above_linear(figures))
