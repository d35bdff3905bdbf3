"""orch sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.data.command import ActorsOption
from orchestrator.options import COMMON, Common, Job, Setting, making
from orchestrator.training.command import (
    PANEL,
    DataOption,
    GpuOption,
    WorkersOption,
    references,
    training_options,
)

if TYPE_CHECKING:
    from orchestrator.sweeps.request import SweepConfig

DEFAULT_SPACE = "evae.yaml"
SWEEP = [
    Setting("metric", str, "Reported figure that is optimised. Default: of the trial program."),
    Setting("mode", str, "Whether it is to be small or large: min or max. Default: of the trial program."),
    Setting("seeds", int, "Trials at each point, with seeds from --seed upward. Default: of the YAML file, or 1."),
]
QuickOption = Annotated[bool, typer.Option("--quick", help="Short for --scale quick.")]


def register(app: typer.Typer) -> None:
    text = "YAML file of a sweep or of a training: a path, or a shipped name. Default: evae.yaml."
    option = typer.Option("--space", "--config", help=text, rich_help_panel=COMMON)
    making(app, "sweep", PANEL, SWEEP, (Annotated[str | None, option], None))(sweep)


def sweep(
    common: Common,
    quick: QuickOption = False,
    data: DataOption = None,
    workers: WorkersOption = None,
    gpu: GpuOption = False,
    actors: ActorsOption = None,
) -> Job:
    """Train over a space of settings: make missing data, run the trial program at each point, draw the result."""
    from orchestrator.sweeps import run

    config = sweep_request(common, quick, training_options(common, data, workers, gpu))
    target = common.target
    return Job("sweeps", target, lambda: run.plan(config, target), lambda: run.run(config, target, actors), config.name)


def sweep_request(
    common: Common, quick: bool, options: dict[str, Any] | None = None, space: str = DEFAULT_SPACE
) -> SweepConfig:
    """The sweep that a command asks for."""
    from dataclasses import replace

    from orchestrator.errors import RequestError
    from orchestrator.sweeps.request import SweepConfig

    if quick and common.scale not in (None, "quick"):
        raise RequestError(f"--quick with --scale {common.scale}: expected one of them")
    scaled = replace(common, scale="quick") if quick else common
    return scaled.request(SweepConfig, options, space, references(scaled))
