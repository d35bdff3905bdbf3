"""The command ``orch``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from orchestrator.config import (
    SPACES,
    DatasetConfig,
    InvertConfig,
    LineConfig,
    MapConfig,
    OptimizeConfig,
    SampleConfig,
    SweepConfig,
    TemperConfig,
    TrainConfig,
    assignment,
    load,
)
from orchestrator.console import say
from orchestrator.datasets import REPORT
from orchestrator.errors import RequestError
from orchestrator.store import KINDS, Kind, Store

app = typer.Typer(
    help="Spin physics and generative models on Ray.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

StoreOption = Annotated[str, typer.Option("--store", envvar="ORCH_STORE", help="Folder or fsspec address.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="key=value, dotted keys; may be repeated.")]
ScaleOption = Annotated[str | None, typer.Option(help="A scale of the space file, such as paper or quick.")]
QuickOption = Annotated[bool, typer.Option("--quick", help="Short for --scale quick.")]
ActorsOption = Annotated[int | None, typer.Option(min=1, help="Actors side by side; one a CPU by default.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")]
LOption = Annotated[int | None, typer.Option("--L", help="Lattice size, even.")]
JOption = Annotated[float | None, typer.Option("--J", help="Exchange.")]
DOption = Annotated[float | None, typer.Option("--D", help="Dzyaloshinskii-Moriya coupling.")]
BOption = Annotated[float | None, typer.Option("--B", help="Field along z.")]
KOption = Annotated[float | None, typer.Option("--K", help="Uniaxial anisotropy.")]
DMOption = Annotated[str | None, typer.Option(help="bloch or neel.")]
BoundaryOption = Annotated[str | None, typer.Option(help="periodic, open or wire.")]
SeedOption = Annotated[int | None, typer.Option(help="Seed.")]
STORE = "store"
UsageError: Any = typer.BadParameter.__mro__[1]  # of the click that typer brings or finds


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


def _magnet(J: Any, D: Any, B: Any, K: Any, dm: Any, boundary: Any) -> dict[str, Any]:
    values = {"J": J, "D": D, "B": B, "K": K, "dm": dm, "boundary": boundary}
    return {f"hamiltonian.{key}": value for key, value in values.items()}


def _rows(text: str) -> slice:
    """FIRST:END, either of which may be left out."""
    first, colon, end = text.partition(":")
    if not colon or any(part and not part.isdigit() for part in (first, end)):
        raise RequestError(f"--rows {text}: expected FIRST:END, such as 0:16")
    return slice(int(first) if first else 0, int(end) if end else None)


def _mask(text: str, L: int) -> Any:
    """Rows of a mask from "disk" or from a .npy file."""
    if text == "disk":
        y, x = np.mgrid[:L, :L] - (L - 1) / 2
        return np.hypot(x, y) <= L / 2
    path = Path(text)
    if path.suffix != ".npy" or not path.is_file():
        raise RequestError(f"--mask {text}: expected disk or an existing .npy file")
    try:
        return np.load(path, allow_pickle=False)
    except ValueError:
        raise RequestError(f"--mask {text}: not a NumPy array of numbers") from None


@app.command("anneal")
def anneal_command(
    config: Annotated[str | None, typer.Option(help="YAML file; options below go over it.")] = None,
    L: LOption = None,
    J: JOption = None,
    D: DOption = None,
    B: BOption = None,
    K: KOption = None,
    dm: DMOption = None,
    boundary: BoundaryOption = None,
    mask: Annotated[str | None, typer.Option(help="Sites that exist: disk, or a .npy file.")] = None,
    schedule: Annotated[str | None, typer.Option(help="linear, geometric or quadratic.")] = None,
    T_start: Annotated[float | None, typer.Option("--T-start", help="First temperature.")] = None,
    T_end: Annotated[float | None, typer.Option("--T-end", help="Last temperature.")] = None,
    sweeps: Annotated[int | None, typer.Option(help="Heat-bath sweeps.")] = None,
    overrelaxation: Annotated[int | None, typer.Option(help="Over-relaxation sweeps after each.")] = None,
    finish: Annotated[int | None, typer.Option(help="Greedy sweeps at most, at T = 0.")] = None,
    torque: Annotated[float | None, typer.Option(help="Largest torque of a finished state.")] = None,
    n: Annotated[int | None, typer.Option("--n", help="Configurations.")] = None,
    seed: SeedOption = None,
    actors: ActorsOption = None,
    store: StoreOption = STORE,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Anneal a data set; given again, it carries on where it stopped."""
    from orchestrator import anneal

    given = {
        "L": L, "configurations": n, "seed": seed, **_magnet(J, D, B, K, dm, boundary),
        "schedule.kind": schedule, "schedule.T_start": T_start, "schedule.T_end": T_end,
        "schedule.sweeps": sweeps, "schedule.overrelaxation": overrelaxation,
        "schedule.finish": finish, "schedule.torque": torque,
    }  # fmt: skip
    settings = _given(given)
    request = load(DatasetConfig, config, settings=settings)
    if mask is not None:
        request = load(DatasetConfig, config, settings={**settings, "hamiltonian.mask": _mask(mask, request.L)})
    target = Store(store)
    if dry_run:
        done, wanted = anneal.missing(request, target)
        rows = sum(entry["rows"] for entry in done)
        print(f"{request.name}: {rows} configurations found, {sum(map(len, wanted))} to anneal in {len(wanted)} shards")
        return
    card = anneal.make(request, target, actors)
    _result("datasets", request.name, card, target, as_json)


