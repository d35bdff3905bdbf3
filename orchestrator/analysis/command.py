"""orch map, ddls, interpolate, invert."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.evaluation.command import LANGEVIN, PANEL
from orchestrator.options import Common, Job, Setting, making

if TYPE_CHECKING:
    from physics.registry import Settings

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


def _job(kind: str, config: Settings, model: str, common: Common, subject: str = "") -> Job:
    import torch

    from orchestrator.analysis import artifact, run

    store = common.existing
    name = store.find(model, "models")[1]
    torch.set_num_threads(1)  # on a busy machine the threads of small operations wait for each other
    return Job(
        "analyses",
        store,
        lambda: artifact.plan(kind, config, [name]),
        lambda: run.run(kind, config, name, store, subject),
    )


def latent_map(common: Common, model: ModelArgument) -> Job:
    """Map energy and discriminator over two axes of a latent space, and decode across a barrier."""
    from orchestrator.analysis.request import MapConfig

    return _job("map", common.request(MapConfig), model, common)


def ddls(common: Common, model: ModelArgument) -> Job:
    """Watch discriminator-driven latent sampling: defects, energy, and Grad-CAM along the way."""
    from orchestrator.evaluation.request import SampleConfig

    return _job("ddls", common.request(SampleConfig, defaults={"n": 64, "steps": 100}), model, common)


def interpolate(
    common: Common,
    model: ModelArgument,
    states: Annotated[list[str], typer.Argument(help=f"Two or more, each prior:SEED, {STATE}.")],
) -> Job:
    """Go straight from state to state in the latent space; observables and defects on the way."""
    from orchestrator.analysis.request import LineConfig

    config = common.request(LineConfig, {"states": states})
    return _job("interpolate", config, model, common, " ".join(map(shlex.quote, states)))


def invert(
    common: Common,
    model: ModelArgument,
    state: Annotated[str, typer.Argument(help=f"{STATE[0].upper()}{STATE[1:]}.")],
) -> Job:
    """Find the code that decodes to a given state, as near as the model comes to it."""
    from orchestrator.analysis.request import InvertConfig

    return _job("invert", common.request(InvertConfig, {"state": state}), model, common, shlex.quote(state))
