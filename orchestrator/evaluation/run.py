"""Samples of trained models, and the figures by which the papers judge them, in parallel on Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nets.conditional import FEWEST as FEWEST_ALIKE
from nets.conditional import Groups, accuracies, among, averages, comparable, curve_accuracies, grouped, mean_curves
from nets.metrics import HELD_OUT, NEIGHBOURS, NOISY, Measured, features, joined, judge, noisy, summarised
from nets.sampling import CHUNK, ddls, decode, noise_of, prior
from nets.system import Labels
from orchestrator.analysis import artifact
from orchestrator.cluster import Pool, connect
from orchestrator.console import Report, counted, log, on_interrupt
from orchestrator.data import shards
from orchestrator.errors import RequestError
from orchestrator.evaluation.page import conditional_sections, evaluation_sections
from orchestrator.evaluation.request import SampleConfig
from orchestrator.lease import Lease
from orchestrator.page import Section
from orchestrator.store import Store
from orchestrator.training.selection import alike
from orchestrator.training.trained import TrainedModel

BLOCK = 256  # samples made, and measured, together
FEWEST = 2 * NEIGHBOURS + 2  # configurations of an ensemble to judge by
TRAINED = 10_000  # training configurations, at most, that samples may turn out to be copies of
MODEL, REFERENCE, TRAINING = "model", "data", "training data"


def blocks(config: SampleConfig) -> range:
    return range(-(-config.n // BLOCK))


def block(config: SampleConfig, trained: TrainedModel, number: int) -> Tensor:
    """Spins of the ``number``-th block of samples, the same whoever makes it, where the model is."""
    rows = slice(number * BLOCK, (number + 1) * BLOCK)
    codes = torch.from_numpy(prior(config.n, trained.settings.latent, config.seed))[rows].to(trained.device)
    labels = _rows(trained.labels(config.n), rows)
    chunk = CHUNK if trained.device == "cpu" else BLOCK
    if config.steps:
        noise = noise_of(config.seed, number) if config.langevin else None
        codes = ddls(
            trained.decoder, trained.discriminator, codes, config.steps, config.step_size, noise, labels, 2 * chunk
        )
    return decode(trained.decoder, codes, labels, chunk)


def _rows(labels: Labels, rows: slice) -> dict[str, Tensor]:
    return {name: values[rows] for name, values in labels.items()}


def sample(config: SampleConfig, name: str, store: Store, gpu: bool = False) -> Tensor:
    """Spins ``(n, components, L, L)``: from the prior, then refined by the discriminator for ``steps`` steps.

    Args:
        gpu: each actor takes a GPU; spins differ in their last digits.
    """
    connect()
    pieces = [Piece(name, config, number) for number in blocks(config)]
    parts = _on_actors(f"samples of {name}", sampler, store, pieces, gpu)
    return torch.from_numpy(np.concatenate(parts))


class Piece(NamedTuple):
    """A block of an ensemble of ``n`` configurations.

    Of the data the last ``n`` are the reference, the ``n`` before them what is held against it, and the first ``n`` are
    those that were trained on.

    Attributes:
        model: that makes them, or whose data or baselines they are.
        source: MODEL, REFERENCE, HELD_OUT, NOISY, TRAINING, or the name of a baseline.
    """

    model: str
    config: SampleConfig
    number: int
    source: str = MODEL

    @property
    def ensemble(self) -> np.ndarray:
        """Rows of the data that the whole ensemble is, or whose labels it has; negative ones from the end."""
        n = self.config.n
        return np.arange(n) + {TRAINING: 0, HELD_OUT: -2 * n, NOISY: -2 * n}.get(self.source, -n)

    @property
    def within(self) -> slice:
        """Of the ensemble, those of this block."""
        return slice(self.number * BLOCK, (self.number + 1) * BLOCK)

    def labels(self, trained: TrainedModel) -> Labels:
        return trained.labels_of(self.ensemble[self.within])

    def spins(self, trained: TrainedModel) -> Tensor:
        if self.source == MODEL:
            return block(self.config, trained, self.number).cpu()
        if self.source in (REFERENCE, HELD_OUT, NOISY, TRAINING):
            spins = shards.read(trained.dataset.name, trained.store)[self.ensemble[self.within]]
            noise = noise_of(self.config.seed, self.number)
            return noisy(spins, trained.model, noise) if self.source == NOISY else spins
        return trained.model.baselines(self.labels(trained), self.config.seed + self.number)[self.source]


def sampler(store: Store, device: str = "cpu") -> Callable[[Piece], np.ndarray]:
    """Spins of blocks, by models that are loaded once."""
    load = cache(lambda name: TrainedModel(name, store, device))
    return lambda piece: piece.spins(load(piece.model)).numpy()


def measurer(store: Store, device: str = "cpu") -> Callable[[Piece], Measured | dict[str, Tensor]]:
    """Figures of blocks, of training data the features alone, by models that are loaded once.

    Args:
        device: that the models sample on; their samples are measured on the CPU, as the data are.
    """
    load = cache(lambda name: TrainedModel(name, store))
    there = cache(lambda name: TrainedModel(name, store, device))
    curved = cache(lambda whole: grouped(load(whole.model).labels_of(whole.ensemble, every=True)).curved)

    def measured(piece: Piece) -> Measured | dict[str, Tensor]:
        trained = load(piece.model)
        spins = piece.spins(there(piece.model) if piece.source == MODEL else trained)
        if piece.source == TRAINING:
            return features(spins, trained.model)
        checks = trained.settings.label_checks(spins, piece.labels(trained))
        drawn = curved(piece._replace(number=0))[piece.within] if trained.settings.labels else None
        return Measured.of(spins, trained.model, checks, drawn)

    return measured


def _on_actors(
    what: str, make: Callable[..., Any], store: Store, pieces: list[Piece], gpu: bool, report: Report | None = None
) -> list[Any]:
    """What the function that ``make`` makes of the store and a device says of each block."""
    parts: dict[int, Any] = {}
    arguments = store, "cuda" if gpu else "cpu"
    bar = counted("blocks", report, total=len(pieces))
    with bar as show, Pool(what, make, arguments, len(pieces), gpu=gpu) as pool:
        for number, part in pool.map(pieces):
            parts[number] = part
            show(len(parts), len(pieces), pieces[number].model)
    return [parts[number] for number in sorted(parts)]


def check(config: SampleConfig, names: Sequence[str], store: Store) -> list[TrainedModel]:
    """The models of a request that makes sense; else RequestError: too few samples or data, or different data sets."""
    if config.n < FEWEST:
        raise RequestError(f"n: expected at least {FEWEST} samples to judge by, found {config.n}")
    models = alike(names, store)
    for trained in models:
        if (there := held_out([trained])) < 2 * FEWEST:
            raise RequestError(
                f"{trained.name}: expected at least {2 * FEWEST} configurations held out to judge by, found {there}"
            )
    return models


def held_out(models: Sequence[TrainedModel]) -> int:
    """How many configurations, the last of the data, none of the models was trained on."""
    return models[0].dataset.configurations - max(trained.held_out.start for trained in models)


def _ways(config: SampleConfig, models: list[TrainedModel]) -> list[tuple[TrainedModel, SampleConfig]]:
    """Each model from the prior, and refined as well where there are steps and a discriminator."""
    return [
        (trained, config.model_copy(update={"steps": steps}))
        for trained in models
        for steps in ([0, config.steps] if config.steps and trained.settings.discriminator else [0])
    ]


def evaluate(config: SampleConfig, names: Sequence[str], store: Store, gpu: bool = False) -> tuple[str, dict[str, Any]]:
    """Name and card of an analysis of ``n`` samples of each model, from the prior and, with ``steps``, refined as well.

    Source: VAE-GAN hybrid (2023), figure 2e.

    Args:
        gpu: each actor takes a GPU, to sample on.

    Raises:
        RequestError: too few samples, or models of different data sets.
    """
    models = check(config, names, store)
    analyse = partial(_judged, config, models, store, gpu)
    return artifact.run("evaluate", config, names, store, models[0].model, analyse)


def _judged(config: SampleConfig, models: list[TrainedModel], store: Store, gpu: bool, held: Lease) -> artifact.Found:
    conditional = {trained.name: trained for trained in models if trained.settings.labels}
    first, ways = [*conditional.values(), *models][0], _ways(config, models)
    there = held_out(models)
    known = config.model_copy(update={"n": min(config.n, there // 2)})
    said = []
    if known.n < config.n:
        said = [
            f"{there} configurations are held out: {known.n} are the reference, distances are of {known.n} samples."
        ]
        log(said[0])
    ensembles = {name: Piece(first.name, known, 0, name) for name in (REFERENCE, HELD_OUT, NOISY, *first.baselines)}
    rows_of = {HELD_OUT: {"model": "", "system": HELD_OUT, "steps": 0}}
    for trained, way in ways:
        name = f"{trained.name} {way.steps or ''}".strip()
        n = known.n if trained.name in conditional else config.n  # the labels of each configuration are asked for once
        ensembles[name] = Piece(trained.name, way.model_copy(update={"n": n}), 0)
        rows_of[name] = {"model": trained.name, "system": trained.settings.label, "steps": way.steps}
    rows_of[NOISY] = {"model": "", "system": NOISY, "steps": 0}

    found, seen = _measured(ensembles, _training(config, models), store, gpu, held)
    real = found[REFERENCE]
    rows = [row | judge(found[name], real, seen, first.model) for name, row in rows_of.items()]
    table = pd.DataFrame(rows)
    summary = summarised(table, first.model)
    sections = evaluation_sections(table, summary, first.model, real, there)
    figures: dict[str, Any] = {"data_energy": float(table["data_energy"].iloc[0]), "reference": known.n}
    figures |= {"rows": rows, "summary": summary.to_dict("records")}
    of_labels = {name: part for name, part in found.items() if ensembles[name].model in conditional}
    groups = _groups(of_labels, known.n, first) if of_labels else {}
    if groups and comparable(groups.values()):
        beside = compared(of_labels, groups, first)
        figures |= beside.figures
        sections = [*beside.sections, *sections]
    elif groups:
        said.append(f"No group of equal labels has {FEWEST_ALIKE} configurations: groups are not compared.")
        log(said[-1])
    return artifact.Found(figures, table, sections, said=said)


def _training(config: SampleConfig, models: list[TrainedModel]) -> Piece:
    """Of what all of the models were trained on."""
    n = min(TRAINED, *(trained.held_out.start for trained in models))
    return Piece(models[0].name, config.model_copy(update={"n": n}), 0, TRAINING)


def _measured(
    ensembles: dict[str, Piece], training: Piece, store: Store, gpu: bool, held: Lease
) -> tuple[dict[str, Measured], dict[str, Tensor]]:
    """Figures of ensembles by name, and features of the training data."""
    connect()
    pieces = [whole._replace(number=i) for whole in (*ensembles.values(), training) for i in blocks(whole.config)]
    log(f"{len(ensembles)} ensembles beside the training data, {len(pieces)} blocks")
    with on_interrupt(lambda: "nothing of this evaluation"):
        parts = iter(_on_actors("evaluation", measurer, store, pieces, gpu, held.report))
        found = {
            name: Measured.joined([next(parts) for _ in blocks(whole.config)]) for name, whole in ensembles.items()
        }
        return found, joined(list(parts))


def _groups(names: Iterable[str], n: int, trained: TrainedModel) -> dict[str, Groups]:
    """The groups of equal labels among each ensemble, which are numbered alike."""
    groups = grouped(trained.labels_of(np.arange(-2 * n, 0), every=True))
    earlier, last = among(groups, slice(n)), among(groups, slice(n, None))
    return {name: earlier if name in (HELD_OUT, NOISY) else last for name in names}


class Compared(NamedTuple):
    """A conditional system beside its data: figures for the card and sections for the page."""

    figures: dict[str, Any]
    sections: list[Section]


def compared(found: dict[str, Measured], groups: dict[str, Groups], trained: TrainedModel) -> Compared:
    """Every ensemble beside the data, which are the first, group by group of equal labels.

    Source: XY reconstruction (2024), figures 4 and 5.
    """
    model, L = trained.model, trained.settings.L
    N, labels = int(model.sites(L).sum()), groups[REFERENCE]
    tables = {name: averages(part.columns, groups[name], model, N) for name, part in found.items()}
    curves = {name: mean_curves(part.curves, groups[name]) for name, part in found.items()}
    real, shape = tables[REFERENCE], curves[REFERENCE]
    scores = {name: accuracies(real, table) for name, table in tables.items() if name != REFERENCE}
    shapes = {name: curve_accuracies(shape, part, model, L) for name, part in curves.items() if name != REFERENCE}
    figures = {
        "accuracy": {name: score.to_dict("records") for name, score in scores.items()},
        "curve_accuracy": shapes,
        "groups": labels.labels.to_dict("records"),
        "averages": {name: table.to_dict("records") for name, table in tables.items()},
    }
    return Compared(figures, conditional_sections(tables, curves, scores, shapes, labels, model, L))
