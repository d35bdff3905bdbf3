"""Samples of trained models, and the figures by which the papers judge them, in parallel on Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nets.metrics import NEIGHBOURS, Measured, judge, summarised
from nets.sampling import ddls, decode, noise_of, prior
from orchestrator.analysis import artifact
from orchestrator.cluster import Pool, connect
from orchestrator.console import log, on_interrupt, progress
from orchestrator.data import shards
from orchestrator.data.request import DatasetConfig
from orchestrator.errors import RequestError
from orchestrator.evaluation.page import evaluation_sections
from orchestrator.evaluation.request import SampleConfig
from orchestrator.store import Store
from orchestrator.training.trained import TrainedModel

BLOCK = 256  # samples made, and measured, together


def blocks(config: SampleConfig) -> range:
    return range(-(-config.n // BLOCK))


def block(config: SampleConfig, trained: TrainedModel, number: int) -> Tensor:
    """Spins of the ``number``-th block of samples, the same whoever makes it."""
    rows = slice(number * BLOCK, (number + 1) * BLOCK)
    codes = torch.from_numpy(prior(config.n, trained.settings.latent, config.seed))[rows]
    labels = {name: values[rows] for name, values in trained.labels(config.n).items()}
    if config.steps:
        noise = noise_of(config.seed, number) if config.langevin else None
        codes = ddls(trained.decoder, trained.discriminator, codes, config.steps, config.step_size, noise, labels)
    return decode(trained.decoder, codes, labels)


def sample(config: SampleConfig, name: str, store: Store) -> Tensor:
    """Spins ``(n, components, L, L)``: from the prior, then refined by the discriminator for ``steps`` steps."""
    connect()
    pieces = [(name, config, number) for number in blocks(config)]
    parts = _on_actors(f"samples of {name}", sampler, store, pieces)
    return torch.from_numpy(np.concatenate(parts))


Block = tuple[str, SampleConfig, int]
"""Which model, how it is sampled, and the number of a block of samples."""


def sampler(store: Store) -> Callable[[Block], np.ndarray]:
    """Spins of blocks, by models that are loaded once."""
    load = cache(lambda name: TrainedModel(name, store))
    return lambda piece: block(piece[1], load(piece[0]), piece[2]).numpy()


def measurer(store: Store) -> Callable[[Block], Measured]:
    """Figures of blocks, by models that are loaded once."""
    load, spins = cache(lambda name: TrainedModel(name, store)), sampler(store)
    return lambda piece: Measured.of(torch.from_numpy(spins(piece)), load(piece[0]).model)


def _on_actors(what: str, make: Callable[..., Any], store: Store, pieces: list[Block]) -> list[Any]:
    """What the function that ``make`` makes of the store says of each block."""
    parts: dict[int, Any] = {}
    with progress() as bar, Pool(what, make, (store,), len(pieces)) as pool:
        task = bar.add_task("blocks", total=len(pieces), note="")
        for number, part in pool.map(pieces):
            parts[number] = part
            bar.update(task, advance=1, note=pieces[number][0])
    return [parts[number] for number in sorted(parts)]


def _data(config: SampleConfig, dataset: DatasetConfig, store: Store) -> Measured:
    """The last ``n`` configurations, which training has seen but for its validation share."""
    rows = torch.arange(dataset.configurations)[-config.n :]
    spins = shards.read(dataset.name, store)
    return Measured.joined([Measured.of(spins[part], dataset.hamiltonian) for part in rows.split(BLOCK)])


def check(config: SampleConfig, names: Sequence[str], store: Store) -> list[TrainedModel]:
    """The models of a request that makes sense; else RequestError: too few samples, or different data sets."""
    if config.n < 2 * NEIGHBOURS + 2:
        raise RequestError(f"n: expected at least {2 * NEIGHBOURS + 2} samples to judge by, found {config.n}")
    models = [TrainedModel(name, store) for name in names]
    for trained in models:
        if trained.dataset != models[0].dataset:
            raise RequestError(
                f"{trained.name}: expected a model of the data set {models[0].dataset.name} as {names[0]} is"
            )
    return models


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
    ways = _ways(config, models)
    connect()
    log(f"{config.n} samples of each of {len(models)} models, {len(ways) * len(blocks(config))} blocks")
    pieces = [(trained.name, way, i) for trained, way in ways for i in blocks(config)]
    with on_interrupt(lambda: "nothing of this evaluation"):
        parts = iter(_on_actors("evaluation", measurer, store, pieces))
        model = models[0].model
        real = _data(config, models[0].dataset, store)
        rows = []
        for trained, way in ways:
            figures = judge(Measured.joined([next(parts) for _ in blocks(config)]), real, model)
            label = {"model": trained.name, "system": trained.settings.label, "steps": way.steps}
            rows.append({**label, **figures})
    table = pd.DataFrame(rows)
    summary = summarised(table, model)
    sections = evaluation_sections(table, summary, model)
    found = {"data_energy": float(table["data_energy"].iloc[0]), "rows": rows, "summary": summary.to_dict("records")}
    return artifact.Found(found, table, sections)
