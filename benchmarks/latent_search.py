"""Latent search: what scoring costs beside bare decoding, and how soon an algorithm is where that of 2022 ends.

    python benchmarks/latent_search.py --store STORE MODEL [--part speed|million|race] [--seeds 5] [--generations 10000]

* speed: evaluations a second of one core through the optimizer and the scorer, over the bare decoder and objective in
  batches of the same size; beside EvoTorch's genetic algorithm and pyribs' archive, where they are installed
  (requirements of this benchmark only).
* million: a generation of 10^6 codes, seconds and peak memory.
* race: the genetic algorithm of 2022 (100 codes, pressure 8 or 5) for some generations, and the CPU time after which
  the default reaches its last value, the energy limited by the data in both.

Times are CPU seconds of this process.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nets.sampling import prior
from orchestrator.data import shards
from orchestrator.store import Store
from orchestrator.training.trained import TrainedModel
from search.archive import Archive, ArchiveSettings
from search.constraint import ENERGY_OF_DATA, Penalised
from search.genetic import GeneticSettings
from search.memetic import MemeticSettings
from search.objectives import parse_objective
from search.optimizer import OptimizerSettings, advance
from search.prior import on_shell
from search.scoring import Scorer, chunk_of
from search.winner import valued

RACES = {"mz_max": 8.0, "topological_charge_max": 8.0, "energy_min": 5.0}  # with the paper's selection pressures
REPEATS = 5


def scorer(trained: TrainedModel, name: str, settings: OptimizerSettings) -> Scorer:
    objective, model = parse_objective(name), trained.model
    columns = shards.columns(trained.dataset.name, trained.store, list(model.observables))
    observed = {key: pd.Series(values) for key, values in columns.items()}
    values = valued(shards.read(trained.dataset.name, trained.store)[:1000].tensor(), model, objective)["score"]
    penalised = Penalised.of(objective, [ENERGY_OF_DATA], observed, values)
    chunk = chunk_of(settings.population, trained.settings.L)
    return Scorer(trained.decoder, model, penalised, settings.uses_gradient, {}, chunk, settings.observables)


def cpu(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def bare(trained: TrainedModel, scores: Scorer, codes: Tensor) -> None:
    """The decoder and the objective with its limit, in a loop."""
    with torch.no_grad():
        for part in codes.split(scores.chunk):
            scores.penalised.score(trained.decoder.decode(on_shell(part)), trained.model)


def speed(trained: TrainedModel) -> None:
    settings = GeneticSettings(population=1000)
    scores = scorer(trained, "mz_max", settings)
    search, codes = settings.start(trained.settings.latent, 0), torch.from_numpy(prior(999, trained.settings.latent, 0))
    advance(search, scores.evaluate)
    rows: dict[str, list[float]] = {}
    others = {"orch, genetic": lambda: advance(search, scores.evaluate), **evotorch_generation(trained, scores)}
    for _ in range(REPEATS):
        rows.setdefault("bare decoder and objective", []).append(999 / cpu(lambda: bare(trained, scores, codes)))
        for name, generation in others.items():
            rows.setdefault(name, []).append(999 / cpu(generation))
    reference = statistics.median(rows["bare decoder and objective"])
    for name, found in rows.items():
        print(
            f"{name:34s} {statistics.median(found):8.0f} a second, {statistics.median(found) / reference:.3f} of bare"
        )
    archives(trained)


def evotorch_generation(trained: TrainedModel, scores: Scorer) -> dict[str, Callable[[], object]]:
    try:
        from evotorch import Problem
        from evotorch.algorithms import GeneticAlgorithm
        from evotorch.operators import GaussianMutation, OnePointCrossOver
    except ImportError as error:
        print(f"without EvoTorch: {error}")
        return {}

    def fitness(codes: Tensor) -> Tensor:
        with torch.no_grad():
            parts = [scores.score(part) for part in codes.split(scores.chunk)]
        return torch.cat(parts)

    problem = Problem("max", fitness, solution_length=trained.settings.latent, initial_bounds=(-2, 2), vectorized=True)
    operators = [OnePointCrossOver(problem, tournament_size=4), GaussianMutation(problem, stdev=0.1)]
    search = GeneticAlgorithm(problem, operators=operators, popsize=999, re_evaluate=False)
    search.step()
    return {"EvoTorch, genetic": search.step}


def archives(trained: TrainedModel, seconds: float = 60.0) -> None:
    """Cells filled, and the sum of their scores above the least of both, after the same CPU time."""
    columns = shards.columns(trained.dataset.name, trained.store, list(trained.model.observables))
    observed = {key: pd.Series(values) for key, values in columns.items()}
    settings = ArchiveSettings().over(observed)
    ours = settings.start(trained.settings.latent, 0)
    scores = scorer(trained, "correlation_max", settings)
    started = time.process_time()
    while time.process_time() - started < seconds:
        advance(ours, scores.evaluate)
    print(
        f"archive of {settings.cells} x {settings.cells} cells of {settings.axes}, correlation_max, {seconds:.0f} CPU s"
    )
    report("orch, lines and gradients", ours.values[:, 0])
    try:
        report("pyribs, isotropic and lines", ribs_archive(trained, ours, seconds))
    except ImportError as error:
        print(f"without pyribs: {error}")


def report(name: str, scores: np.ndarray) -> None:
    print(f"{name:34s} {len(scores):5d} cells, sum of (score + 1) {float((scores + 1).clip(0).sum()):.1f}")


def ribs_archive(trained: TrainedModel, ours: Archive, seconds: float) -> np.ndarray:
    from ribs.archives import GridArchive
    from ribs.emitters import IsoLineEmitter
    from ribs.schedulers import Scheduler

    settings = ours.settings
    dims, d = [settings.cells] * 2, trained.settings.latent
    archive = GridArchive(solution_dim=d, dims=dims, ranges=list(settings.bounds or ()), seed=0)
    emitter = IsoLineEmitter(
        archive,
        iso_sigma=settings.isotropic,
        line_sigma=settings.line,
        batch_size=settings.population,
        initial_solutions=prior(settings.population, d, 0),
        seed=0,
    )
    scheduler = Scheduler(archive, [emitter])
    scores = scorer(trained, "correlation_max", settings)
    scores.gradient = False
    started = time.process_time()
    while time.process_time() - started < seconds:
        values, _ = scores.evaluate(scheduler.ask().astype(np.float32))
        scheduler.tell(values[:, 0], values[:, 1:])
    return np.asarray(archive.data("objective"))


def million(trained: TrainedModel, codes: int = 10**6) -> None:
    settings = GeneticSettings(population=codes)
    search, scores = settings.start(trained.settings.latent, 0), scorer(trained, "mz_max", settings)
    started = cpu(lambda: advance(search, scores.evaluate))
    offspring = cpu(search.ask)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"a generation of {codes:,} codes: {started:.0f} CPU s, its offspring {offspring:.1f} s; peak {peak:.2f} GiB")


def race(trained: TrainedModel, seeds: int, generations: int) -> None:
    for name, pressure in RACES.items():
        goal, spent = published(trained, name, pressure, generations)
        print(f"{name}: genetic, {generations} generations, {spent:.0f} CPU s, ends at {goal:.5g}", flush=True)
        times = [reached(trained, name, goal, seed, spent) for seed in range(seeds)]
        sooner = spent / statistics.median(times)
        found = ", ".join(f"{seconds:.1f}" for seconds in times)
        print(f"{name}: memetic reaches it after {found} CPU s; median {sooner:.0f} times sooner", flush=True)


def published(trained: TrainedModel, name: str, pressure: float, generations: int) -> tuple[float, float]:
    """The last value of the algorithm of 2022, and its CPU seconds."""
    settings = GeneticSettings(pressure=pressure)
    search, scores = settings.start(trained.settings.latent, 0), scorer(trained, name, settings)
    spent = cpu(lambda: [advance(search, scores.evaluate) for _ in range(generations)])
    return float(search.result().scores[0]), spent


def reached(trained: TrainedModel, name: str, goal: float, seed: int, most: float) -> float:
    """CPU seconds until the default is at the goal, at most ``most``."""
    settings = MemeticSettings()
    search, scores, started = settings.start(trained.settings.latent, seed), scorer(trained, name, settings), None
    started = time.process_time()
    while time.process_time() - started < most:
        advance(search, scores.evaluate)
        if search.result().scores[0] >= goal:
            break
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--store", default="store")
    parser.add_argument("--part", choices=["speed", "million", "race"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--generations", type=int, default=10_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    trained = TrainedModel(options.model, Store(options.store))
    parts = {
        "speed": lambda: speed(trained),
        "million": lambda: million(trained),
        "race": lambda: race(trained, options.seeds, options.generations),
    }
    for name, part in parts.items():
        if options.part in (None, name):
            part()


if __name__ == "__main__":
    main()
