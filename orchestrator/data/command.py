"""orch anneal, temper, import, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.options import Common, Job, Setting, making

if TYPE_CHECKING:
    from orchestrator.data.request import DatasetConfig

PANEL = "Make data"

COUPLINGS = [
    Setting("hamiltonian.J", float, "Exchange J, the unit of energies.", 1.0, "--J"),
    Setting("hamiltonian.D", float, "Dzyaloshinskii-Moriya coupling D, in units of J.", 0.6, "--D"),
    Setting("hamiltonian.B", float, "Field B along z, in units of J.", 0.0, "--B"),
    Setting("hamiltonian.K", float, "Uniaxial anisotropy K along z, in units of J.", 0.0, "--K"),
    Setting("hamiltonian.dm", str, "Direction of the DM vectors: bloch or neel.", "bloch"),
    Setting("hamiltonian.boundary", str, "Edges: periodic, open, or wire (periodic along x).", "periodic"),
]
SPIN_MODEL = [
    Setting("L", int, "Sites along each edge of the lattice.", 32, "--L"),
    Setting("hamiltonian.name", str, "Spin model: a name, or module:Class.", "chiral", "--model"),
    *COUPLINGS,
]
ANNEALING = [
    Setting("configurations", int, "Configurations.", 1000, "--n"),
    Setting("sampler.name", str, "Sampler: a name, or module:Class.", "annealing", "--sampler"),
    Setting("sampler.kind", str, "Schedule of temperatures: linear, geometric or quadratic.", "linear", "--schedule"),
    Setting("sampler.T_start", float, "First temperature, in units of J.", 1.0, "--T-start"),
    Setting("sampler.T_end", float, "Last temperature, in units of J.", 0.001, "--T-end"),
    Setting("sampler.sweeps", int, "Heat-bath sweeps of the lattice.", 100),
    Setting("sampler.overrelaxation", int, "Over-relaxation sweeps after each heat-bath sweep.", 10),
    Setting("sampler.finish", int, "Sweeps of descent at T = 0, at most.", 20_000),
    Setting("sampler.torque", float, "Largest torque |S x h| of a finished state, in units of J.", 1e-3),
]
TEMPERING = [
    Setting("configurations", int, "Independent runs.", 10, "--runs"),
    Setting("sampler.T_min", float, "Temperature of the coldest rung, in units of J.", 0.1, "--T-min"),
    Setting("sampler.T_max", float, "Temperature of the hottest rung, in units of J.", 0.8, "--T-max"),
    Setting("sampler.temperatures", int, "Rungs of the ladder, and replicas of a run.", 48),
    Setting("sampler.rounds", int, "Sweeps, each followed by exchanges.", 10_000),
]
EXPORT = [
    Setting("form", str, "npy, or OVF with its data as text, binary4 or binary8.", "binary4"),
    Setting("rows", str, "FIRST:END of the states, either of which may be left out.", ":"),
    Setting("cell", float, "Edge of a site in metres, for OVF.", 1e-9),
]
MaskOption = Annotated[str | None, typer.Option(help="Sites that exist: disk, or a .npy file. Default: all.")]
ActorsOption = Annotated[
    int | None,
    typer.Option(min=1, help="Actors that work side by side at most. Default: as many as there is work and room for."),
]
GpuOption = Annotated[bool, typer.Option("--gpu", help="A GPU for each actor. Default: CPUs alone.")]


def register(app: typer.Typer) -> None:
    making(app, "anneal", PANEL, [*SPIN_MODEL, *ANNEALING])(anneal)
    making(app, "temper", PANEL, [*SPIN_MODEL, *TEMPERING])(temper)
    making(app, "import", PANEL, COUPLINGS)(import_states)
    making(app, "export", PANEL, EXPORT)(export)


def _dataset_job(config: DatasetConfig, common: Common, actors: int | None) -> Job:
    from orchestrator.data import run

    target = common.target
    return Job(
        "datasets", target, lambda: run.plan(config, target), lambda: run.make(config, target, actors), config.name
    )


def _request(common: Common, mask: str | None, defaults: dict[str, Any] | None = None) -> DatasetConfig:
    from orchestrator.data.request import DatasetConfig
    from orchestrator.errors import RequestError
    from physics.states import mask_named

    config = common.request(DatasetConfig, defaults=defaults)
    if mask is None:
        return config
    try:
        sites = mask_named(mask, config.L)
    except ValueError as error:
        raise RequestError(f"--{error}") from None
    return common.request(DatasetConfig, {"hamiltonian.mask": sites}, defaults=defaults)


def anneal(common: Common, mask: MaskOption = None, actors: ActorsOption = None) -> Job:
    """Sample a data set, by annealing if the file does not name another sampler."""
    return _dataset_job(_request(common, mask), common, actors)


def temper(common: Common, mask: MaskOption = None, actors: ActorsOption = None) -> Job:
    """Look for ground states by parallel tempering: a data set of the lowest state of each run."""
    from orchestrator.errors import RequestError

    of_no_file = {"sampler.name": "tempering", "configurations": 10}
    config = _request(common, mask, of_no_file if common.config is None else None)
    if config.sampler.name != "tempering":
        where = common.config or "command line"
        raise RequestError(f"{where}: sampler.name: expected tempering, found {config.sampler.name}; see orch anneal")
    return _dataset_job(config, common, actors)


def import_states(
    common: Common,
    files: Annotated[list[Path], typer.Argument(help=".ovf, .omf, .ohf or .npy files.")],
) -> Job:
    """Import states of another program as a data set, with the spin model that they are judged by."""
    from orchestrator.config import assignment
    from orchestrator.data import interchange

    settings = {**common.given, **dict(map(assignment, common.settings or []))}
    if common.seed is not None:
        settings["seed"] = common.seed
    config, spins = interchange.read_import(files, common.config, common.scale, settings)
    target, note = common.target, f"{len(files)} imported files, {files[0]} the first."
    return Job(
        "datasets",
        target,
        lambda: [f"{len(spins)} states to import", f"result: datasets/{config.name}"],
        lambda: interchange.import_states(config, spins, target, note),
        config.name,
    )


def export(
    common: Common,
    name: Annotated[str, typer.Argument(help="A data set, model or optimum: a name, or its beginning or end.")],
    to: Annotated[Path, typer.Option(help="Folder for the files.")] = Path(),
) -> Job:
    """Write states as OVF 2.0, which mumax3 and OOMMF read, or as NumPy."""
    from orchestrator.data import interchange

    config = common.request(interchange.ExportConfig)
    store = common.existing
    kind, found, _ = store.find(name)
    return Job(
        None,
        store,
        lambda: [f"rows {config.rows} of {kind}/{found} as {config.form} into {to}"],
        lambda: (found, [str(path) for path in interchange.export(config, kind, found, store, to)]),
    )
