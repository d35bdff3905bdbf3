"""Searches of a latent space: the population on Ray actors that hold the model, codes out and scores back."""

from __future__ import annotations

import io
import itertools
import json
import time
from typing import Any

import numpy as np
import pandas as pd
import ray
import torch
from torch import Tensor

from nets.sampling import CHUNK, decode, prior
from orchestrator import datasets, models, report
from orchestrator.cluster import connect, cpus
from orchestrator.config import OptimizeConfig
from orchestrator.console import progress, say
from orchestrator.errors import RequestError
from orchestrator.store import Store, digest, versions
from physics.hamiltonian import Hamiltonian
from physics.observables import magnetization, nodal_points, topological_charge
from search.genetic import Genetic
from search.gradient import ascend
from search.objectives import Objective, objective

COMPARED = 1000  # training configurations that the optimum is held against
CHECKPOINT_SECONDS = 10.0


@ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)
class Scorer:
    """A model held once; what it is asked for depends on the codes alone, so a restarted actor is as good."""

    def __init__(self, model: str, store: Store, function: Objective, hamiltonian: Hamiltonian):
        torch.set_num_threads(1)
        self.model = models.load(model, store).requires_grad_(False)
        self.function, self.hamiltonian = function, hamiltonian

    def score(self, codes: np.ndarray) -> np.ndarray:
        return self.function(decode(self.model, codes), self.hamiltonian).numpy()

    def ascend(self, codes: np.ndarray, iterations: int, learning_rate: float) -> tuple[np.ndarray, np.ndarray]:
        best, history = ascend(
            lambda z: self.function(self.model.decode(z), self.hamiltonian),
            torch.from_numpy(codes.copy()),
            iterations,
            learning_rate,
        )
        return best.numpy(), history.numpy()


