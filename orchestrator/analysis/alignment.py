"""Spins beside their effective fields, of data, reconstructed and generated states of one model or of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from nets.alignment import EDGES, Alignment, reconstructed
from nets.sampling import decode, noise_of, prior
from orchestrator.analysis.artifact import Found
from orchestrator.analysis.request import FieldConfig
from orchestrator.console import Report, counted
from orchestrator.data import shards
from orchestrator.page import Section
from orchestrator.training.selection import told_apart
from orchestrator.training.trained import TrainedModel
from physics.render import colors_text
from search.figures import Aligned, alignment_figure, angles_figure

BLOCK = 256  # configurations decoded and measured together
PICTURED = 2  # of each kind and model
INPUT, OUTPUT, GENERATED = "data", "reconstructed", "generated"


class Ensemble(NamedTuple):
    """Configurations of a kind: a block of them at a time, by its rows."""

    model: str
    kind: str
    spins: Callable[[slice], Tensor]


def field(config: FieldConfig, models: Sequence[TrainedModel], report: Report | None = None) -> Found:
    """Maps of S . h and distributions of the angle between spin and field, of data and of what each model makes.

    The data are the last configurations, which were not trained on as far as the validation goes.

    Source: E-VAE (2021), figures 1, 3 and S1.
    """
    first = models[0]
    n = min(config.n, first.dataset.configurations)
    labels = told_apart(models) if len(models) > 1 else [first.settings.label]
    ensembles = [*_ensembles(config, n, models, labels)]
    found: list[Alignment] = []
    with counted("configurations", report) as show:
        for ensemble in ensembles:
            blocks = [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]
            found.append(Alignment.joined([Alignment.of(ensemble.spins(rows), first.model) for rows in blocks]))
            show(len(found) * n, len(ensembles) * n)
    shown = [Aligned(e.model, e.kind, e.spins(slice(PICTURED))) for e in ensembles]
    densities = {(e.model, e.kind): part.density for e, part in zip(ensembles, found, strict=True)}
    rows = [{"model": e.model, "states": e.kind, **part.figures()} for e, part in zip(ensembles, found, strict=True)]
    sections = [
        Section(
            "States and how they lie along their fields",
            "Each state with the map of S · h beside it, h the direction of its effective field: bright where the spin "
            "lies along it, as everywhere in a state at rest. Above, data; below, a row a model: the same data "
            f"reconstructed, and states generated from the same codes. {colors_text(first.model)}",
            alignment_figure(shown, first.model),
            "states.png",
            cover=True,
        ),
        Section(
            f"Angles between spin and field of {n} states",
            "Share of the sites per degree of the angle between a spin and its field; in a state at rest it is 0 "
            "everywhere. Black: the data; a model whose curve lies to the right of it makes states that are less at "
            "rest.",
            angles_figure(densities, EDGES),
            "angles.png",
        ),
        Section(
            "Energies and angles",
            "Mean energy per spin, and the angles that half and 95 % of the sites are below, a row an ensemble. The "
            "first row is of the data, which generated states come near to where the model is good.",
            rows=pd.DataFrame(rows),
        ),
    ]
    figures = {"rows": rows, "data_energy": rows[0]["energy"], "data_median_angle": rows[0]["median_angle"]}
    return Found(figures, _table(densities), sections)


def _table(densities: dict[tuple[str, str], np.ndarray]) -> pd.DataFrame:
    """A row an ensemble and a bin of angles."""
    middles = 0.5 * (EDGES[1:] + EDGES[:-1])
    parts = [
        pd.DataFrame({"model": model, "states": kind, "angle": middles, "density": density})
        for (model, kind), density in densities.items()
    ]
    return pd.concat(parts, ignore_index=True)


def _ensembles(
    config: FieldConfig, n: int, models: Sequence[TrainedModel], labels: Sequence[str]
) -> Iterator[Ensemble]:
    """The data, and of each model what it reconstructs of them, where it encodes, and what it generates."""
    spins = shards.read(models[0].dataset.name, models[0].store)

    def data(rows: slice) -> Tensor:
        return spins[np.arange(*rows.indices(n)) - n + len(spins)]

    yield Ensemble("", INPUT, data)
    for trained, label in zip(models, labels, strict=True):
        codes = torch.from_numpy(prior(n, trained.settings.latent, config.seed))
        noise = torch.randn(codes.shape, generator=noise_of(config.seed, 1))
        if trained.settings.encoder:
            yield Ensemble(label, OUTPUT, _outputs(trained, data, noise))
        yield Ensemble(label, GENERATED, _samples(trained, codes))


def _outputs(trained: TrainedModel, data: Callable[[slice], Tensor], noise: Tensor) -> Callable[[slice], Tensor]:
    return lambda rows: reconstructed(trained.encoder, trained.decoder, data(rows), noise[rows])


def _samples(trained: TrainedModel, codes: Tensor) -> Callable[[slice], Tensor]:
    given = trained.labels(len(codes))
    return lambda rows: decode(trained.decoder, codes[rows], {name: values[rows] for name, values in given.items()})
