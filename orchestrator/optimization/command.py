"""orch optimize."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from orchestrator.data.command import ActorsOption
from orchestrator.options import Common, Job, Setting, making
from orchestrator.sweeps.command import DEFAULT_SPACE, QuickOption, sweep_request

PANEL = "Search"

SEARCH = [
    Setting("objective", str, "<observable>_max or _min, another name, or module:function.", "mz_max"),
    Setting("optimizer.name", str, "genetic, gradient, or module:Class.", "genetic", "--optimizer"),
    Setting("optimizer.population", int, "Codes that are scored together.", 100),
    Setting("iterations", int, "Times that codes are asked for and scored.", 2000),
]


def register(app: typer.Typer) -> None:
    making(app, "optimize", PANEL, SEARCH)(optimize)


def optimize(
    common: Common,
    model: Annotated[
        str | None, typer.Option(help="A model of the store. Default: the best that makes diverse states.")
    ] = None,
    space: Annotated[str, typer.Option(help="What is swept first, if the store holds no model.")] = DEFAULT_SPACE,
    quick: QuickOption = False,
    actors: ActorsOption = None,
) -> Job:
    """Search the latent space of a model."""
    from orchestrator.console import log
    from orchestrator.errors import RequestError
    from orchestrator.optimization import run
    from orchestrator.optimization.request import OptimizeConfig
    from orchestrator.sweeps import run as sweeps
    from orchestrator.training.selection import one
    from orchestrator.training.trained import TrainedModel, best

    config = replace(common, scale=common.scale if common.config is not None else None).request(OptimizeConfig)
    target = common.target
    name = best(target) if model is None else one(model, target)
    if name is not None:
        run.check(config, TrainedModel(name, target).model)
        return Job(
            "optima",
            target,
            lambda: run.plan(config, name, target),
            lambda: run.run(config, name, target, actors),
            config.name_in(name),
        )
    plain = replace(common, config=None, settings=None, given={}, seed=None)
    first = sweep_request(plain, quick, space=space)
    run.check(config, first.dataset.hamiltonian)

    def swept_first() -> tuple[str, dict]:
        log(f"{target.root}: no diverse model yet; sweeping {space} first")
        sweeps.run(first, target, actors)
        found = best(target)
        if found is None:
            raise RequestError(f"{target.root}: no model of {space} generates diverse states; expected one, or --model")
        return run.run(config, found, target, actors)

    def planned() -> list[str]:
        then = (
            f"then {config.optimizer.name}: {config.objective.name}, {config.iterations} iterations in the best model"
        )
        return [f"no diverse model yet; first {space}", *sweeps.plan(first, target), then]

    return Job("optima", target, planned, swept_first)
