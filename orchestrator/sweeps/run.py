"""Sweeps: Ray Tune and Optuna over trial programs, every training an artifact of the store.

The store is the truth and Tune's own state is disposable: a sweep given again runs the same trials, whose finished
trainings are found at once.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from nets.metrics import ensemble
from nets.phases import Phases, phases
from orchestrator.cluster import connect
from orchestrator.console import on_interrupt
from orchestrator.data import shards, spectrum
from orchestrator.data.request import DatasetConfig
from orchestrator.data.run import make as make_data
from orchestrator.data.run import plan as plan_data
from orchestrator.errors import FailedError
from orchestrator.lease import Lease, made
from orchestrator.page import drawn, origin
from orchestrator.store import Store
from orchestrator.sweeps import study
from orchestrator.sweeps.collapsed_state import compare
from orchestrator.sweeps.page import remarks, sweep_page
from orchestrator.sweeps.program import Finished
from orchestrator.sweeps.request import SweepConfig
from orchestrator.sweeps.tables import Tables, records
from orchestrator.sweeps.trials import follow, label
from orchestrator.sweeps.tuning import Outcome, run_trials
from orchestrator.training.trained import generated

DATA_COMPARED = 1000  # configurations of each data set that the stages are held against


def plan(config: SweepConfig, store: Store) -> list[str]:
    """What a sweep finds and what it would make, line by line."""
    grid = list(config.grid())
    lines = [line for dataset in config.datasets for line in plan_data(dataset, store)]
    steps = 0
    for trial in grid:
        found = len(follow(trial, lambda training: store.card("models", training.name))[0])
        total = trial.program.length(trial.training)
        most = trial.program.max_steps(trial.training)
        steps += most - most // total * found
        lines.append(f"trial {label(trial)}: {found} of at most {total} trainings found")
    if grid:
        lines.append(f"to train: at most {steps} steps of batch {config.batch}")
    else:
        missing = "" if config.datasets else "; missing data are made in the trial"
        lines.append(
            f"{config.trials} points drawn by {config.search} from {', '.join(config.space)}, each with one of "
            f"{config.seeds} seeds: trials of at most {config.trial.length(config)} trainings{missing}"
        )
    for metric, mode in config.objectives.items():
        lines.append(f"metric: {metric}, to be {'small' if mode == 'min' else 'large'}")
    return [*lines, f"resources of a trial: {config.resources}", f"result: sweeps/{config.name}"]


def run(config: SweepConfig, store: Store, actors: int | None = None) -> tuple[str, dict[str, Any]]:
    """Name and card of a sweep, made if it is not in the store.

    Raises:
        FailedError: a trial failed; what the others made is kept, and the same command goes on from there.
    """
    parents = sorted(f"datasets/{dataset.name}" for dataset in config.datasets)
    return made(store, "sweeps", config.name, partial(_run, config, store, actors), parents)


def _run(config: SweepConfig, store: Store, actors: int | None, held: Lease) -> None:
    name = config.name
    least, _ = config.resources.workers
    connect(least * config.resources.cpus, least * config.resources.gpus)
    for dataset in config.datasets:
        make_data(dataset, store, actors)
    with on_interrupt(lambda: f"every training that the sweep {name} has finished, and the checkpoints of the others"):
        outcomes = run_trials(config, store, held)
    if not any(outcome.models for outcome in outcomes):
        raise FailedError(f"{name}: every trial ended before its first training was done")
    _commit(config, store, outcomes, held)


def _data_figures(dataset: DatasetConfig, store: Store) -> dict[str, float]:
    """What the stages of a sweep are held against."""
    figures = ensemble(shards.read(dataset.name, store)[:DATA_COMPARED].tensor(), dataset.hamiltonian)
    return figures | spectrum.figures(spectrum.read(dataset, store))


def _phases(config: SweepConfig, store: Store) -> Phases | None:
    """Where a sweep over the weights of an E-VAE is expected to find the collapse, from its data set."""
    known = {"beta", "gamma", "latent"} <= set(type(config.system).model_fields) and "energy" in config.system.held_out
    if not known or len(config.datasets) != 1 or not {"system.beta", "system.gamma"} <= set(config.space):
        return None
    (dataset,) = config.datasets
    values = spectrum.read(dataset, store)
    if values is None or "energy" not in dataset.hamiltonian.observables:
        return None
    data = shards.read(dataset.name, store)
    lowest = int(shards.columns(dataset.name, store, ["energy"])["energy"].argmin())
    spins = torch.cat((data[:DATA_COMPARED].tensor(), data[lowest][None]))
    return phases(spins, values, dataset.hamiltonian, config.system.latent)


def _commit(config: SweepConfig, store: Store, outcomes: list[Outcome], held: Lease) -> None:
    tables = Tables(config, store, outcomes)
    frame = tables.stages
    datasets = {trial.training.dataset.name: trial.training.dataset for trial, names, *_ in outcomes if names}
    data = {name: _data_figures(dataset, store) for name, dataset in datasets.items()}
    pictures = {model: generated(model, store) for model in frame["model"]}
    ended = [f"{label(outcome.trial)}: {outcome.cause}" for outcome in outcomes if outcome.cause]
    magnet, expected = config.dataset.hamiltonian, _phases(config, store)
    trainings = [outcome.trial.training for outcome in outcomes if outcome.models]
    collapsed = compare(frame, trainings, pictures, config.resources.cpus, store)
    summary, pooled = tables.summary, tables.pooled
    finished = Finished(frame, summary, pooled, data, pictures, magnet, collapsed.sections, ended, expected)
    metrics, modes = list(config.objectives), list(config.objectives.values())
    several = len(metrics) > 1
    parents = [*(f"datasets/{name}" for name in data), *(f"models/{model}" for model in frame["model"])]
    parents += collapsed.parents
    card = {
        "kind": "sweep",
        "config": config.model_dump(mode="json"),
        "given": config.given(),
        "parents": parents,
        "said": [*held.record.get("said", []), *remarks(config, finished.summary)],
        "figures": {
            "metric": metrics if several else metrics[0],
            "mode": modes if several else modes[0],
            "best": tables.best(config),
            "data": data,
            "summary": records(finished.summary),
            "pooled": records(finished.pooled),
            "collapsed": collapsed.rows,
        },
    }
    source = origin(store, "sweeps", config.name, config, "orch sweep --space", parents)
    files = {
        "stages.parquet": frame.to_parquet(index=False),
        study.FILE: study.study_file(config.name, config.space, config.objectives, tables.told),
        **drawn(lambda: sweep_page(config, finished, source), config),
    }
    store.commit("sweeps", config.name, card, files)
