"""orch train."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.options import Common, Job, Setting, making

PANEL = "Train and sweep"

TRAINING = [Setting("steps", int, "Updates of every network. Default: of the system.")]
WorkersOption = Annotated[
    str | None, typer.Option(help="Data-parallel workers: N, or MIN:MAX (elastic). Default: 1.", metavar="N|MIN:MAX")
]
GpuOption = Annotated[bool, typer.Option("--gpu", help="A GPU for each worker. Default: CPUs alone.")]
DataOption = Annotated[
    str | None,
    typer.Option(help="Data set: a shipped name, a YAML file, or a name in the store. Default: of the YAML file."),
]


def register(app: typer.Typer) -> None:
    making(app, "train", PANEL, TRAINING)(train)


def train(
    common: Common,
    model: Annotated[
        str | None,
        typer.Option(
            help="Shipped system: vae, gan, hybrid, vae-2022, evae-2021 or xy; or a YAML file. Default: hybrid."
        ),
    ] = None,
    data: DataOption = None,
    workers: WorkersOption = None,
    gpu: GpuOption = False,
) -> Job:
    """Train a generative system under Ray Train."""
    from orchestrator.config import shipped_file
    from orchestrator.errors import RequestError
    from orchestrator.training import run
    from orchestrator.training.request import DEFAULT_SYSTEM, TrainConfig
    from physics.registry import cut

    if model is not None and common.config is not None:
        raise RequestError(f"--model {cut(model)} with --config {cut(common.config)}: expected one of them")
    source = shipped_file("systems", DEFAULT_SYSTEM if model is None else model)
    config = common.request(TrainConfig, training_options(common, data, workers, gpu), source, references(common))
    target = common.target
    return Job("models", target, lambda: run.plan(config, target), lambda: run.run(config, target), config.name)


def references(common: Common) -> dict[str, Any]:
    """What a file's ``dataset: NAME`` stands for."""
    from orchestrator.data.request import dataset_named

    def dataset(text: str, scale: str | None) -> dict[str, Any]:
        return dataset_named(text, scale, common.target).model_dump()

    return {"dataset": dataset}


def training_options(common: Common, data: str | None, workers: str | None, gpu: bool) -> dict[str, Any]:
    """Settings that the options of a training stand for."""
    options: dict[str, Any] = {}
    if data is not None:
        options["dataset"] = data
    if workers is not None:
        options["resources.workers"] = _worker_counts(workers)
    if gpu:
        options["resources.gpus"] = 1
    return options


def _worker_counts(text: str) -> Any:
    """N, or MIN:MAX."""
    from orchestrator.errors import RequestError
    from physics.registry import cut

    counts = text.split(":")
    if len(counts) > 2 or not all(part.isdecimal() and len(part) < 10 for part in counts):
        raise RequestError(f"--workers {cut(text)}: expected N or MIN:MAX, such as 2 or 1:4")
    return tuple(map(int, counts)) if len(counts) == 2 else int(counts[0])
