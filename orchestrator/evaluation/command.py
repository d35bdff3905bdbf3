"""orch sample, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.data.command import GpuOption
from orchestrator.options import Common, Job, Setting, making

PANEL = "Judge and look inside"
SWEPT = "or SWEEP:KEY=VALUE,... for trainings of a sweep"

LANGEVIN = Setting("langevin", bool, "DDLS with noise and the prior, Che et al. 2020.", False)
SAMPLES = [
    Setting("n", int, "Samples.", 1000),
    Setting("steps", int, "Steps of discriminator-driven latent sampling (DDLS).", 0),
    Setting("step_size", float, "Size of each of these steps.", 0.01),
    LANGEVIN,
]
FIELDS = [
    Setting("temperature", float, "Temperature, in units of J.", 0.1),
    Setting("n", int, "Fields.", 1000),
    Setting("L", int, "Sites along each edge. Default: of the model.", None, "--L"),
    Setting("polish", int, "Metropolis sweeps of each field, its charges held, towards equilibrium.", 0),
    Setting("overrelaxation", int, "Over-relaxation sweeps after each of them.", 4),
]


def register(app: typer.Typer) -> None:
    making(app, "sample", PANEL, SAMPLES)(sample)
    making(app, "evaluate", PANEL, SAMPLES)(evaluate)
    making(app, "reconstruct", PANEL, FIELDS)(reconstruct)


def sample(
    common: Common,
    model: Annotated[
        str, typer.Argument(help=f"A model of the store: a name, its beginning or end, {SWEPT} that leave one.")
    ],
    to: Annotated[Path, typer.Option(help="New file, .npy.")] = Path("samples.npy"),
    gpu: GpuOption = False,
) -> Job:
    """Draw configurations from a model into a .npy file, from the prior or refined by DDLS."""
    from orchestrator.data import interchange
    from orchestrator.evaluation import run
    from orchestrator.evaluation.request import SampleConfig
    from orchestrator.training.selection import one
    from orchestrator.training.trained import TrainedModel

    config = common.request(SampleConfig)
    store = common.existing
    name = one(model, store)
    if config.steps:
        _ = TrainedModel(name, store).discriminator
    interchange.check_new(to, ".npy")

    def made() -> tuple[str, list[str]]:
        interchange.save_new(to, run.sample(config, name, store, gpu).numpy())
        return name, [str(to)]

    return Job(None, store, lambda: [f"{config.n} samples of {name}, {config.steps} steps of DDLS, into {to}"], made)


def evaluate(
    common: Common,
    models: Annotated[
        list[str], typer.Argument(help=f"Models of the store: names, or their beginnings or ends, {SWEPT}.")
    ],
    gpu: GpuOption = False,
) -> Job:
    """Judge samples between held-out data and the same with noise: energy, defects, precision, coverage, copies."""
    from orchestrator.analysis import artifact
    from orchestrator.evaluation import run
    from orchestrator.evaluation.request import SampleConfig
    from orchestrator.training.selection import chosen

    config = common.request(SampleConfig)
    store = common.existing
    names = chosen(models, store)
    run.check(config, names, store)
    return Job(
        "analyses",
        store,
        lambda: artifact.plan("evaluate", config, names),
        lambda: run.evaluate(config, names, store, gpu),
        artifact.analysis_name("evaluate", config, names),
    )


def reconstruct(
    common: Common,
    charges: Annotated[
        Path | None,
        typer.Option(help="Vortices: a CSV file of x, y, charge, or a PNG of red +1, blue -1. Default: none."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A model of the store. Default: the newest that takes charges.")
    ] = None,
) -> Job:
    """Make microscopic fields with given vortices at a temperature: statistics, pictures, .npy and Parquet."""
    from orchestrator.analysis import artifact
    from orchestrator.errors import RequestError
    from orchestrator.evaluation import reconstruction
    from orchestrator.evaluation.request import ReconstructConfig
    from orchestrator.training.trained import TrainedModel, conditioned_on
    from physics.registry import cut
    from physics.states import read_charges

    config = common.request(ReconstructConfig)
    store = common.existing
    name = store.find(model, "models")[1] if model else conditioned_on("charges", store)
    found: dict[str, Any] = {"L": config.L or TrainedModel(name, store).settings.L}
    if charges is not None:
        try:
            found["charges"] = read_charges(charges, found["L"])
        except ValueError as error:
            raise RequestError(f"--charges {cut(charges)}: {error}") from None
    config = common.request(ReconstructConfig, found)
    reconstruction.check(config, name, store)
    return Job(
        "analyses",
        store,
        lambda: artifact.plan("reconstruct", config, [name]),
        lambda: reconstruction.run(config, name, store),
        artifact.analysis_name("reconstruct", config, [name]),
    )
