"""orch map, ddls, interpolate, invert."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from orchestrator.evaluation.command import LANGEVIN, PANEL
from orchestrator.options import Common, Job, Setting, making

MAP = [
    Setting("axes", tuple[int, int], "Two components of the code.", "0 1"),
    Setting("reach", float, "The components go from -reach to reach.", 2.0),
    Setting("points", int, "Points along each axis.", 81),
]
DDLS = [
    Setting("n", int, "Samples.", 64),
    Setting("steps", int, "Steps of discriminator-driven latent sampling.", 100),
    Setting("step_size", float, "Size of each of these steps.", 0.01),
    LANGEVIN,
]
INVERSION = [
    Setting("starts", int, "Codes that an inverse mapping starts from.", 16),
    Setting("iterations", int, "Steps of an inverse mapping.", 500),
    Setting("learning_rate", float, "Of Adam in an inverse mapping.", 0.05),
]
LINE = [Setting("points", int, "Points along each line, both ends included.", 61), *INVERSION]

ModelArgument = Annotated[str, typer.Argument(help="A model of the store: a name, or its beginning or end.")]
STATE = "an optimum, NAME:ROW of a data set or a model, or an .ovf or .npy file"


def register(app: typer.Typer) -> None:
    making(app, "map", PANEL, MAP)(latent_map)
    making(app, "ddls", PANEL, DDLS)(ddls)
    making(app, "interpolate", PANEL, LINE)(interpolate)
    making(app, "invert", PANEL, INVERSION)(invert)


def _job(kind: str, run: Callable[..., Any], config: Any, model: str, common: Common) -> Job:
    from orchestrator.analysis import artifact

    store = common.existing
    name = store.find(model, "models")[1]
    return Job("analyses", store, lambda: artifact.plan(kind, config, [name]), lambda: run(config, name, store))


def latent_map(common: Common, model: ModelArgument) -> Job:
    """Map energy and discriminator over two axes of a latent space, and decode across a barrier."""
    from orchestrator.analysis import run
    from orchestrator.analysis.request import MapConfig

    return _job("map", run.latent_map, common.request(MapConfig), model, common)


def ddls(common: Common, model: ModelArgument) -> Job:
    """Watch discriminator-driven latent sampling: defects, energy, and Grad-CAM along the way."""
    from orchestrator.analysis import run
    from orchestrator.evaluation.request import SampleConfig

    config = common.request(SampleConfig, defaults={"n": 64, "steps": 100})
    return _job("ddls", run.watch_ddls, config, model, common)


def interpolate(
    common: Common,
    model: ModelArgument,
    states: Annotated[list[str], typer.Argument(help=f"Two or more, each prior:SEED, {STATE}.")],
) -> Job:
    """Go straight from state to state in the latent space; observables and defects on the way."""
    from orchestrator.analysis import run
    from orchestrator.analysis.request import LineConfig

    return _job("interpolate", run.interpolate, common.request(LineConfig, {"states": states}), model, common)


def invert(
    common: Common,
    model: ModelArgument,
    state: Annotated[str, typer.Argument(help=f"{STATE[0].upper()}{STATE[1:]}.")],
) -> Job:
    """Find the code that decodes to a given state, as near as the model comes to it."""
    from orchestrator.analysis import run
    from orchestrator.analysis.request import InvertConfig

    return _job("invert", run.inverse_map, common.request(InvertConfig, {"state": state}), model, common)
