"""Drawing configurations from a trained decoder."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

CHUNK = 16  # codes decoded together: on a CPU more fall out of its cache, and decode at half the rate


class Decoder(Protocol):
    """What a latent space is searched through: codes ``(B, latent_dim)`` to unit spins ``(B, 3, L, L)``."""

    latent_dim: int

    def decode(self, z: Tensor) -> Tensor: ...


def prior(count: int, latent_dim: int, seed: int) -> np.ndarray:
    """Codes ``(count, latent_dim)`` from the prior N(0, 1), float32."""
    return np.random.default_rng(seed).standard_normal((count, latent_dim), np.float32)


@torch.no_grad()
def decode(model: Decoder, codes: np.ndarray | Tensor, chunk: int = CHUNK) -> Tensor:
    """Spins ``(n, 3, L, L)`` of codes ``(n, latent_dim)``, ``chunk`` at a time."""
    return torch.cat([model.decode(part) for part in torch.as_tensor(codes).split(chunk)])
