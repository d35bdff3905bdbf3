"""Looking inside a trained model: latent maps, DDLS step by step, lines between states, inverse mapping.

Each analysis is an artifact with a page, its numbers beside it; each is a function of a notebook as well as a command.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
import torch

from nets.metrics import measure
from nets.sampling import decode, prior
from nets.words import words
from orchestrator.analysis import artifact
from orchestrator.analysis.alignment import field
from orchestrator.analysis.artifact import Found
from orchestrator.analysis.lines import interpolate
from orchestrator.analysis.request import InvertConfig, MapConfig
from orchestrator.analysis.states import inverted
from orchestrator.console import Report, counted
from orchestrator.errors import RequestError
from orchestrator.evaluation.request import SampleConfig
from orchestrator.lease import Lease
from orchestrator.page import Section
from orchestrator.store import Store
from orchestrator.training.selection import alike
from orchestrator.training.trained import TrainedModel
from physics.model import SpinModel
from physics.registry import Settings
from physics.render import colors_text, curves_figure, evenly, rings_text, row_figure
from search import latent as search
from search.figures import ddls_figure, losses_figure, map_figure

PICTURED = 5
FAR = 0.1  # L_RC from which on a decoded state is said to be another one
ON_THE_WAY = (
    "The reconstruction loss of the best start against the iterations of the search. It should have become flat by the "
    "end; one that still falls asks for more iterations."
)


def latent_map(config: MapConfig, trained: TrainedModel, report: Report | None = None) -> Found:
    """Energy, defects and discriminator logit over a plane of codes, and three states across its steepest barrier.

    Source: VAE-GAN hybrid (2023), figure 3.

    Raises:
        RequestError: the axes are not of the model's latent space.
    """
    model = trained.model
    origin = torch.from_numpy(prior(1, trained.settings.latent, config.seed))[0]
    ticks = torch.linspace(-config.reach, config.reach, config.points)
    judge = trained.discriminator if trained.settings.discriminator else None
    try:
        with counted("points", report) as show:
            found = search.latent_map(
                trained.decoder, model, origin, config.axes, ticks, trained.labels(1), judge, show
            )
    except ValueError as error:
        raise RequestError(str(error)) from None
    shape = (config.points, config.points)
    drawn = [key for key in ("energy", model.defect_column, "logit") if key in found.table]
    maps = {key: found.table[key].to_numpy().reshape(shape) for key in drawn}
    heat = map_figure(maps, ticks.numpy(), config.axes, found.places, model)
    energies = model.energy(found.states).tolist()
    labels = [f"{letter}: ε {energy:z.4f}" for letter, energy in zip("klm", energies, strict=True)]
    decoded = row_figure(found.states.numpy(), model, labels)
    text = (
        f"A state at each point of the plane of components {config.axes[0]} (across) and {config.axes[1]} (up) of the "
        "code, the others from the prior. Dark basins of the energy are kinds of states, bright ridges the walls "
        "between them; k, l and m lie across the steepest."
    )
    across = (
        "The states before, on and behind the wall, at k, l and m, with their energies ε in J per spin. On a wall the "
        f"texture changes, often by way of defects. {colors_text(model)} {rings_text(model)}"
    )
    sections = [
        Section("The plane", text, heat, "map.png"),
        Section("Across its steepest barrier", across, decoded, "barrier.png"),
    ]
    return Found(found.figures, found.table, sections)


def watch_ddls(config: SampleConfig, trained: TrainedModel, report: Report | None = None) -> Found:
    """Samples on their way uphill in the discriminator: defects, energy, logit, and where Grad-CAM sees fakes.

    Source: VAE-GAN hybrid (2023), figure 4.

    Raises:
        RequestError: the model has no discriminator, or there are no steps.
    """
    if not config.steps:
        raise RequestError(f"--steps {config.steps}: expected at least 1")
    model, noise = trained.model, torch.Generator().manual_seed(config.seed) if config.langevin else None
    codes, labels = torch.from_numpy(prior(config.n, trained.settings.latent, config.seed)), trained.labels(config.n)
    with counted("steps", report) as show:
        found = search.watch_refinement(
            trained.decoder,
            trained.discriminator,
            model,
            codes,
            config.steps,
            config.step_size,
            noise,
            labels,
            progress=show,
        )
    mean = found.table.drop(columns="sample").groupby("step").mean()
    figures = {f"{key}_{when}": float(mean[key].iloc[i]) for key in mean for when, i in (("before", 0), ("after", -1))}
    figures[f"darker_than_{model.defect_column}"] = found.darker
    shown = [found.watched[i] for i in evenly(len(found.watched), PICTURED)]
    states = ddls_figure(shown, model)
    curves = curves_figure(mean.rename(columns=lambda name: words(str(name), model)), "step")
    text = (
        f"The state, its surroundings of the first of its {model.defect}, and by Grad-CAM where the discriminator sees "
        "a fake: bright sites are what it holds against the state, on one scale for all steps. They should coincide "
        f"with the {model.defect} and fade on the way. {colors_text(model)} {rings_text(model)}"
    )
    means = (
        f"What is measured of {config.n} samples, mean at each step. The logit rises as they are moved to please the "
        f"discriminator; energy and {model.defect} should fall along with that."
    )
    sections = [
        Section("One sample on its way", text, states, "ddls.png"),
        Section(f"Means of {config.n} samples", means, curves, "curves.png"),
    ]
    return Found(figures, found.table, sections)


def inverse_map(config: InvertConfig, trained: TrainedModel, report: Report | None = None) -> Found:
    """The code that decodes to a given state, as near as the model comes to it.

    Source: E-VAE (2021), "Inverse mapping".

    Raises:
        RequestError: there is no such state, or it is of another lattice than the model's.
    """
    model = trained.model
    code, losses, target = inverted(config.state, config, trained, report)
    states = torch.stack((target, decode(trained.decoder, code[None], trained.labels(1))[0]))
    rows = measure(states, model)
    figures = {"reconstruction": losses[-1].item(), "code_length": code.norm().item() / len(code) ** 0.5}
    figures |= {f"{whose}{key}": rows[key].tolist()[i] for key in rows for i, whose in enumerate(("target_", ""))}
    shown = row_figure(states.numpy(), model, ["the state", f"decoded, L_RC = {figures['reconstruction']:.2g}"])
    table = pd.DataFrame({"code": [code.tolist()], "spins": [states[1].flatten().tolist()], "L": [target.shape[-1]]})
    sections = [
        Section(
            "The state and its decoding",
            "The state that was given, left, and what the model makes of the code that was found for it, right. L_RC "
            f"is the mean squared difference of their components, 0 where they are equal. {colors_text(model)} "
            f"{rings_text(model)}",
            shown,
            "invert.png",
        ),
        Section("On the way", ON_THE_WAY, losses_figure(losses)),
    ]
    return Found(figures, table, sections, said=_not_met(figures["reconstruction"], model))


def _not_met(left: float, model: SpinModel) -> list[str]:
    """A sentence if the decoded state is not the one that was given."""
    if left < FAR:
        return []
    return [
        f"The model does not make this state: the nearest that was found leaves L_RC = {left:.2g}, where states that "
        f"have nothing in common are at about {2 / model.components:.2g}. More starts or iterations may come nearer."
    ]


ANALYSES: dict[str, Callable[[Any, TrainedModel, Report], Found]] = {
    "map": latent_map,
    "ddls": watch_ddls,
    "invert": inverse_map,
}
OF_SEVERAL: dict[str, Callable[[Any, Sequence[TrainedModel], Report], Found]] = {
    "interpolate": interpolate,
    "field": field,
}


def run(
    kind: str, config: Settings, of: str | Sequence[str], store: Store, subject: str = ""
) -> tuple[str, dict[str, Any]]:
    """Name and card of an analysis of a model, or of several, made unless it is in the store.

    Args:
        subject: what the command is given besides the models, for the page.

    Raises:
        RequestError: models of different data sets.
    """
    names = [of] if isinstance(of, str) else list(of)
    models = alike(names, store)

    def analyse(held: Lease) -> Found:
        if kind in OF_SEVERAL:
            return OF_SEVERAL[kind](config, models, held.report)
        return ANALYSES[kind](config, models[0], held.report)

    return artifact.run(kind, config, names, store, models[0].model, analyse, subject)
