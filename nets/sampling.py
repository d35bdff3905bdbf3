"""Drawing configurations from a trained decoder: from the prior, and led by a discriminator."""

from __future__ import annotations

from collections.abc import Callable
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


def lead(
    decoder: Decoder,
    discriminator: Callable[[Tensor], Tensor],
    codes: np.ndarray | Tensor,
    steps: int,
    step_size: float,
    langevin: torch.Generator | None = None,
    chunk: int = 2 * CHUNK,
) -> Tensor:
    """Discriminator-driven latent sampling: codes ``(n, latent_dim)`` moved to where D(G(z)) is higher.

    Without ``langevin`` it is gradient ascent, z <- z + step_size grad logit D(G(z)), as in the 2023 paper (the logit
    has D's maxima, and a gradient where D saturates).  With it, Langevin dynamics on E(z) = -ln p_0(z) - logit D(G(z))
    (Che et al., 2020): z <- z - step_size/2 grad E + sqrt(step_size) N(0, 1).

    Args:
        discriminator: spins ``(B, 3, L, L)`` to logits ``(B,)``.
        langevin: the noise's generator.
    """
    led = []
    for part in torch.as_tensor(codes).split(chunk):
        z = part.detach().clone()
        for _ in range(steps):
            z.requires_grad_(True)
            (slope,) = torch.autograd.grad(discriminator(decoder.decode(z)).sum(), z)
            z = z.detach()
            if langevin is None:
                z = z + step_size * slope
            else:
                noise = torch.randn(z.shape, generator=langevin, device=z.device)
                z = z + 0.5 * step_size * (slope - z) + step_size**0.5 * noise
        led.append(z)
    return torch.cat(led)