@app.command("temper")
def temper_command(
    config: Annotated[str | None, typer.Option(help="YAML file; options below go over it.")] = None,
    L: LOption = None,
    J: JOption = None,
    D: DOption = None,
    B: BOption = None,
    K: KOption = None,
    dm: DMOption = None,
    boundary: BoundaryOption = None,
    T_min: Annotated[float | None, typer.Option("--T-min", help="Coldest rung.")] = None,
    T_max: Annotated[float | None, typer.Option("--T-max", help="Hottest rung.")] = None,
    temperatures: Annotated[int | None, typer.Option(help="Rungs, and replicas of a run.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Sweeps, each followed by exchanges.")] = None,
    runs: Annotated[int | None, typer.Option(help="Independent runs.")] = None,
    seed: SeedOption = None,
    store: StoreOption = STORE,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Search for the ground state by parallel tempering; given again, it carries on where it stopped."""
    from orchestrator import temper

    settings = {
        "L": L, "runs": runs, "seed": seed, **_magnet(J, D, B, K, dm, boundary),
        "ladder.T_min": T_min, "ladder.T_max": T_max, "ladder.temperatures": temperatures, "ladder.rounds": rounds,
    }  # fmt: skip
    request = load(TemperConfig, config, settings=_given(settings))
    target = Store(store)
    if dry_run:
        print("\n".join(temper.plan(request, target)))
        return
    name, card = temper.run(request, target)
    _result("optima", name, card, target, as_json)


@app.command("import")
def import_command(
    files: Annotated[list[Path], typer.Argument(help=".ovf, .omf, .ohf or .npy files.")],
    J: JOption = None,
    D: DOption = None,
    B: BOption = None,
    K: KOption = None,
    dm: DMOption = None,
    boundary: BoundaryOption = None,
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Bring states of another program in as a data set, with the Hamiltonian they are to be judged by."""
    from orchestrator import interchange

    name, card = interchange.bring_in(files, _given(_magnet(J, D, B, K, dm, boundary)), Store(store))
    _result("datasets", name, card, Store(store), as_json)


@app.command("export")
def export_command(
    name: Annotated[str, typer.Argument(help="A data set, model or optimum: a name, or its beginning or end.")],
    to: Annotated[Path, typer.Option(help="Folder.")] = Path(),
    form: Annotated[str, typer.Option(help="npy, or OVF as text, binary4 or binary8.")] = "binary4",
    rows: Annotated[str, typer.Option(help="FIRST:END of its states.")] = ":",
    cell: Annotated[float, typer.Option(min=1e-15, help="Edge of a site in metres, for OVF.")] = 1e-9,
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Write states as OVF 2.0, which mumax3 and OOMMF read, or as NumPy."""
    from orchestrator import interchange

    target = _existing(store)
    kind, found, _ = target.find(name)
    paths = interchange.export(kind, found, target, to, interchange.checked_form(form), _rows(rows), cell)
    print(json.dumps([str(path) for path in paths]) if as_json else "\n".join(map(str, paths)))


@app.command("sweep")
def sweep_command(
    space: Annotated[str, typer.Option(help="YAML file, or a space shipped with the program.")] = "evae.yaml",
    scale: ScaleOption = None,
    quick: QuickOption = False,
    settings: SetOption = None,
    actors: ActorsOption = None,
    store: StoreOption = STORE,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Anneal what is missing, train, scan beta and gamma, find the collapse, draw it."""
    from orchestrator import sweep

    config = _sweep_config(space, scale, quick, settings)
    target = Store(store)
    if dry_run:
        print("\n".join(sweep.plan(config, target)))
        return
    name, card = sweep.run(config, target, actors)
    if not as_json:
        figures = card["figures"]
        _print_rows(figures["thresholds"], f"data: energy {figures['data']['energy_mean']:.5f}")
    _result("sweeps", name, card, target, as_json)


@app.command("train")
def train_command(
    model: Annotated[str, typer.Option(help="vae, gan, hybrid, vae-2022, evae-2021, or a YAML file.")] = "hybrid",
    data: Annotated[str | None, typer.Option(help="labyrinth, a YAML file, or a data set of the store.")] = None,
    scale: ScaleOption = None,
    steps: Annotated[int | None, typer.Option(help="Updates of every network.")] = None,
    seed: SeedOption = None,
    workers: Annotated[str | None, typer.Option(help="That share each batch; LEAST:MOST of an elastic group.")] = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="A GPU for each worker.")] = False,
    settings: SetOption = None,
    store: StoreOption = STORE,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a generative system under Ray Train; given again, it carries on where it stopped."""
    from orchestrator import anneal, train

    target = Store(store)
    shipped = not model.endswith(".yaml")
    data = data or ("labyrinth" if shipped else None)
    given = {
        "dataset": _dataset(data, scale, target).model_dump() if data else None, "steps": steps, "seed": seed,
        "resources.workers": _workers(workers) if workers else None, "resources.gpus": 1 if gpu else None,
    }  # fmt: skip
    source = f"{model}.yaml" if shipped else model
    request = load(TrainConfig, source, scale, {**_given(given), **dict(map(assignment, settings or []))})
    if dry_run:
        done, wanted = anneal.missing(request.dataset, target)
        rows = sum(entry["rows"] for entry in done)
        print(f"data set {request.dataset.name}: {rows} configurations found, {sum(map(len, wanted))} to anneal")
        print(f"{request.steps} steps of {request.batch}; {request.resources}; result: models/{request.name}")
        return
    name, card = train.run(request, target)
    _result("models", name, card, target, as_json)


def _workers(text: str) -> Any:
    """A number, or LEAST:MOST."""
    counts = text.split(":")
    if len(counts) > 2 or not all(part.isdigit() for part in counts):
        raise RequestError(f"--workers {text}: expected a number or LEAST:MOST, such as 2 or 1:4")
    return tuple(map(int, counts)) if len(counts) == 2 else int(counts[0])


def _dataset(text: str, scale: str | None, store: Store) -> DatasetConfig:
    """A YAML file of a data set, its own or shipped, or else a data set of the store."""
    if (SPACES / f"{text}.yaml").is_file() or text.endswith(".yaml"):
        return load(DatasetConfig, text.removesuffix(".yaml") + ".yaml", scale)
    return DatasetConfig(**store.find(text, "datasets")[2]["config"])


CountOption = Annotated[int | None, typer.Option("--n", help="Samples.")]
StepsOption = Annotated[int | None, typer.Option(help="Steps led by the discriminator; none by default.")]
StepSizeOption = Annotated[float | None, typer.Option(help="Of each of them.")]
LangevinOption = Annotated[bool, typer.Option("--langevin", help="With noise and the prior: Che et al. 2020.")]


@app.command("sample")
def sample_command(
    model: Annotated[str, typer.Argument(help="A model of the store.")],
    to: Annotated[Path, typer.Option(help="File, .npy, that does not exist yet.")] = Path("samples.npy"),
    n: CountOption = None,
    steps: StepsOption = None,
    step_size: StepSizeOption = None,
    langevin: LangevinOption = False,
    seed: SeedOption = None,
    store: StoreOption = STORE,
) -> None:
    """Draw configurations from a model, from the prior or led by its discriminator, into a .npy file."""
    from orchestrator import evaluate, interchange

    target = _existing(store)
    given = {"n": n, "steps": steps, "step_size": step_size, "langevin": langevin, "seed": seed}
    request = load(SampleConfig, settings=_given(given))
    interchange.check_new(to, ".npy")
    interchange.save_new(to, evaluate.sample(request, _model(model, target), target).numpy())
    print(to)


@app.command("evaluate")
def evaluate_command(
    wanted: Annotated[list[str], typer.Argument(metavar="MODELS", help="Models of the store.")],
    n: CountOption = None,
    steps: StepsOption = None,
    step_size: StepSizeOption = None,
    langevin: LangevinOption = False,
    seed: SeedOption = None,
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Energy, nodal points, precision, recall, density and coverage of samples, beside the data."""
    from orchestrator import evaluate

    target = _existing(store)
    given = {"n": n, "steps": steps, "step_size": step_size, "langevin": langevin, "seed": seed}
    request = load(SampleConfig, settings=_given(given))
    names = [_model(text, target) for text in wanted]
    name, card = evaluate.evaluate(request, names, target)
    if not as_json:
        summary = card["figures"]["summary"]
        heads = [f"{row['system']}, {row['steps']} steps" for row in summary]
        keys = list(summary[0])[2:]
        rows = [{"": key, **{head: row[key] for head, row in zip(heads, summary, strict=True)}} for key in keys]
        _print_rows(rows, f"data: energy {card['figures']['data_energy']:.5f}")
    _result("studies", name, card, target, as_json)


ModelArgument = Annotated[str, typer.Argument(help="A model of the store: a name, or its beginning or end.")]
STATE = "prior:SEED, an optimum, NAME:ROW of a data set or a model, or an .ovf or .npy file"
StartsOption = Annotated[int | None, typer.Option(help="Codes that an inverse mapping starts from.")]
IterationsOption = Annotated[int | None, typer.Option(help="Steps of an inverse mapping.")]


@app.command("map")
def map_command(
    model: ModelArgument,
    axes: Annotated[tuple[int, int], typer.Option(help="Two components of the code.")] = (0, 1),
    reach: Annotated[float | None, typer.Option(help="Of each component, both ways.")] = None,
    points: Annotated[int | None, typer.Option(help="Along each axis.")] = None,
    seed: SeedOption = None,
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Map energy and discriminator over two axes of a latent space, and decode across a wall."""
    from orchestrator import studies

    target = _existing(store)
    given = {"axes": axes, "reach": reach, "points": points, "seed": seed}
    name, card = studies.latent_map(load(MapConfig, settings=_given(given)), _model(model, target), target)
    _result("studies", name, card, target, as_json)


@app.command("ddls")
def ddls_command(
    model: ModelArgument,
    n: CountOption = 64,
    steps: StepsOption = 100,
    step_size: StepSizeOption = None,
    langevin: LangevinOption = False,
    seed: SeedOption = None,
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Watch samples being led by the discriminator: nodal points, energy, and Grad-CAM along the way."""
    from orchestrator import studies

    target = _existing(store)
    given = {"n": n, "steps": steps, "step_size": step_size, "langevin": langevin, "seed": seed}
    name, card = studies.led_by_discriminator(load(SampleConfig, settings=_given(given)), _model(model, target), target)
    _result("studies", name, card, target, as_json)


@app.command("interpolate")
def interpolate_command(
    model: ModelArgument,
    states: Annotated[list[str], typer.Argument(help=f"Two or more, each {STATE}.")],
    points: Annotated[int | None, typer.Option(help="Along each line, both ends included.")] = None,
    starts: StartsOption = None,
    iterations: IterationsOption = None,
    seed: SeedOption = None,
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Go straight from state to state in the latent space; energy, nodal points and M_z on the way."""
    from orchestrator import studies

    target = _existing(store)
    given = {"states": states, "points": points, "starts": starts, "iterations": iterations, "seed": seed}
    name, card = studies.interpolate(load(LineConfig, settings=_given(given)), _model(model, target), target)
    _result("studies", name, card, target, as_json)


@app.command("invert")
def invert_command(
    model: ModelArgument,
    state: Annotated[str, typer.Argument(help=f"{STATE}.".removeprefix("prior:SEED, ").capitalize())],
    starts: StartsOption = None,
    iterations: IterationsOption = None,
    seed: SeedOption = None,
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Find the code that decodes to a given state, as near as the model comes to it."""
    from orchestrator import studies

    target = _existing(store)
    given = {"state": state, "starts": starts, "iterations": iterations, "seed": seed}
    name, card = studies.inverse_map(load(InvertConfig, settings=_given(given)), _model(model, target), target)
    _result("studies", name, card, target, as_json)


def _model(text: str, store: Store) -> str:
    """The one model of that name."""
    return store.find(text, "models")[1]


@app.command("optimize")
def optimize_command(
    objective: Annotated[str, typer.Option(help="A name, or module:function.")] = "mz_max",
    model: Annotated[str | None, typer.Option(help="A model of the store; the best diverse one by default.")] = None,
    method: Annotated[str | None, typer.Option(help="genetic or gradient.")] = None,
    population: Annotated[int | None, typer.Option(help="Codes.")] = None,
    iterations: Annotated[int | None, typer.Option(help="Generations, or gradient steps.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed.")] = None,
    config: Annotated[str | None, typer.Option(help="YAML file; options go over it.")] = None,
    settings: SetOption = None,
    space: Annotated[str, typer.Option(help="What is swept first if the store holds no model.")] = "evae.yaml",
    scale: ScaleOption = None,
    quick: QuickOption = False,
    actors: ActorsOption = None,
    store: StoreOption = STORE,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Search the latent space of the best model so far."""
    from orchestrator import models, optimize, sweep
    from search.objectives import objective as find_objective

    sys.path.insert(0, str(Path.cwd()))
    given = {
        "objective": objective,
        "method": method,
        "population": population,
        "iterations": iterations,
        "seed": seed,
    }
    request = load(OptimizeConfig, config, settings={**_given(given), **dict(map(assignment, settings or []))})
    try:
        find_objective(request.objective)
    except ValueError as error:
        raise RequestError(str(error)) from None
    target = Store(store)
    name = _model(model, target) if model else models.best(target)
    if name is None:
        sweep_config = _sweep_config(space, scale, quick, None)
        say(f"{store}: no diverse model yet; sweeping {space} first")
        if dry_run:
            print("\n".join(sweep.plan(sweep_config, target)))
            return
        sweep.run(sweep_config, target, actors)
        name = models.best(target)
        if name is None:
            raise RequestError(f"{store}: no model of {space} generates diverse states; expected one, or --model")
    if dry_run:
        print(
            f"model {name}; {request.method}, {request.population} codes x {request.iterations} iterations; "
            f"result: optima/{optimize.optimum_name(request, name)}"
        )
        return
    result, card = optimize.run(request, name, target, actors)
    _result("optima", result, card, target, as_json)


@app.command("list")
def list_command(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(KINDS)}.")] = None,
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """What the store holds."""
    if kind is not None and kind not in KINDS:
        raise RequestError(f"{kind}: expected one of {', '.join(KINDS)}")
    kinds: tuple[Kind, ...] = (kind,) if kind else KINDS
    entries = list(_existing(store).cards(*kinds))
    if as_json:
        print(json.dumps([{"kind": k, "name": name, "figures": c.get("figures")} for k, name, c in entries]))
        return
    table = Table(box=None)
    for column in ("kind", "name", "figures"):
        table.add_column(column, overflow="fold")
    for entry_kind, name, card in entries:
        table.add_row(entry_kind, name, _brief(entry_kind, card))
    Console().print(table)


@app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(help="A name, or its beginning or end.")],
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """An artifact's card and its line of descent."""
    target = _existing(store)
    kind, found, card = target.find(name)
    if as_json:
        print(json.dumps({"kind": kind, "name": found, **card}))
        return
    print(f"{kind}/{found}\n{target.folder(kind, found)}")
    shown = {key: value for key, value in card.items() if key not in ("shards", "history", "files", "parents")}
    print(json.dumps(shown, indent=1))
    print("descends from:")
    for depth, parent in _descent(target, card):
        print(f"{'  ' * depth}{parent}")


def _descent(store: Store, card: dict[str, Any], depth: int = 1, seen: set[str] | None = None) -> list[tuple[int, str]]:
    """Parents and their parents, each once, with their depth."""
    seen = set() if seen is None else seen
    lines = []
    for parent in card.get("parents", []):
        if parent in seen:
            continue
        seen.add(parent)
        kind, _, name = parent.partition("/")
        above = store.card(kind, name)
        lines.append((depth, parent if above else f"{parent} (missing)"))
        lines += _descent(store, above or {}, depth + 1, seen)
    return lines


def _existing(root: str) -> Store:
    store = Store(root)
    if not store.fs.exists(f"{store.path}/store.json"):
        raise RequestError(f"{root}: no store here; expected one made by orch anneal, sweep or optimize")
    return store


def _sweep_config(space: str, scale: str | None, quick: bool, settings: list[str] | None) -> SweepConfig:
    if quick and scale not in (None, "quick"):
        raise RequestError(f"--quick with --scale {scale}: expected one of them")
    return load(SweepConfig, space, "quick" if quick else scale, dict(map(assignment, settings or [])))


def _brief(kind: str, card: dict[str, Any]) -> str:
    figures = card.get("figures", {})
    if kind == "datasets":
        made = sum(entry["rows"] for entry in card["shards"])
        return f"{made} of {card['configurations']} configurations"
    if kind == "sweeps":
        return ", ".join(f"gamma_c {t['gamma_c'] or float('nan'):.4g}" for t in figures["thresholds"])
    chosen = {"models": ("energy_mean", "kspace_mse", "diversity"), "optima": ("score", "mz", "energy", "nodal_points")}
    keys = chosen.get(kind, list(_numbers(figures))[:4])
    return ", ".join(f"{key} {figures[key]:.4g}" for key in keys)


def _numbers(figures: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in figures.items() if isinstance(value, int | float)}


def _print_rows(rows: list[dict[str, Any]], title: str) -> None:
    table = Table(title=title, title_justify="left", box=None)
    for column in rows[0]:
        table.add_column(column, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*("-" if v is None else f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)


def _result(kind: Kind, name: str, card: dict[str, Any], store: Store, as_json: bool) -> None:
    folder = store.folder(kind, name)
    if as_json:
        print(json.dumps({"kind": kind, "name": name, "path": folder, **card}))
        return
    if kind == "datasets":
        card = {"files": [REPORT]}
    if kind in ("optima", "studies"):
        for key, value in _numbers(card["figures"]).items():
            print(f"{key:>26}  {value:.6g}")
    print(folder)
    for file in card.get("files", {}):
        print(f"  {folder}/{file}")


def main() -> None:
    """Exit codes: 0 done, 2 the request is wrong, 1 anything else."""
    try:
        code = app(standalone_mode=False)
    except RequestError as error:
        print(error, file=sys.stderr)
        code = 2
    except UsageError as error:
        print(f"{error.ctx.command_path if error.ctx else 'orch'}: {error.format_message()}", file=sys.stderr)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted; the same command carries on", file=sys.stderr)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
