"""Searches of a latent space: the population on Ray actors that hold the model, codes out and scores back."""

from __future__ import annotations

import io
import time
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nets.sampling import CHUNK, decode
from orchestrator.cluster import Pool, connect
from orchestrator.console import log, on_interrupt, progress
from orchestrator.data import shards
from orchestrator.errors import RequestError
from orchestrator.files import in_a_line
from orchestrator.lease import Lease, made
from orchestrator.optimization.page import optimum_page
from orchestrator.optimization.request import OptimizeConfig
from orchestrator.page import drawn, origin
from orchestrator.store import Store
from orchestrator.training.trained import TrainedModel
from search.objectives import Objective
from search.optimizer import Candidates, Evaluate, Optimizer, advance
from search.scoring import Scorer, shares
from search.winner import judged, remarks

COMPARED = 1000  # training configurations that the optimum is held against
CHECKPOINT_SECONDS = 10.0
CHECKPOINT = "checkpoint.npz"

Scores = Pool[np.ndarray, tuple[np.ndarray, np.ndarray | None]]
History = list[tuple[float, float]]
"""Best score so far and mean score of each iteration."""


def scorer(model: str, store: Store, objective: Objective, gradient: bool) -> Evaluate:
    """Scores of codes by a model of the store."""
    trained = TrainedModel(model, store)
    return Scorer(trained.decoder, trained.model, objective, gradient, trained.labels(1)).evaluate


def plan(config: OptimizeConfig, model: str, store: Store) -> list[str]:
    """What would be searched, line by line."""
    optimizer = config.optimizer
    return [
        f"model {model}",
        f"{optimizer.name}: {optimizer.population} codes x {config.iterations} iterations, {config.objective.name}",
        f"result: optima/{config.name_in(model)}",
    ]


def check(config: OptimizeConfig, model: Any) -> None:
    """Raise RequestError unless the spin model has the objective."""
    try:
        config.objective.check(model)
    except ValueError as error:
        raise RequestError(str(error)) from None


def run(config: OptimizeConfig, model: str, store: Store, actors: int | None = None) -> tuple[str, dict[str, Any]]:
    """Name and card of an optimum, searched for if it is not in the store."""
    trained, name = TrainedModel(model, store), config.name_in(model)
    parents = [f"models/{model}"]
    return made(store, "optima", name, lambda held: _run(config, name, trained, store, held, actors), parents)


def _run(
    config: OptimizeConfig, name: str, trained: TrainedModel, store: Store, held: Lease, actors: int | None
) -> None:
    model = trained.name
    check(config, trained.model)
    data = shards.read(trained.dataset.name, store)
    training, held_out = data[:COMPARED].tensor(), data[trained.held_out][:COMPARED].tensor()
    search, history = _begin(config, trained, f"{store.work('optima', name)}/{CHECKPOINT}", held)
    connect()
    log(f"{config.objective.name} in the latent space of {model}, {config.optimizer.name}")
    started = time.monotonic()
    arguments = model, store, config.objective, config.optimizer.uses_gradient
    with Pool(name, scorer, arguments, -(-config.optimizer.population // CHUNK), actors) as pool:
        _search(config, name, search, history, pool, held)
    seconds = time.monotonic() - started
    _commit(config, trained, search.result(), history, (training, held_out), seconds)


def _search(config: OptimizeConfig, name: str, search: Optimizer, history: History, pool: Scores, held: Lease) -> None:
    """The iterations that are left; they are added to ``history``."""
    store, checkpoint = held.store, f"{held.store.work('optima', name)}/{CHECKPOINT}"
    saved, kept = time.monotonic(), len(history)

    def evaluate(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        parts = dict(pool.map(shares(codes, pool.answered())))
        scores, gradients = zip(*(parts[number] for number in sorted(parts)), strict=True)
        return np.concatenate(scores), None if gradients[0] is None else np.concatenate(gradients)

    with on_interrupt(lambda: f"iteration {kept} of {config.iterations} of {name}"), progress() as bar:
        task = bar.add_task("iterations", total=config.iterations, completed=len(history), note="")
        while len(history) < config.iterations:
            scores = advance(search, evaluate)
            best = float(search.result().scores[0])
            finite = scores[np.isfinite(scores)]
            history.append((best, float(finite.mean()) if len(finite) else np.nan))
            bar.update(task, advance=1, note=f"best score {best:.5g}")
            held.report(len(history), config.iterations, "iterations", f"best score {best:.5g}")
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                _save(search, history, store, checkpoint)
                saved, kept = time.monotonic(), len(history)


def _save(search: Optimizer, history: History, store: Store, path: str) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, history=np.array(history), **{f"state.{key}": value for key, value in search.state().items()})  # type: ignore[arg-type]
    store.write_file(path, buffer.getvalue())


def _begin(config: OptimizeConfig, trained: TrainedModel, path: str, held: Lease) -> tuple[Optimizer, History]:
    """The search and its history, from the checkpoint if there is one; a damaged one is set aside."""
    store = held.store
    search = config.optimizer.start(trained.settings.latent, config.seed)
    content = store.read_file(path)
    if content is None:
        return search, []
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as saved:
            search.restore({key.removeprefix("state."): saved[key] for key in saved.files if key != "history"})
            history = [(float(best), float(mean)) for best, mean in saved["history"]]
    except Exception as error:  # zip, NumPy and JSON each have several of their own
        held.say(f"{store.set_aside(path)}: not a checkpoint of this search: {in_a_line(error)}; it starts again")
        return config.optimizer.start(trained.settings.latent, config.seed), []
    log(f"continuing from iteration {len(history)}")
    return search, history


def _commit(
    config: OptimizeConfig,
    trained: TrainedModel,
    found: Candidates,
    history: History,
    data: tuple[Tensor, Tensor],
    seconds: float,
) -> None:
    """Keep the winner.

    Args:
        data: configurations that the model was trained on, and others.
    """
    model, objective, (training, held_out) = trained.model, config.objective, data
    spins = decode(trained.decoder, found.codes[:1], trained.labels(1))
    winner = judged(found.codes[0], spins[0], model, objective, held_out)
    values = torch.cat([objective.value(part, model) for part in training.split(CHUNK)]).numpy()
    figures = {f"training_score_{key}": float(getattr(values, key)()) for key in ("min", "mean", "max", "std")}
    figures |= {"training_compared": len(values), **winner.figures}
    for name, observable in model.observables.items():
        of_training = observable.measure(training)
        figures |= {f"training_{name}_{key}": getattr(of_training, key)().item() for key in ("min", "mean", "max")}
    said = remarks(figures, trained.settings.latent, figures["training_energy_max"])
    row = {**figures, "code": found.codes[0].tolist(), "spins": spins.flatten().tolist(), "L": trained.settings.L}
    if winner.rested is not None:
        row["rested_spins"] = winner.rested.flatten().tolist()
    parquet = io.BytesIO()
    pd.DataFrame([row]).to_parquet(parquet, index=False)
    name = config.name_in(trained.name)
    parents = [f"models/{trained.name}"]
    card = {
        "kind": "optimum",
        "config": config.model_dump(mode="json"),
        "given": config.given(),
        "parents": parents,
        "figures": figures | {"seconds": round(seconds, 2)},
        "said": said,
    }
    command = f"orch optimize --model {trained.name} --config"
    source = origin(trained.store, "optima", name, config, command, parents)
    draw = partial(optimum_page, name, config, model, winner, np.array(history), figures, said, values, source)
    trained.store.commit("optima", name, card, {"winner.parquet": parquet.getvalue(), **drawn(draw, config)})
