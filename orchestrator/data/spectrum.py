"""The covariance spectrum of a data set, a small file beside its card: what the linear VAE is known from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nets.linear_vae import covariance_spectrum, critical_beta
from orchestrator.data import shards
from orchestrator.data.request import DatasetConfig
from orchestrator.errors import RequestError
from orchestrator.store import Store
from physics.symmetry import is_uniform

FILE = "spectrum.float32"
SITES = 2**24  # of the configurations that it is taken of: two seconds
BETA_C = (
    "Of the VAEs whose networks are linear the best is known from the covariance of the data. Above β_c, a weight of "
    "the KL divergence, it encodes nothing; networks that are not linear are expected to follow at about the same "
    "weight."
)


def measure(config: DatasetConfig, spins: shards.Spins) -> Tensor | None:
    """Eigenvalues of the covariance, float32 ``(components L^2,)``, the largest first, see :func:`covariance_spectrum`.

    Of the first configurations, all of them if they are few.  None where the sites are not all alike, as with a mask or
    open edges.
    """
    if not is_uniform(config.hamiltonian, config.L):
        return None
    return covariance_spectrum(spins[: max(100, SITES // config.L**2)]).float()


def figures(spectrum: Tensor | None) -> dict[str, float]:
    """What a card says of a spectrum, where there is one."""
    return {} if spectrum is None else {"beta_c": critical_beta(spectrum)}


def read(config: DatasetConfig, store: Store) -> Tensor | None:
    """The spectrum of a data set in the store, measured anew if it is not kept there.

    Raises:
        RequestError: the data set is missing or damaged.
    """
    try:
        content = store.read("datasets", config.name, FILE)
    except RequestError:  # made before there was such a file, or without it
        return measure(config, shards.read(config.name, store))
    return torch.from_numpy(np.frombuffer(content, np.float32).copy())
