"""States and codes that a person names: an artifact's, a file's, or drawn from the prior."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nets.sampling import prior
from orchestrator.analysis.request import Inversion
from orchestrator.console import Report, counted
from orchestrator.data import interchange
from orchestrator.errors import RequestError
from orchestrator.store import Store
from orchestrator.training.trained import TrainedModel, winner
from physics.states import OVF, read_states
from search.latent import invert


def state(text: str, store: Store) -> Tensor:
    """Spins ``(components, L, L)`` of an artifact of the store or of an .ovf or .npy file; ``:ROW`` picks a row.

    Raises:
        RequestError: there is no such artifact, file or row.
    """
    origin, colon, digits = text.rpartition(":")
    origin, row = (origin, int(digits)) if colon and _is_number(digits) else (text, 0)
    if Path(origin).suffix.lower() in (*OVF, ".npy"):
        try:
            spins = read_states(Path(origin))[row : row + 1]
        except ValueError as error:
            raise RequestError(str(error)) from None
    else:
        kind, name, _ = store.find(origin, "datasets", "models", "optima")
        spins = interchange.states(kind, name, store, slice(row, row + 1))
    if not len(spins):
        raise RequestError(f"{text}: has no row {row}")
    return torch.from_numpy(np.ascontiguousarray(spins[0], np.float32))


def _is_number(digits: str) -> bool:
    return digits.isdecimal() and len(digits) < 10


def code_of(text: str, how: Inversion, trained: TrainedModel, report: Report | None = None) -> tuple[Tensor, float]:
    """The code ``(d,)`` of a state: drawn with "prior:SEED", an optimum's own if found in this model, else inverted.

    Beside it the reconstruction loss that the inverse mapping leaves, NaN where there was none.

    Raises:
        RequestError: there is no such state, or it is of another lattice than the model's.
    """
    store = trained.store
    origin, colon, seed = text.partition(":")
    if origin == "prior":
        if not _is_number(seed):
            raise RequestError(f"{text}: expected prior:SEED, such as prior:7")
        return torch.from_numpy(prior(1, trained.settings.latent, int(seed)))[0], math.nan
    if not colon and not Path(text).suffix and text not in trained.model.known_states(trained.settings.L):
        kind, name, card = store.find(text, "datasets", "models", "optima")
        if kind == "optima" and f"models/{trained.name}" in card["parents"]:
            return torch.from_numpy(winner(name, store)["code"]), math.nan
    code, losses, _ = inverted(text, how, trained, report)
    return code, losses[-1].item()


def _target(text: str, trained: TrainedModel) -> Tensor:
    """A state that is known of the spin model, such as "lattice", else :func:`state`."""
    known = trained.model.known_states(trained.settings.L)
    if text not in known:
        return state(text, trained.store)
    try:
        return torch.from_numpy(known[text]())
    except ValueError as error:
        raise RequestError(str(error)) from None


def inverted(text: str, how: Inversion, trained: TrainedModel, report: Report | None) -> tuple[Tensor, Tensor, Tensor]:
    """Code, losses and target of a state, from the prior and, where the model has an encoder, from its mean."""
    target = _target(text, trained)
    starts = torch.from_numpy(prior(how.starts, trained.settings.latent, how.seed))
    try:
        target = trained.model.on_sites(target)
        if trained.settings.encoder and target.shape[-1] == trained.settings.L:
            with torch.no_grad():
                starts[0] = trained.encoder.encode(target[None])[0][0]
        with counted("iterations", report, name=f"code of {text}") as show:
            labels = trained.labels(1)
            code, losses = invert(trained.decoder, target, starts, how.iterations, how.learning_rate, labels, show)
    except ValueError as error:
        raise RequestError(f"{text}: {error}") from None
    return code, losses / trained.model.filling(target.shape[-1]), target
