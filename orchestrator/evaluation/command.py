"""orch sample, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.options import Common, Job, Setting, making

PANEL = "Judge and look inside"

LANGEVIN = Setting("langevin", bool, "DDLS with noise and the prior, Che et al. 2020.", False)
SAMPLES = [
    Setting("n", int, "Samples.", 1000),
    Setting("steps", int, "Steps of discriminator-driven latent sampling (DDLS).", 0),
    Setting("step_size", float, "Size of each of these steps.", 0.01),
    LANGEVIN,
]


def register(app: typer.Typer) -> None:
    making(app, "sample", PANEL, SAMPLES)(sample)
    making(app, "evaluate", PANEL, SAMPLES)(evaluate)


def sample(
    common: Common,
    model: Annotated[str, typer.Argument(help="A model of the store: a name, or its beginning or end.")],
    to: Annotated[Path, typer.Option(help="New file, .npy.")] = Path("samples.npy"),
) -> Job:
    """Draw configurations from a model into a .npy file, from the prior or refined by DDLS."""
    from orchestrator.data import interchange
    from orchestrator.evaluation import run
    from orchestrator.evaluation.request import SampleConfig
    from orchestrator.training.trained import TrainedModel

    config = common.request(SampleConfig)
    store = common.existing
    name = store.find(model, "models")[1]
    if config.steps:
        _ = TrainedModel(name, store).discriminator
    interchange.check_new(to, ".npy")

    def made() -> tuple[str, list[str]]:
        interchange.save_new(to, run.sample(config, name, store).numpy())
        return name, [str(to)]

    return Job(None, store, lambda: [f"{config.n} samples of {name}, {config.steps} steps of DDLS, into {to}"], made)


def evaluate(
    common: Common,
    models: Annotated[list[str], typer.Argument(help="Models of the store: names, or their beginnings or ends.")],
) -> Job:
    """Judge samples beside the data: energy, defects, precision, recall, density and coverage."""
    from orchestrator.analysis import artifact
    from orchestrator.evaluation import run
    from orchestrator.evaluation.request import SampleConfig

    config = common.request(SampleConfig)
    store = common.existing
    names = [store.find(text, "models")[1] for text in models]
    run.check(config, names, store)
    return Job(
        "analyses",
        store,
        lambda: artifact.plan("evaluate", config, names),
        lambda: run.evaluate(config, names, store),
    )
