"""Samples of trained models, and the figures by which the papers judge them, in parallel on Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nets.conditional import accuracies, averages, curve_accuracies, grouped, mean_curves
from nets.metrics import NEIGHBOURS, Measured, judge, summarised
from nets.sampling import ddls, decode, noise_of, prior
from nets.system import Labels
from orchestrator.analysis import artifact
from orchestrator.cluster import Pool, connect
from orchestrator.console import log, on_interrupt, progress
from orchestrator.data import shards
from orchestrator.errors import RequestError
from orchestrator.evaluation.page import conditional_sections, evaluation_sections
from orchestrator.evaluation.request import SampleConfig
from orchestrator.page import Section
from orchestrator.store import Store
from orchestrator.training.selection import alike
from orchestrator.training.trained import TrainedModel

BLOCK = 256  # samples made, and measured, together
MODEL, DATA = "model", "data"


def blocks(config: SampleConfig) -> range:
    return range(-(-config.n // BLOCK))


def block(config: SampleConfig, trained: TrainedModel, number: int) -> Tensor:
    """Spins of the ``number``-th block of samples, the same whoever makes it."""
    rows = slice(number * BLOCK, (number + 1) * BLOCK)
    codes = torch.from_numpy(prior(config.n, trained.settings.latent, config.seed))[rows]
    labels = _rows(trained.labels(config.n), rows)
    if config.steps:
        noise = noise_of(config.seed, number) if config.langevin else None
        codes = ddls(trained.decoder, trained.discriminator, codes, config.steps, config.step_size, noise, labels)
    return decode(trained.decoder, codes, labels)


def _rows(labels: Labels, rows: slice) -> dict[str, Tensor]:
    return {name: values[rows] for name, values in labels.items()}


def sample(config: SampleConfig, name: str, store: Store) -> Tensor:
    """Spins ``(n, components, L, L)``: from the prior, then refined by the discriminator for ``steps`` steps."""
    connect()
    pieces = [Piece(name, config, number) for number in blocks(config)]
    parts = _on_actors(f"samples of {name}", sampler, store, pieces)
    return torch.from_numpy(np.concatenate(parts))


class Piece(NamedTuple):
    """A block of configurations.

    Attributes:
        model: that makes them, or whose data or baselines they are.
        source: MODEL, DATA, or the name of a baseline.
    """

    model: str
    config: SampleConfig
    number: int
    source: str = MODEL

    def spins(self, trained: TrainedModel) -> Tensor:
        """Of the block; of the data the last ``n`` configurations, which training has not seen up to its validation."""
        if self.source == MODEL:
            return block(self.config, trained, self.number)
        rows = slice(self.number * BLOCK, min(self.config.n, (self.number + 1) * BLOCK))
        if self.source == DATA:
            data = shards.read(trained.dataset.name, trained.store)
            return data[np.arange(rows.start, rows.stop) - self.config.n + len(data)]
        labels = _rows(trained.labels(self.config.n), rows)
        return trained.model.baselines(labels, self.config.seed + self.number)[self.source]


def sampler(store: Store) -> Callable[[Piece], np.ndarray]:
    """Spins of blocks, by models that are loaded once."""
    load = cache(lambda name: TrainedModel(name, store))
    return lambda piece: piece.spins(load(piece.model)).numpy()


def measurer(store: Store) -> Callable[[Piece], Measured]:
    """Figures of blocks, by models that are loaded once."""
    load = cache(lambda name: TrainedModel(name, store))
    curved = cache(lambda name, n: grouped(load(name).labels(n, every=True)).curved)

    def measured(piece: Piece) -> Measured:
        trained, n = load(piece.model), piece.config.n
        spins = piece.spins(trained)
        rows = slice(piece.number * BLOCK, (piece.number + 1) * BLOCK)
        checks = trained.settings.label_checks(spins, _rows(trained.labels(n), rows))
        return Measured.of(
            spins, trained.model, checks, curved(piece.model, n)[rows] if trained.settings.labels else None
        )

    return measured


def _on_actors(what: str, make: Callable[..., Any], store: Store, pieces: list[Piece]) -> list[Any]:
    """What the function that ``make`` makes of the store says of each block."""
    parts: dict[int, Any] = {}
    with progress() as bar, Pool(what, make, (store,), len(pieces)) as pool:
        task = bar.add_task("blocks", total=len(pieces), note="")
        for number, part in pool.map(pieces):
            parts[number] = part
            bar.update(task, advance=1, note=pieces[number].model)
    return [parts[number] for number in sorted(parts)]


def check(config: SampleConfig, names: Sequence[str], store: Store) -> list[TrainedModel]:
    """The models of a request that makes sense; else RequestError: too few samples, or different data sets."""
    if config.n < 2 * NEIGHBOURS + 2:
        raise RequestError(f"n: expected at least {2 * NEIGHBOURS + 2} samples to judge by, found {config.n}")
    return alike(names, store)


def _ways(config: SampleConfig, models: list[TrainedModel]) -> list[tuple[TrainedModel, SampleConfig]]:
    """Each model from the prior, and refined as well where there are steps and a discriminator."""
    return [
        (trained, config.model_copy(update={"steps": steps}))
        for trained in models
        for steps in ([0, config.steps] if config.steps and trained.settings.discriminator else [0])
    ]


def evaluate(config: SampleConfig, names: Sequence[str], store: Store) -> tuple[str, dict[str, Any]]:
    """Name and card of an analysis of ``n`` samples of each model, from the prior and, with ``steps``, refined as well.

    Source: VAE-GAN hybrid (2023), figure 2e.

    Raises:
        RequestError: too few samples, or models of different data sets.
    """
    models = check(config, names, store)
    return artifact.run("evaluate", config, names, store, lambda: _judged(config, models, store))


def _judged(config: SampleConfig, models: list[TrainedModel], store: Store) -> artifact.Found:
    first, ways = models[0], _ways(config, models)
    there = config.model_copy(update={"n": min(config.n, first.dataset.configurations)})
    n = there.n if first.settings.labels else config.n  # the labels of each configuration are asked for once
    connect()
    baselines = first.baselines
    sources = [Piece(first.name, there, 0, name) for name in (DATA, *baselines)]
    sources += [Piece(trained.name, way.model_copy(update={"n": n}), 0) for trained, way in ways]
    pieces = [source._replace(number=i) for source in sources for i in blocks(source.config)]
    log(f"{n} samples of each of {len(models)} models, {len(pieces)} blocks")
    with on_interrupt(lambda: "nothing of this evaluation"):
        parts = iter(_on_actors("evaluation", measurer, store, pieces))
        found = [Measured.joined([next(parts) for _ in blocks(source.config)]) for source in sources]
    real, made = found[0], found[1 + len(baselines) :]
    rows = [
        {"model": trained.name, "system": trained.settings.label, "steps": way.steps, **judge(part, real, first.model)}
        for (trained, way), part in zip(ways, made, strict=True)
    ]
    table = pd.DataFrame(rows)
    summary = summarised(table, first.model)
    sections = evaluation_sections(table, summary, first.model)
    figures = {"data_energy": float(table["data_energy"].iloc[0]), "rows": rows, "summary": summary.to_dict("records")}
    if first.settings.labels:
        names = ["data", *baselines, *(f"{trained.name} {way.steps or ''}".strip() for trained, way in ways)]
        beside = compared(dict(zip(names, found, strict=True)), first.labels(n, every=True), first)
        figures |= beside.figures
        sections = [*beside.sections, *sections]
    return artifact.Found(figures, table, sections)


class Compared(NamedTuple):
    """A conditional system beside its data: figures for the card and sections for the page."""

    figures: dict[str, Any]
    sections: list[Section]


def compared(found: dict[str, Measured], labels: Labels, trained: TrainedModel) -> Compared:
    """Every ensemble beside the data, which are the first, group by group of equal labels.

    Source: XY reconstruction (2024), figures 4 and 5.
    """
    model, L = trained.model, trained.settings.L
    groups = grouped(labels)
    N = int(model.sites(L).sum())
    tables = {name: averages(part.columns, groups, model, N) for name, part in found.items()}
    curves = {name: mean_curves(part.curves, groups.member[groups.curved]) for name, part in found.items()}
    scores = {name: accuracies(tables["data"], table) for name, table in tables.items() if name != "data"}
    shapes = {name: curve_accuracies(curves["data"], part, model, L) for name, part in curves.items() if name != "data"}
    figures = {
        "accuracy": {name: score.to_dict("records") for name, score in scores.items()},
        "curve_accuracy": shapes,
        "groups": groups.labels.to_dict("records"),
        "averages": {name: table.to_dict("records") for name, table in tables.items()},
    }
    return Compared(figures, conditional_sections(tables, curves, scores, shapes, groups, model, L))