def chunks(codes: np.ndarray, parts: int) -> list[np.ndarray]:
    """At most ``parts`` runs of codes, cut between the chunks that are decoded together.

    Every code is decoded in the same company whatever ``parts`` is, so scores do not depend on it.
    """
    cuts = -(-len(codes) // CHUNK)
    bounds = [CHUNK * (cuts * i // parts) for i in range(parts)] + [len(codes)]
    return [codes[a:b] for a, b in itertools.pairwise(bounds) if a < b]


def optimum_name(config: OptimizeConfig, model: str) -> str:
    label = config.objective.replace(":", "-")
    return f"{label}-{digest({'config': config.model_dump(mode='json'), 'model': model})}"


def run(config: OptimizeConfig, model: str, store: Store, actors: int | None = None) -> tuple[str, dict[str, Any]]:
    """Name and card of an optimum, searched for if it is not in the store."""
    name = optimum_name(config, model)
    if (card := store.card("optima", name)) is not None:
        say(f"found optima/{name}")
        return name, card
    try:
        function = objective(config.objective)
    except ValueError as error:
        raise RequestError(str(error)) from None
    dataset = models.dataset_config(model, store)
    spins = datasets.read(dataset.name, store)[:COMPARED].tensor()
    latent = models.load(model, store).latent_dim
    connect()
    actors = min(actors or cpus(), cpus(), -(-config.population // CHUNK))  # one that waits for a CPU would stall all
    scorers = [
        Scorer.remote(model, store, function, dataset.hamiltonian)  # type: ignore[attr-defined]
        for _ in range(actors)
    ]
    say(f"optimizing {config.objective} in the latent space of {model}, {config.method}, on {actors} actors")
    started = time.monotonic()
    if config.method == "genetic":
        code, history = _genetic(config, name, latent, scorers, store)
    else:
        code, history = _gradient(config, latent, scorers)
    seconds = time.monotonic() - started
    for scorer in scorers:
        ray.kill(scorer)
    return name, _commit(config, name, model, store, code, history, spins, function, seconds)


def _genetic(
    config: OptimizeConfig, name: str, latent: int, scorers: list[Any], store: Store
) -> tuple[np.ndarray, np.ndarray]:
    """The best code, and best and mean score of each generation; continued from its checkpoint after a stop."""
    search = Genetic(latent, config.population, config.pressure, config.mutation, config.elite, config.seed)
    checkpoint = f"optima/{name}/checkpoint.npz"
    history = _resume(search, store, checkpoint)
    saved = time.monotonic()
    with progress() as bar:
        task = bar.add_task("generations", total=config.iterations, completed=len(history), note="")
        while len(history) < config.iterations:
            codes = search.ask()
            parts = chunks(codes, len(scorers))
            calls = [scorer.score.remote(part) for scorer, part in zip(scorers, parts, strict=False)]
            search.tell(codes, np.concatenate(ray.get(calls)))
            finite = search.scores[np.isfinite(search.scores)]
            history.append((search.best[1], float(finite.mean()) if len(finite) else np.nan))
            bar.update(task, advance=1, note=f"best {search.best[1]:.5g}")
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                _save(search, history, store, checkpoint)
                saved = time.monotonic()
    return search.best[0], np.array(history)


def _save(search: Genetic, history: list[tuple[float, float]], store: Store, path: str) -> None:
    state = search.state()
    buffer = io.BytesIO()
    np.savez(
        buffer,
        codes=state["codes"],
        scores=state["scores"],
        history=np.array(history),
        generator=json.dumps(state["generator"]),
    )
    store.write_file(path, buffer.getvalue())


def _resume(search: Genetic, store: Store, path: str) -> list[tuple[float, float]]:
    if not store.fs.exists(f"{store.path}/{path}"):
        return []
    with np.load(io.BytesIO(store.fs.cat_file(f"{store.path}/{path}")), allow_pickle=False) as state:
        generator = json.loads(str(state["generator"]))
        search.restore({"codes": state["codes"], "scores": state["scores"], "generator": generator})
        history = [(float(best), float(mean)) for best, mean in state["history"]]
    say(f"continuing from generation {len(history)}")
    return history


def _gradient(config: OptimizeConfig, latent: int, scorers: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The best of ``population`` codes from the prior, each after ``iterations`` steps of its own."""
    codes = prior(config.population, latent, config.seed)
    pieces = [codes[i : i + CHUNK] for i in range(0, len(codes), CHUNK)]
    pool = ray.util.ActorPool(scorers)
    found, histories = [], []
    with progress() as bar:
        task = bar.add_task("codes", total=len(codes), note="")
        results = pool.map(
            lambda scorer, part: scorer.ascend.remote(part, config.iterations, config.learning_rate), pieces
        )
        for best, history in results:
            found.append(best)
            histories.append(history)
            bar.update(task, advance=len(best), note=f"best {max(h.max() for h in histories):.5g}")
    scores = np.concatenate(histories, axis=1)
    winner = int(scores.max(0).argmax())
    history = np.stack((np.maximum.accumulate(scores.max(1)), scores.mean(1)), 1)
    return np.concatenate(found)[winner], history


def _commit(
    config: OptimizeConfig,
    name: str,
    model: str,
    store: Store,
    code: np.ndarray,
    history: np.ndarray,
    training: Tensor,
    function: Objective,
    seconds: float,
) -> dict[str, Any]:
    dataset = models.dataset_config(model, store)
    hamiltonian = dataset.hamiltonian
    winner = decode(models.load(model, store), code[None])
    scores = function(training, hamiltonian).numpy()
    energies, mz = hamiltonian.energy(training), magnetization(training)[:, 2]
    figures = {
        "score": function(winner, hamiltonian).item(),
        "training_score_max": float(scores.max()),
        "training_score_mean": float(scores.mean()),
        "training_score_std": float(scores.std()),
        "training_compared": len(scores),
        "mz": magnetization(winner)[0, 2].item(),
        "training_mz_max": mz.max().item(),
        "training_mz_min": mz.min().item(),
        "energy": hamiltonian.energy(winner).item(),
        "training_energy_mean": energies.mean().item(),
        "training_energy_min": energies.min().item(),
        "topological_charge": topological_charge(winner, hamiltonian).item(),
        "nodal_points": int(nodal_points(winner, hamiltonian).sum()),
        "seconds": round(seconds, 2),
    }
    label = (
        f"{config.objective} = {figures['score']:.5g}: M_z {figures['mz']:.4f}, energy {figures['energy']:.5f}, "
        f"W {figures['topological_charge']:.1f}, {figures['nodal_points']} nodal points"
    )
    table = pd.DataFrame(
        [{**figures, "code": code.tolist(), "spins": winner[0].numpy().ravel().tolist(), "L": dataset.L}]
    )
    parquet = io.BytesIO()
    table.to_parquet(parquet, index=False)
    files = report.optimum(name, config, hamiltonian, winner[0].numpy(), history, figures, scores, label)
    return store.commit(
        "optima",
        name,
        {
            "kind": "optimum",
            "config": config.model_dump(mode="json"),
            "parents": [f"models/{model}"],
            "figures": figures,
            "versions": versions(),
        },
        {"winner.parquet": parquet.getvalue(), **files},
    )
