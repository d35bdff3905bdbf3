"""Searches of a latent space: the population on Ray actors that hold the model, codes out and scores back."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from nets.metrics import measure
from orchestrator.cluster import Pool, connect
from orchestrator.console import log, on_interrupt, progress
from orchestrator.data import shards
from orchestrator.data.request import DatasetConfig
from orchestrator.data.run import make_here
from orchestrator.errors import RequestError
from orchestrator.files import in_a_line
from orchestrator.lease import Lease, made
from orchestrator.optimization.found import commit
from orchestrator.optimization.request import OptimizeConfig
from orchestrator.optimization.rivals import rivals
from orchestrator.store import Store
from orchestrator.training.trained import TrainedModel
from physics.model import SpinModel
from search.constraint import Penalised, check_constraint
from search.objectives import FunctionObjective, Objective
from search.optimizer import Optimizer, OptimizerSettings, advance
from search.scoring import Scorer, chunk_of, shares
from search.winner import ranked, valued

COMPARED = 1000  # training configurations that the optimum is held against
CHECKPOINT_SECONDS = 10.0
CHECKPOINT = "checkpoint.npz"

Piece = np.ndarray | DatasetConfig
Actors = Pool[Piece, Any]
History = list[tuple[float, float, float, float]]
"""Best score so far, mean score, wall and CPU seconds of each iteration."""


def worker(
    model: str, store: Store, penalised: Penalised, optimizer: OptimizerSettings, free: bool
) -> Callable[[Piece], Any]:
    """Scores of codes by a model of the store; a data set, of a rival, is made."""
    trained = TrainedModel(model, store)
    ready = penalised._replace(objective=with_networks(penalised.objective, trained))
    gradient, observables, labels = optimizer.uses_gradient, optimizer.observables, trained.labels(1)
    chunk = chunk_of(optimizer.population, trained.settings.L)
    scores = Scorer(trained.decoder, trained.model, ready, gradient, labels, chunk, observables, free)
    return lambda piece: make_here(piece, store) if isinstance(piece, DatasetConfig) else scores.evaluate(piece)


def with_networks(objective: Objective, trained: TrainedModel) -> Objective:
    """The objective with the networks of the model that it needs."""
    return objective.given_networks({name: getattr(trained, name) for name in objective.needs})


def plan(config: OptimizeConfig, model: str, store: Store) -> list[str]:
    """What would be searched, line by line."""
    return [f"model {model}", *outline(config), f"result: optima/{config.name_in(model)}"]


def outline(config: OptimizeConfig) -> list[str]:
    optimizer, limits = config.optimizer, ", ".join(map(str, config.constraints))
    return [
        f"{optimizer.name}: {optimizer.population} codes x {config.iterations} iterations, {config.objective.name}, "
        f"subject to {limits}"
    ]


def check(config: OptimizeConfig, model: SpinModel, L: int) -> None:
    """Raise RequestError unless states have the objective, its gradient if it is used, and what is limited."""
    objective = config.objective
    try:
        objective.check(model)
        objective.check_lattice(model, L)
        for constraint in config.constraints:
            check_constraint(constraint, model)
        for name in config.optimizer.observables:
            if name not in model.observables:
                raise ValueError(f"optimizer: expected some of {', '.join(model.observables)}, found {name!r}")
    except ValueError as error:
        raise RequestError(str(error)) from None
    if (
        config.optimizer.uses_gradient
        and isinstance(objective, FunctionObjective)
        and not objective.has_gradient(model)
    ):
        raise RequestError(
            f"objective {objective.name}: expected a value with a gradient for the {config.optimizer.name} optimizer, "
            "found none; --optimizer genetic and cma-es take none"
        )


def run(config: OptimizeConfig, model: str, store: Store, actors: int | None = None) -> tuple[str, dict[str, Any]]:
    """Name and card of an optimum, searched for if it is not in the store."""
    trained, name = TrainedModel(model, store), config.name_in(model)
    parents = [f"models/{model}"]
    return made(store, "optima", name, lambda held: _run(config, name, trained, store, held, actors), parents)


def _run(
    config: OptimizeConfig, name: str, trained: TrainedModel, store: Store, held: Lease, actors: int | None
) -> None:
    check(config, trained.model, trained.settings.L)
    data = shards.read(trained.dataset.name, store)
    training, held_out = data[:COMPARED].tensor(), data[trained.held_out][:COMPARED].tensor()
    objective = with_networks(config.objective, trained)
    of_training = valued(training, trained.model, objective)
    observed = _observed(trained)
    penalised = Penalised.of(objective, config.constraints, observed, of_training["score"])
    optimizer = config.optimizer.over(observed)
    search, history = _begin(config, optimizer, trained, f"{store.work('optima', name)}/{CHECKPOINT}", held)
    connect()
    log(f"{objective.name} in the latent space of {trained.name}, {optimizer.name}")
    sent = penalised._replace(objective=config.objective)
    arguments = trained.name, store, sent, optimizer, config.free
    chunk = chunk_of(optimizer.population, trained.settings.L)
    with Pool(name, worker, arguments, -(-optimizer.population // chunk), actors) as pool:
        pool.answered()
        _search(config, name, search, history, pool, chunk, held)
        cost = dict(zip(("seconds", "cpu_seconds"), np.sum(history, 0)[2:].tolist(), strict=True))
        beside = _rivals(trained, penalised, cost["cpu_seconds"], pool)
    commit(
        config,
        trained,
        penalised,
        search,
        np.array(history)[:, :2],
        observed,
        {
            "training": ranked(training, trained.model, penalised)[0],
            "held_out": valued(held_out, trained.model, objective),
        },
        held_out,
        cost,
        *beside,
    )


def _rivals(
    trained: TrainedModel, penalised: Penalised, cpu_seconds: float, pool: Actors
) -> tuple[pd.DataFrame, list[str]]:
    """See :func:`orchestrator.optimization.rivals.rivals`; none where no sampler of ours is one."""
    try:
        log("rivals at the cost of the search: tempering, and annealing in a field")
        return rivals(trained.dataset, penalised, cpu_seconds, trained.store, pool)
    except ValueError as error:  # of another spin model, or on too small a lattice
        log(f"no rivals: {error}")
        return pd.DataFrame(), []


def _observed(trained: TrainedModel) -> Mapping[str, pd.Series]:
    """Every observable of all its data; defects of those that the optimum is held against."""
    model, name, store = trained.model, trained.dataset.name, trained.store
    data = shards.columns(name, store, list(model.observables))
    defects = measure(shards.read(name, store)[:COMPARED].tensor(), model)[model.defect_column]
    return {**{key: pd.Series(values) for key, values in data.items()}, model.defect_column: defects}


def _search(
    config: OptimizeConfig, name: str, search: Optimizer, history: History, pool: Actors, chunk: int, held: Lease
) -> None:
    """The iterations that are left; they are added to ``history``."""
    store, checkpoint = held.store, f"{held.store.work('optima', name)}/{CHECKPOINT}"
    saved, kept = time.monotonic(), len(history)

    def evaluate(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        parts = dict(pool.map(shares(codes, pool.answered(), chunk)))
        scores, gradients = zip(*(parts[number] for number in sorted(parts)), strict=True)
        return np.concatenate(scores), None if gradients[0] is None else np.concatenate(gradients)

    with on_interrupt(lambda: f"iteration {kept} of {config.iterations} of {name}"), progress() as bar:
        task = bar.add_task("iterations", total=config.iterations, completed=len(history), note="")
        while len(history) < config.iterations:
            started = time.monotonic()
            scores = advance(search, evaluate)
            seconds = time.monotonic() - started
            scores = scores[:, 0] if scores.ndim == 2 else scores
            finite = scores[np.isfinite(scores)]
            found = search.result().scores
            if not history:
                _check_first(config, scores, found)
            best = float(found[0])
            mean = float(finite.mean()) if len(finite) else np.nan
            history.append((best, mean, seconds, seconds * pool.most))
            bar.update(task, advance=1, note=f"best score {best:.5g}")
            held.report(len(history), config.iterations, "iterations", f"best score {best:.5g}")
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                _save(search, history, store, checkpoint)
                saved, kept = time.monotonic(), len(history)


def _check_first(config: OptimizeConfig, scores: np.ndarray, found: np.ndarray) -> None:
    """Raise ValueError if none of the first codes has a score, or no state of theirs is on the map of an archive."""
    first = f"none among the first {len(scores)}"
    if not np.isfinite(scores).any():
        raise ValueError(f"objective {config.objective.name}: expected numbers, found {first} values")
    if not len(found):
        raise ValueError(f"optimizer {config.optimizer.name}: expected states within its bounds, found {first}")


def _save(search: Optimizer, history: History, store: Store, path: str) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, history=np.array(history), **{f"state.{key}": value for key, value in search.state().items()})  # type: ignore[arg-type]
    store.write_file(path, buffer.getvalue())


def _begin(
    config: OptimizeConfig, optimizer: OptimizerSettings, trained: TrainedModel, path: str, held: Lease
) -> tuple[Optimizer, History]:
    """The search and its history, from the checkpoint if there is one; a damaged one is set aside."""
    store, start = held.store, partial(optimizer.start, trained.settings.latent, config.seed)
    search = start()
    content = store.read_file(path)
    if content is None:
        return search, []
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as saved:
            search.restore({key.removeprefix("state."): saved[key] for key in saved.files if key != "history"})
            history = [
                (float(best), float(mean), float(wall), float(cpu)) for best, mean, wall, cpu in saved["history"]
            ]
    except Exception as error:  # zip, NumPy and JSON each have several of their own
        held.say(f"{store.set_aside(path)}: not a checkpoint of this search: {in_a_line(error)}; it starts again")
        return start(), []
    log(f"continuing from iteration {len(history)}")
    return search, history
