"""Searches side by side: each objective with each seed an optimum of its own, and one page of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import ray

from orchestrator.analysis import artifact
from orchestrator.analysis.artifact import Found
from orchestrator.cluster import Pool, connect
from orchestrator.console import counted, log, on_interrupt
from orchestrator.errors import FailedError
from orchestrator.files import in_a_line
from orchestrator.lease import Lease
from orchestrator.optimization import run as searching
from orchestrator.optimization.request import OptimizeConfig, SearchesConfig
from orchestrator.page import Section, spread
from orchestrator.store import Store
from orchestrator.training.trained import TrainedModel, winner
from physics.render import strips_figure
from search.scoring import PIECES, SITES

KIND = "searches"
FIGURES = ("score", "rested_score", "energy", "rested_energy", "moved", "nearest_data")  # of each winner, on the page
STATES = {"found": "spins", "at rest": "rested_spins"}
WINNERS = (
    "The winner of each search, a row an objective and a column a seed; below it the same state at rest, after its "
    "descent at T = 0. A winner that one can believe stays what it is."
)
FOUND = (
    "Mean and standard deviation over the seeds: score, score at rest, how far the state moved to rest and how far it "
    "lies from the nearest held-out state, as means of (S - S')^2 / 4."
)
EACH = "A row a search. Each has a page of its own among the optima, with its rivals, its way and the data beside it."


def name_in(config: SearchesConfig, model: str) -> str:
    return artifact.analysis_name(KIND, config, [model])


def plan(config: SearchesConfig, model: str) -> list[str]:
    """What would be searched, line by line."""
    each = [f"{' '.join(searching.outline(one))}, seed {one.seed}: optima/{one.name_in(model)}" for one in config.each]
    return [f"model {model}", *each, f"result: analyses/{name_in(config, model)}"]


def run(
    config: SearchesConfig, model: str, store: Store, actors: int | None = None, gpu: bool = False
) -> tuple[str, dict[str, Any]]:
    """Name and card of the page of all searches; those that the store does not hold are made."""
    trained = TrainedModel(model, store)

    def analyse(held: Lease) -> Found:
        held.needs(*(f"optima/{one.name_in(model)}" for one in config.each))
        return _found(config, trained, _searched(config.each, trained, held, actors, gpu))

    return artifact.run(KIND, config, [model], store, trained.model, analyse, command=f"orch optimize --model {model}")


def _searcher(model: str, store: Store, actors: int | None, gpu: bool) -> Callable[[OptimizeConfig], tuple[str, str]]:
    """A search to its name, and why it failed if it did."""

    def search(config: OptimizeConfig) -> tuple[str, str]:
        try:
            return searching.run(config, model, store, actors, gpu)[0], ""
        except Exception as error:  # the others go on
            return config.name_in(model), f"{type(error).__name__}: {in_a_line(error)}"

    return search


def _searched(
    configs: Sequence[OptimizeConfig], trained: TrainedModel, held: Lease, actors: int | None, gpu: bool
) -> list[str]:
    """Names of the optima, in order.

    Small searches are done each in a process of its own.  The process of a large one takes no CPU, and its actors wait
    for theirs in Ray's queue.

    Raises:
        FailedError: some failed; the others are in the store.
    """
    connect()
    most = min(len(configs), actors or max(1, int(ray.cluster_resources().get("CPU", 1))))
    large = gpu or configs[0].optimizer.population * trained.settings.L**2 > PIECES * SITES
    of_each = (max(1, actors // most) if actors else None) if large else 0
    arguments = trained.name, trained.store, of_each, gpu
    names, failed, kept = [""] * len(configs), [], 0
    with (
        Pool(KIND, _searcher, arguments, len(configs), most, cpus=0 if large else 1) as pool,
        on_interrupt(lambda: f"{kept} of {len(configs)} searches, and checkpoints of others"),
        counted("searches", held.report, total=len(configs)) as show,
    ):
        for number, (name, failure) in pool.map(configs):
            names[number], kept = name, kept + (not failure)
            failed += [f"optima/{name}: {failure}"] if failure else []
            show(kept + len(failed), len(configs), failure or name)
    if failed:
        for line in failed:
            log(line)
        raise FailedError(f"{len(failed)} of {len(configs)} searches failed; kept: {kept}; {failed[0]}")
    return names


def _found(config: SearchesConfig, trained: TrainedModel, names: Sequence[str]) -> Found:
    """A row a search with the figures of its winner, and their pictures."""
    rows, pictures = [], []
    for one, name in zip(config.each, names, strict=True):
        card = trained.store.card("optima", name) or {}
        rows.append({"objective": one.objective.name, "seed": one.seed, "optimum": name, **card.get("figures", {})})
        pictures.append(winner(name, trained.store))
    table = pd.DataFrame(rows)
    shown = [key for key in FIGURES if key in table]
    groups = table.groupby("objective", sort=False)
    means = pd.DataFrame([{"objective": name, **{key: spread(group[key]) for key in shown}} for name, group in groups])
    figures = {f"{name}_{key}": float(group[key].mean()) for name, group in groups for key in shown[:2]}
    each = table[["objective", "seed", *shown, "optimum"]]
    sections = [
        Section("The winners", WINNERS, _strips(table, pictures, trained), "winners.png", cover=True),
        Section("What was found", FOUND, rows=means),
        Section("Every search", EACH, rows=each),
    ]
    return Found(figures, table, sections, parents=[f"optima/{name}" for name in names])


def _strips(table: pd.DataFrame, pictures: Sequence[dict[str, np.ndarray]], trained: TrainedModel) -> Any:
    rows = []
    for name, group in table.groupby("objective", sort=False):
        shown = [pictures[number] for number in group.index]
        there = [(words, key) for words, key in STATES.items() if key in shown[0]]
        rows += [(f"{name}\n{words}", np.stack([picture[key] for picture in shown])) for words, key in there]
    return strips_figure(rows, trained.model)
