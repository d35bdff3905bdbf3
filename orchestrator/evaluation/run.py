"""Samples of trained models, and the figures by which the papers judge them, in parallel on Ray."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import ray
import torch
from torch import Tensor

from nets.metrics import NEIGHBOURS, Measured, judge, summarised
from nets.sampling import ddls, decode, noise_of, prior
from orchestrator.analysis import artifact
from orchestrator.cluster import connect
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
    trained = TrainedModel(name, store)
    return torch.cat([block(config, trained, number) for number in blocks(config)])


@ray.remote(num_cpus=1, max_retries=-1)
def _measure_block(config: SampleConfig, name: str, store: Store, number: int) -> Measured:
    torch.set_num_threads(1)
    trained = TrainedModel(name, store)
    return Measured.of(block(config, trained, number), trained.model)


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
    analysis, card = artifact.found("evaluate", config, names, store)
    if card is not None:
        return analysis, card
    ways = _ways(config, models)
    connect()
    log(f"{config.n} samples of each of {len(names)} models, {len(ways) * len(blocks(config))} blocks")
    calls = [[_measure_block.remote(way, trained.name, store, i) for i in blocks(config)] for trained, way in ways]
    model = models[0].model
    real = _data(config, models[0].dataset, store)
    rows = []
    with on_interrupt(lambda: "nothing of this evaluation"), progress() as bar:
        task = bar.add_task("blocks", total=sum(map(len, calls)), note="")
        for (trained, way), waiting in zip(ways, calls, strict=True):
            parts = []
            for call in waiting:
                parts.append(ray.get(call))
                bar.update(task, advance=1, note=trained.name)
            figures = judge(Measured.joined(parts), real, model)
            rows.append({"model": trained.name, "system": trained.settings.label, "steps": way.steps, **figures})
    table = pd.DataFrame(rows)
    summary = summarised(table, model)
    sections = evaluation_sections(table, summary, model)
    found = {"data_energy": float(table["data_energy"].iloc[0]), "rows": rows, "summary": summary.to_dict("records")}
    return artifact.commit("evaluate", config, names, store, found, table, sections)
