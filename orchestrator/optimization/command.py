"""orch optimize."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.data.command import ActorsOption, GpuOption
from orchestrator.options import Common, Job, Setting, making

if TYPE_CHECKING:
    from nets.system import SystemSettings
    from orchestrator.data.request import DatasetConfig
    from orchestrator.optimization.request import SearchesConfig
    from orchestrator.store import Store
    from physics.model import SpinModel

PANEL = "Search"
DEFAULT_SEARCHED = "vae"

SEARCH = [
    Setting(
        "objective",
        list[str],
        "<observable>_max or _min, another name, a weighted sum, or module:function; repeatable.",
        "mz_max",
    ),
    Setting("seeds", int, "Searches of each objective, with as many seeds.", 1),
    Setting(
        "optimizer.name",
        str,
        "memetic, genetic, gradient, stochastic, cma-es, sep-cma-es, archive, pareto, islands, or module:Class.",
        "memetic",
        "--optimizer",
    ),
    Setting("optimizer.population", int, "Codes that are scored together. Default: of the optimizer."),
    Setting("iterations", int, "Times that codes are asked for and scored.", 500),
]


def register(app: typer.Typer) -> None:
    making(app, "optimize", PANEL, SEARCH)(optimize)


def optimize(
    common: Common,
    model: Annotated[
        str | None, typer.Option(help="A model of the store. Default: the best of data in no field, or else --system.")
    ] = None,
    subject_to: Annotated[
        list[str] | None,
        typer.Option(
            help="Limit, such as 'nodal_points = 0'; repeatable. Default: of the energy alone, energy < data.",
            metavar="'OBSERVABLE < NUMBER'",
        ),
    ] = None,
    free: Annotated[bool, typer.Option("--free", help="Codes may leave the shell of the prior.")] = False,
    system: Annotated[
        str, typer.Option(help="What is trained first with --scale, or without a model: as for orch train --model.")
    ] = DEFAULT_SEARCHED,
    actors: ActorsOption = None,
    gpu: GpuOption = False,
) -> Job:
    """Search the latent space of a model for states that its data do not hold."""
    from orchestrator.errors import RequestError
    from orchestrator.optimization.request import SearchesConfig
    from orchestrator.training.selection import one
    from orchestrator.training.trained import TrainedModel, best
    from physics.registry import cut

    options: dict[str, Any] = {"subject_to": tuple(subject_to)} if subject_to else {}
    options |= {"free": True} if free else {}
    of_system = common.scale is not None and common.config is None
    if of_system and model is not None:
        raise RequestError(
            f"--scale {cut(common.scale)}: expected no --model, or a --config with scales, found {model}"
        )
    config = replace(common, scale=None if of_system else common.scale).request(SearchesConfig, options)
    target, name = common.target, None
    needs = {network for each in config.objective for network in each.needs}
    if model is not None:
        name = one(model, target)
    elif not of_system:
        name = best(target, lambda data: _fits(config, data), needs)
    if name is None:
        return _after_training(common, config, system, actors, gpu)
    trained = TrainedModel(name, target)
    _check(config, trained.model, trained.settings.L)
    _check_networks(config, trained.settings)
    return _job(config, name, target, actors, gpu)


def _job(config: SearchesConfig, model: str, store: Store, actors: int | None, gpu: bool) -> Job:
    """One search, or several side by side."""
    from orchestrator.optimization import run, several

    if len(config.each) == 1:
        alone = config.each[0]
        return Job(
            "optima",
            store,
            lambda: run.plan(alone, model, store),
            lambda: run.run(alone, model, store, actors, gpu),
            alone.name_in(model),
        )
    return Job(
        "analyses",
        store,
        lambda: several.plan(config, model),
        lambda: several.run(config, model, store, actors, gpu),
        several.name_in(config, model),
    )


def _check(config: SearchesConfig, model: SpinModel, L: int) -> None:
    """Raise RequestError unless states have everything that is asked for."""
    from orchestrator.optimization import run

    for each in config.each:
        run.check(each, model, L)


def _check_networks(config: SearchesConfig, system: SystemSettings) -> None:
    """Raise RequestError unless the system has the networks that the objectives need."""
    from orchestrator.errors import RequestError

    for objective in config.objective:
        for network in objective.needs:
            if getattr(system, network) is None:
                wanted = f"expected a system with a {network}, such as hybrid"
                raise RequestError(f"objective {objective.name}: {wanted}, found {system.name}")


def _fits(config: SearchesConfig, data: DatasetConfig) -> bool:
    """Whether states like the data have the objective, in no field: in one the best of most are all spins along it."""
    from orchestrator.errors import RequestError
    from physics.symmetry import is_even

    try:
        _check(config, data.hamiltonian, data.L)
    except RequestError:
        return False
    return is_even(data.hamiltonian, data.L)


def _after_training(common: Common, config: SearchesConfig, system: str, actors: int | None, gpu: bool) -> Job:
    """The search in a model that is trained first."""
    from orchestrator.config import shipped_file
    from orchestrator.console import log
    from orchestrator.optimization import run
    from orchestrator.training import run as training
    from orchestrator.training.command import references
    from orchestrator.training.request import TrainConfig

    plain, target = replace(common, config=None, settings=None, given={}, seed=None), common.target
    first = plain.request(TrainConfig, None, shipped_file("systems", system), references(plain))
    _check(config, first.dataset.hamiltonian, first.dataset.L)
    _check_networks(config, first.system)
    search = _job(config, first.name, target, actors, gpu)

    def trained_first() -> tuple[str, dict[str, Any]]:
        log(f"{target.root}: searching {first.name}, the {system} that is trained first")
        training.run(first, target)
        return search.run()

    def planned() -> list[str]:
        outlines = [line for each in config.each for line in run.outline(each)]
        return [f"first {system}", *training.plan(first, target), *outlines]

    return search._replace(plan=planned, run=trained_first)
