"""Searches of a latent space: the population on Ray actors that hold the model, codes out and scores back."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from orchestrator.cluster import Alone, Pool, connect
from orchestrator.console import counted, log, on_interrupt
from orchestrator.data import shards
from orchestrator.data.run import SECONDS_PER_UPDATE
from orchestrator.errors import RequestError
from orchestrator.files import in_a_line
from orchestrator.lease import Lease, made
from orchestrator.optimization.found import History, Searched, commit, milestones
from orchestrator.optimization.request import OptimizeConfig
from orchestrator.store import Store
from orchestrator.training.trained import TrainedModel
from physics.ground_state import one_digit
from physics.model import SpinModel
from search.constraint import Penalised, check_constraint
from search.objectives import Objective
from search.optimizer import Optimizer, OptimizerSettings, advance
from search.rivals import Rival, best_state, rated, rivals
from search.scoring import Scorer, chunk_of, shares
from search.winner import ranked, valued

MOST_UPDATES = 5e9  # of spins, by each rival: about 20 s of CPU
COMPARED = 1000  # training configurations that the optimum is held against
CHECKPOINT_SECONDS = 10.0
CHECKPOINT = "checkpoint.npz"

Piece = np.ndarray | Rival
Actors = Pool[Piece, Any] | Alone[Piece, Any]


def worker(
    model: str, store: Store, penalised: Penalised, config: OptimizeConfig, optimizer: OptimizerSettings, device: str
) -> Callable[[Piece], Any]:
    """Scores of codes by a model of the store, on a device; of a rival its best state, on a CPU."""
    trained, here = TrainedModel(model, store, device), TrainedModel(model, store)
    L, labels, chunk = trained.settings.L, trained.labels(1), chunk_of(optimizer.population, trained.settings.L)
    there, judging = (penalised._replace(objective=with_networks(penalised.objective, at)) for at in (trained, here))
    how = optimizer.uses_gradient, labels, chunk, optimizer.observables, config.free, device
    scores = Scorer(trained.decoder, trained.model, there, *how)

    def work(piece: Piece) -> Any:
        if isinstance(piece, Rival):
            return best_state(piece, trained.model, L, config.seed, judging)
        return scores.evaluate(piece)

    return work


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
    if config.optimizer.uses_gradient and not objective.has_gradient(model):
        raise RequestError(
            f"objective {objective.name}: expected a value with a gradient for the {config.optimizer.name} optimizer, "
            "found none; --optimizer genetic and cma-es take none"
        )


def run(
    config: OptimizeConfig, model: str, store: Store, actors: int | None = None, gpu: bool = False
) -> tuple[str, dict[str, Any]]:
    """Name and card of an optimum, searched for if it is not in the store.

    Args:
        actors: at most; 0 for a search in this process.
        gpu: each takes a GPU; scores differ in their last digits, and so may the way of a search.
    """
    trained, name = TrainedModel(model, store), config.name_in(model)
    parents = [f"models/{model}"]
    return made(store, "optima", name, lambda held: _run(config, name, trained, store, held, actors, gpu), parents)


def _run(
    config: OptimizeConfig, name: str, trained: TrainedModel, store: Store, held: Lease, actors: int | None, gpu: bool
) -> None:
    check(config, trained.model, trained.settings.L)
    data = shards.read(trained.dataset.name, store)
    training, held_out = data[:COMPARED].tensor(), data[trained.held_out][:COMPARED].tensor()
    objective = with_networks(config.objective, trained)
    of_training = valued(training, trained.model, objective)
    observed = _observed(trained, of_training)
    penalised = Penalised.of(objective, config.constraints, observed, of_training["score"])
    optimizer = config.optimizer.over(observed)
    search, history = _begin(config, optimizer, trained, f"{store.work('optima', name)}/{CHECKPOINT}", held)
    log(f"{objective.name} in the latent space of {trained.name}, {optimizer.name}")
    sent = penalised._replace(objective=config.objective)
    arguments = trained.name, store, sent, config, optimizer, "cuda" if gpu else "cpu"
    chunk = chunk_of(optimizer.population, trained.settings.L)
    with _actors(name, arguments, -(-optimizer.population // chunk), actors, gpu) as pool:
        pool.answered()
        _search(config, name, search, history, pool, chunk, held)
        of = "gpu_seconds" if gpu else "cpu_seconds"
        cost = dict(zip(("seconds", of), np.sum(history.scores, 0)[2:].tolist(), strict=True))
        beside = _rivals(trained, penalised, cost[of], pool)
    ranks = ranked(training, trained.model, penalised)[0]
    commit(Searched(config, trained, penalised, search, history, observed, ranks, held_out, cost, *beside))


def _actors(name: str, arguments: tuple[Any, ...], size: int, actors: int | None, gpu: bool) -> Actors:
    """Actors that score codes, or this process alone if it may have none."""
    if actors == 0:
        return Alone(worker, arguments)
    connect()
    return Pool(name, worker, arguments, size, actors, gpu)


def _rivals(
    trained: TrainedModel, penalised: Penalised, seconds: float, pool: Actors
) -> tuple[pd.DataFrame, np.ndarray]:
    """A row for each rival, see :func:`search.rivals.rated`, with its cost over that of the search as ``share``.

    Beside them their best states ``(n, components, L, L)``; none where no sampler of ours is a rival.

    Args:
        seconds: of CPUs that they get; the search took as many, of CPUs or GPUs.
    """
    model, L = trained.model, trained.settings.L
    updates = one_digit(min(seconds / SECONDS_PER_UPDATE, MOST_UPDATES))
    try:
        all_runs = rivals(model, L, penalised.objective, updates)
    except ValueError as error:  # of another spin model, or on too small a lattice
        log(f"no rivals: {error}")
        return pd.DataFrame(), np.empty((0, model.components, L, L), np.float32)
    log("rivals at the cost of the search: tempering, and annealing in a field")
    states = dict(pool.map(all_runs))
    rows, best = [], []
    for name in dict.fromkeys(rival.name for rival in all_runs):
        own = [number for number, rival in enumerate(all_runs) if rival.name == name]
        row, spins = rated(np.stack([states[number] for number in own]), model, penalised)
        cost = sum(all_runs[number].search.spin_updates(L) for number in own) * SECONDS_PER_UPDATE
        rows.append({"state": name, **row, "share": cost / max(seconds, 1e-9)})
        best.append(spins)
    return pd.DataFrame(rows), np.stack(best)


def _observed(trained: TrainedModel, of_training: pd.DataFrame) -> Mapping[str, pd.Series]:
    """Every observable of all its data; defects of those that the optimum is held against."""
    model = trained.model
    data = shards.columns(trained.dataset.name, trained.store, list(model.observables))
    return {
        **{key: pd.Series(values) for key, values in data.items()},
        model.defect_column: of_training[model.defect_column],
    }


def _search(
    config: OptimizeConfig, name: str, search: Optimizer, history: History, pool: Actors, chunk: int, held: Lease
) -> None:
    """The iterations that are left; they are added to ``history``."""
    store, checkpoint = held.store, f"{held.store.work('optima', name)}/{CHECKPOINT}"
    saved, kept, at = time.monotonic(), len(history.scores), milestones(config.iterations)

    def evaluate(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        parts = dict(pool.map(shares(codes, pool.answered(), chunk)))
        scores, gradients = zip(*(parts[number] for number in sorted(parts)), strict=True)
        return np.concatenate(scores), None if gradients[0] is None else np.concatenate(gradients)

    bar = counted("iterations", held.report, done=kept, total=config.iterations)
    with on_interrupt(lambda: f"iteration {kept} of {config.iterations} of {name}"), bar as show:
        while len(history.scores) < config.iterations:
            started = time.monotonic()
            scores = advance(search, evaluate)
            seconds = time.monotonic() - started
            scores = scores[:, 0] if scores.ndim == 2 else scores
            finite = scores[np.isfinite(scores)]
            found = search.result()
            if not history.scores:
                _check_first(config, scores, found.scores)
            best, mean = float(found.scores[0]), float(finite.mean()) if len(finite) else np.nan
            history.scores.append((best, mean, seconds, seconds * pool.most))
            done = len(history.scores)
            if done in at:
                history.codes.append(found.codes[0].copy())
            show(done, config.iterations, f"best score {best:.5g}")
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                _save(search, history, store, checkpoint)
                saved, kept = time.monotonic(), done


def _check_first(config: OptimizeConfig, scores: np.ndarray, found: np.ndarray) -> None:
    """Raise ValueError if none of the first codes has a score, or no state of theirs is on the map of an archive."""
    first = f"none among the first {len(scores)}"
    if not np.isfinite(scores).any():
        raise ValueError(f"objective {config.objective.name}: expected numbers, found {first} values")
    if not len(found):
        raise ValueError(f"optimizer {config.optimizer.name}: expected states within its bounds, found {first}")


def _save(search: Optimizer, history: History, store: Store, path: str) -> None:
    buffer, state = io.BytesIO(), {f"state.{key}": value for key, value in search.state().items()}
    np.savez(buffer, history=np.array(history.scores), codes=np.array(history.codes), **state)  # type: ignore[arg-type]
    store.write_file(path, buffer.getvalue())


def _begin(
    config: OptimizeConfig, optimizer: OptimizerSettings, trained: TrainedModel, path: str, held: Lease
) -> tuple[Optimizer, History]:
    """The search and its history, from the checkpoint if there is one; a damaged one is set aside."""
    store, start = held.store, partial(optimizer.start, trained.settings.latent, config.seed)
    search = start()
    content = store.read_file(path)
    if content is None:
        return search, History([], [])
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as saved:
            rows = [(float(best), float(mean), float(wall), float(cpu)) for best, mean, wall, cpu in saved["history"]]
            history = History(rows, [*saved["codes"]])
            search.restore({key.removeprefix("state."): saved[key] for key in saved.files if key.startswith("state.")})
    except Exception as error:  # zip, NumPy and JSON each have several of their own
        held.say(f"{store.set_aside(path)}: not a checkpoint of this search: {in_a_line(error)}; it starts again")
        return start(), History([], [])
    log(f"continuing from iteration {len(history.scores)}")
    return search, history
