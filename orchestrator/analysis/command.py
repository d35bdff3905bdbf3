"""orch map, ddls, field, interpolate, invert."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.evaluation.command import LANGEVIN, PANEL, SWEPT
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

FIELD = [Setting("n", int, "Configurations of each kind.", 1000)]

ModelArgument = Annotated[
    str, typer.Argument(help=f"A model of the store: a name, its beginning or end, {SWEPT} that leave one.")
]
STATE = (
    "an optimum, NAME:ROW of a data set or a model, an .ovf or .npy file, or lattice or interstitial, "
    "the skyrmion lattice of lowest energy without and with one skyrmion more"
)


def register(app: typer.Typer) -> None:
    making(app, "map", PANEL, MAP)(latent_map)
    making(app, "ddls", PANEL, DDLS)(ddls)
    making(app, "field", PANEL, FIELD)(field)
    making(app, "interpolate", PANEL, LINE)(interpolate)
    making(app, "invert", PANEL, INVERSION)(invert)


def _job(kind: str, config: Settings, models: Sequence[str], common: Common, subject: str = "") -> Job:
    import torch

    from orchestrator.analysis import artifact, run
    from orchestrator.training.selection import alike, chosen, one

    store = common.existing
    names = chosen(models, store) if kind in run.OF_SEVERAL else [one(text, store) for text in models]
    alike(names, store)
    torch.set_num_threads(1)  # on a busy machine the threads of small operations wait for each other
    return Job(
        "analyses",
        store,
        lambda: artifact.plan(kind, config, names),
        lambda: run.run(kind, config, names, store, subject),
        artifact.analysis_name(kind, config, names),
    )


def latent_map(common: Common, model: ModelArgument) -> Job:
    """Map energy and discriminator over two axes of a latent space, and decode across a barrier."""
    from orchestrator.analysis.request import MapConfig

    return _job("map", common.request(MapConfig), [model], common)


def ddls(common: Common, model: ModelArgument) -> Job:
    """Watch discriminator-driven latent sampling: defects, energy, and Grad-CAM along the way."""
    from orchestrator.evaluation.request import SampleConfig

    return _job("ddls", common.request(SampleConfig, defaults={"n": 64, "steps": 100}), [model], common)


def field(
    common: Common,
    models: Annotated[
        list[str], typer.Argument(help=f"Models of the store: names, or their beginnings or ends, {SWEPT}.")
    ],
) -> Job:
    """Compare spins with their effective fields: maps of S · h, and angles, of data, reconstructed and generated."""
    from orchestrator.analysis.request import FieldConfig

    return _job("field", common.request(FieldConfig), models, common)


def interpolate(
    common: Common,
    model: Annotated[
        str, typer.Argument(help=f"A model of the store: a name, its beginning or end, {SWEPT}, which are compared.")
    ],
    states: Annotated[list[str], typer.Argument(help=f"Two or more, each prior:SEED, {STATE}.")],
) -> Job:
    """Go straight from state to state in the latent space; observables and defects on the way."""
    from orchestrator.analysis.request import LineConfig

    config = common.request(LineConfig, {"states": states})
    return _job("interpolate", config, [model], common, " ".join(map(shlex.quote, states)))


def invert(
    common: Common,
    model: ModelArgument,
    state: Annotated[str, typer.Argument(help=f"{STATE[0].upper()}{STATE[1:]}.")],
) -> Job:
    """Find the code that decodes to a given state, as near as the model comes to it."""
    from orchestrator.analysis.request import InvertConfig

    return _job("invert", common.request(InvertConfig, {"state": state}), [model], common, shlex.quote(state))
