"""Microscopic fields from vortices and a temperature, in parallel on Ray."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nets.metrics import measure
from nets.sampling import decode, prior
from orchestrator.analysis import artifact
from orchestrator.cluster import Pool, connect
from orchestrator.console import counted, log, on_interrupt
from orchestrator.errors import RequestError
from orchestrator.evaluation.request import ReconstructConfig
from orchestrator.lease import Lease
from orchestrator.page import Section, listed
from orchestrator.store import Store
from orchestrator.training.trained import TrainedModel
from physics import thermal
from physics.metropolis import PlanarReplicas
from physics.render import arrows_figure
from physics.vortices import TAU, charges, charges_at
from physics.xy import XY

BLOCK = 256  # fields made together
TRIES = 20  # codes for a field, until one has the charges
PICTURED = 8


def lattice(config: ReconstructConfig, trained: TrainedModel) -> int:
    """Sites along each edge."""
    return config.L or trained.settings.L


def check(config: ReconstructConfig, name: str, store: Store) -> TrainedModel:
    """The model of a request that makes sense, or RequestError."""
    trained = TrainedModel(name, store)
    if "charges" not in trained.settings.labels or not isinstance(trained.model, XY):
        raise RequestError(f"{name}: expected a model of XY fields that takes charges, as orch train --model xy makes")
    L = lattice(config, trained)
    try:
        trained.model.check(L)
        trained.decoder.codes(L)
    except ValueError as error:
        raise RequestError(str(error)) from None
    try:
        charges_at(config.charges, L)
    except ValueError as error:
        raise RequestError(f"charges: {error}") from None
    return trained


def fields(config: ReconstructConfig, trained: TrainedModel, number: int) -> tuple[np.ndarray, int]:
    """Spins of the ``number``-th block and how many codes they took, the same whoever makes them.

    A code whose field has other charges is drawn anew, at most 20 times.

    Raises:
        RequestError: a field never has the charges.
    """
    index = np.arange(number * BLOCK, min(config.n, (number + 1) * BLOCK))
    L = lattice(config, trained)
    asked = torch.from_numpy(charges_at(config.charges, L))
    spins = torch.empty(len(index), 2, L, L)
    missing, codes = torch.arange(len(index)), 0
    for attempt in range(TRIES):
        latent = trained.decoder.codes(L)
        drawn = np.concatenate([prior(1, latent, int(s)) for s in _seeds(config.seed, index[missing], attempt)])
        spins[missing] = decode(trained.decoder, drawn, _labels(asked, config.temperature, len(missing)))
        codes += len(missing)
        missing = missing[(charges(spins[missing]) != asked).flatten(1).any(1)]
        if not len(missing):
            break
    else:
        raise RequestError(
            f"{trained.name}: {len(missing)} of {len(index)} fields did not have the charges in {TRIES} tries; "
            "expected vortices farther apart, a lower temperature, or a model that was trained longer"
        )
    if not config.polish:
        return spins.numpy(), codes
    assert isinstance(trained.model, XY)
    generators = [np.random.default_rng([config.seed, 1, int(i)]) for i in index]
    chains = PlanarReplicas(trained.model, generators, spins.numpy(), held=True)
    chains.metropolis(np.full(len(index), config.temperature), config.polish, config.overrelaxation)
    return chains.spins(), codes


def _seeds(seed: int, index: np.ndarray, attempt: int) -> np.ndarray:
    return np.array([np.random.SeedSequence([seed, int(i), attempt]).generate_state(1)[0] for i in index])


def _labels(asked: Tensor, temperature: float, count: int) -> dict[str, Tensor]:
    return {"charges": asked.expand(count, *asked.shape), "temperature": torch.full((count,), temperature)}


def maker(store: Store, name: str, config: ReconstructConfig) -> Callable[[int], tuple[np.ndarray, int]]:
    """Blocks of fields, by a model that is loaded once."""
    load = cache(lambda: TrainedModel(name, store))
    return lambda number: fields(config, load(), number)


def run(config: ReconstructConfig, name: str, store: Store) -> tuple[str, dict[str, Any]]:
    """Name and card of an analysis with the fields, their statistics and pictures, made unless it is in the store."""
    trained = check(config, name, store)
    analyse = partial(_reconstructed, config, trained, store)
    return artifact.run("reconstruct", config, [name], store, trained.model, analyse)


def _reconstructed(config: ReconstructConfig, trained: TrainedModel, store: Store, held: Lease) -> artifact.Found:
    trained_at = trained.temperatures
    said = []
    if not trained_at[0] <= config.temperature <= trained_at[-1]:
        temperatures = ", ".join(f"{T:g}" for T in trained_at)
        said = [f"The model was trained at temperatures of {temperatures} J, not at {config.temperature:g} J."]
        log(said[0])
    connect()
    blocks = list(range(-(-config.n // BLOCK)))
    parts: dict[int, tuple[np.ndarray, int]] = {}
    with (
        on_interrupt(lambda: "nothing of these fields"),
        counted("blocks", held.report, total=len(blocks)) as show,
        Pool("fields", maker, (store, trained.name, config), len(blocks)) as pool,
    ):
        for number, part in pool.map(blocks):
            parts[number] = part
            show(len(parts), len(blocks))
    spins = np.concatenate([parts[number][0] for number in blocks])
    codes = sum(parts[number][1] for number in blocks)
    return _found(config, trained.model, spins, codes)._replace(said=said)


def _found(config: ReconstructConfig, model: Any, spins: np.ndarray, codes: int) -> artifact.Found:
    columns = measure(torch.from_numpy(spins), model)
    arrays = {str(name): columns[name].to_numpy() for name in columns}
    estimates = thermal.estimates(arrays, model.responses, config.temperature, spins[0, 0].size)
    figures = {name: estimate.value for name, estimate in estimates.items()}
    figures |= {f"{name}_error": estimate.error for name, estimate in estimates.items()}
    figures["charges_kept"] = config.n / codes
    rows = {name: f"{value:z.5g} ± {error:.2g}" for name, (value, error) in estimates.items()}
    pictures = [f"field {i}" for i in range(min(PICTURED, config.n))]
    sections = [
        Section(
            "Fields",
            f"Each arrow is a spin, its colour its angle; rings are vortices, blue ones antivortices, where they were "
            f"asked for. L = {spins.shape[-1]}, T = {config.temperature:g} J, {config.polish} sweeps of polish.",
            arrows_figure(spins[:PICTURED], model, pictures),
            "fields.png",
            cover=True,
        ),
        Section(
            f"Statistics of {config.n} fields",
            f"Means with standard errors; of fluctuations such as the heat capacity by the jackknife. {codes} codes "
            "were decoded; those with other charges were drawn anew.",
            rows=listed(rows),
        ),
    ]
    buffer = io.BytesIO()
    np.save(buffer, spins)
    table = columns.assign(
        angles=list((np.arctan2(spins[:, 1], spins[:, 0]) % TAU).reshape(config.n, -1).astype(np.float32))
    )
    return artifact.Found(figures, table, sections, {"fields.npy": buffer.getvalue()})
