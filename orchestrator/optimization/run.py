"""Searches of a latent space: the population on Ray actors that hold the model, codes out and scores back."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pandas as pd
import ray
import torch
from torch import Tensor

from nets.metrics import measure
from nets.sampling import CHUNK, decode
from orchestrator.cluster import connect, cpus
from orchestrator.console import log, on_interrupt, progress
from orchestrator.data import shards
from orchestrator.errors import RequestError
from orchestrator.optimization.page import optimum_page
from orchestrator.optimization.request import OptimizeConfig
from orchestrator.store import Store, versions
from orchestrator.training.trained import TrainedModel
from search.objectives import Objective
from search.optimizer import Candidates, Optimizer, advance
from search.scoring import Scorer, shares

COMPARED = 1000  # training configurations that the optimum is held against
CHECKPOINT_SECONDS = 10.0

History = list[tuple[float, float]]
"""Best score so far and mean score of each iteration."""


@ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)
class ScoringActor:
    """A model held once; what it is asked for depends on the codes alone, so a restarted actor is as good."""

    def __init__(self, model: str, store: Store, objective: Objective, gradient: bool):
        torch.set_num_threads(1)
        trained = TrainedModel(model, store)
        self.scorer = Scorer(trained.decoder, trained.model, objective, gradient, trained.labels(1))

    def evaluate(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        return self.scorer.evaluate(codes)


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
    name = config.name_in(model)
    if (card := store.card("optima", name)) is not None:
        log(f"found optima/{name}")
        return name, card
    trained = TrainedModel(model, store)
    check(config, trained.model)
    training = shards.read(trained.dataset.name, store)[:COMPARED].tensor()
    search = config.optimizer.start(trained.settings.latent, config.seed)
    connect()
    population = config.optimizer.population
    actors = min(actors or cpus(), cpus(), -(-population // CHUNK))  # one that waits for a CPU would stall all
    scorers = [
        ScoringActor.remote(model, store, config.objective, config.optimizer.uses_gradient)  # type: ignore[attr-defined]
        for _ in range(actors)
    ]
    log(f"{config.objective.name} in the latent space of {model}, {config.optimizer.name}, on {actors} actors")
    started = time.monotonic()
    history = _search(config, name, search, scorers, store)
    seconds = time.monotonic() - started
    for scorer in scorers:
        ray.kill(scorer)
    return name, _commit(config, trained, search.result(), history, training, seconds)


def _search(config: OptimizeConfig, name: str, search: Optimizer, scorers: list[Any], store: Store) -> History:
    """All iterations, continued from the checkpoint after a stop."""
    checkpoint = f"optima/{name}/checkpoint.npz"
    history = _resume(search, store, checkpoint)
    saved, kept = time.monotonic(), len(history)

    def evaluate(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        parts = shares(codes, len(scorers))
        calls = [scorer.evaluate.remote(part) for scorer, part in zip(scorers, parts, strict=False)]
        scores, gradients = zip(*ray.get(calls), strict=True)
        return np.concatenate(scores), None if gradients[0] is None else np.concatenate(gradients)

    with on_interrupt(lambda: f"iteration {kept} of {config.iterations} of {name}"), progress() as bar:
        task = bar.add_task("iterations", total=config.iterations, completed=len(history), note="")
        while len(history) < config.iterations:
            scores = advance(search, evaluate)
            best = float(search.result().scores[0])
            finite = scores[np.isfinite(scores)]
            history.append((best, float(finite.mean()) if len(finite) else np.nan))
            bar.update(task, advance=1, note=f"best score {best:.5g}")
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                _save(search, history, store, checkpoint)
                saved, kept = time.monotonic(), len(history)
    return history


def _save(search: Optimizer, history: History, store: Store, path: str) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, history=np.array(history), **{f"state.{key}": value for key, value in search.state().items()})  # type: ignore[arg-type]
    store.write_file(path, buffer.getvalue())


def _resume(search: Optimizer, store: Store, path: str) -> History:
    """The history of the checkpoint, whose state is put into ``search``; RequestError if it is damaged."""
    if not store.fs.exists(f"{store.path}/{path}"):
        return []
    try:
        with np.load(io.BytesIO(store.fs.cat_file(f"{store.path}/{path}")), allow_pickle=False) as saved:
            search.restore({key.removeprefix("state."): saved[key] for key in saved.files if key != "history"})
            history = [(float(best), float(mean)) for best, mean in saved["history"]]
    except Exception as error:  # zip, NumPy and JSON each have several of their own
        raise RequestError(f"{path}: not a checkpoint of this search: {str(error).splitlines()[0]}") from None
    log(f"continuing from iteration {len(history)}")
    return history


def _commit(
    config: OptimizeConfig,
    trained: TrainedModel,
    found: Candidates,
    history: History,
    training: Tensor,
    seconds: float,
) -> dict[str, Any]:
    model, objective = trained.model, config.objective
    labels = trained.labels(1)
    spins = decode(trained.decoder, found.codes[:1], labels)
    winner = {str(key): float(value) for key, value in measure(spins, model).iloc[0].items()}
    values = torch.cat([objective.value(part, model) for part in training.split(CHUNK)]).numpy()
    figures = {"score": objective.value(spins, model).item()}
    figures |= {f"training_score_{key}": float(getattr(values, key)()) for key in ("min", "mean", "max", "std")}
    figures |= {"training_compared": len(values), **winner}
    for name, observable in model.observables.items():
        of_training = observable.measure(training)
        figures |= {f"training_{name}_{key}": getattr(of_training, key)().item() for key in ("min", "mean", "max")}
    figures["seconds"] = round(seconds, 2)
    row = {**figures, "code": found.codes[0].tolist(), "spins": spins.flatten().tolist(), "L": trained.settings.L}
    parquet = io.BytesIO()
    pd.DataFrame([row]).to_parquet(parquet, index=False)
    name = config.name_in(trained.name)
    card = {
        "kind": "optimum",
        "config": config.model_dump(mode="json"),
        "parents": [f"models/{trained.name}"],
        "figures": figures,
        "versions": versions(),
    }
    page = optimum_page(name, config, model, spins[0].numpy(), np.array(history), figures, values)
    return trained.store.commit("optima", name, card, {"winner.parquet": parquet.getvalue(), **page})
