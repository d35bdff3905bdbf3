"""Drawing configurations from a trained decoder: from the prior, and by discriminator-driven latent sampling (DDLS)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from nets.system import Decoder, Labels, System

CHUNK = 16  # codes decoded together: on a CPU more fall out of its cache, and decode at half the rate


def prior(count: int, latent_dim: int, seed: int) -> np.ndarray:
    """Codes ``(count, latent_dim)`` from the prior N(0, 1), float32."""
    return np.random.default_rng(seed).standard_normal((count, latent_dim), np.float32)


def noise_of(*key: int) -> torch.Generator:
    """A generator of Langevin noise that depends on the key alone."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))


def split(codes: Tensor, labels: Labels | None, chunk: int) -> Iterator[tuple[Tensor, Labels]]:
    """Codes with their labels, ``chunk`` at a time."""
    for rows in torch.arange(len(codes)).split(chunk):
        yield codes[rows], {name: values[rows] for name, values in (labels or {}).items()}


def repeated(labels: Labels | None, count: int) -> Labels:
    """The labels of one configuration, ``(1, ...)``, for several codes."""
    return {name: values.expand(count, *values.shape[1:]) for name, values in (labels or {}).items()}


@torch.no_grad()
def decode(model: Decoder, codes: np.ndarray | Tensor, labels: Labels | None = None, chunk: int = CHUNK) -> Tensor:
    """Spins ``(n, components, L, L)`` of codes ``(n, latent_dim)`` and labels ``(n, ...)``, ``chunk`` at a time."""
    return torch.cat([model.decode(part, here) for part, here in split(torch.as_tensor(codes), labels, chunk)])


def ddls(
    decoder: Decoder,
    discriminator: Callable[[Tensor], Tensor],
    codes: np.ndarray | Tensor,
    steps: int,
    step_size: float,
    langevin: torch.Generator | None = None,
    labels: Labels | None = None,
    chunk: int = 2 * CHUNK,
) -> Tensor:
    """Discriminator-driven latent sampling: codes ``(n, latent_dim)`` refined to where D(G(z)) is higher.

    Without ``langevin`` it is gradient ascent, z <- z + step_size grad logit D(G(z)), as in the 2023 paper (the logit
    has D's maxima, and a gradient where D saturates).  With it, Langevin dynamics on E(z) = -ln p_0(z) - logit D(G(z))
    (Che et al., 2020): z <- z - step_size/2 grad E + sqrt(step_size) N(0, 1).

    Args:
        discriminator: spins ``(B, components, L, L)`` to logits ``(B,)``.
        langevin: the noise's generator.
    """
    refined = []
    for part, here in split(torch.as_tensor(codes), labels, chunk):
        z = part.detach().clone()
        for _ in range(steps):
            z.requires_grad_(True)
            (slope,) = torch.autograd.grad(discriminator(decoder.decode(z, here)).sum(), z)
            z = z.detach()
            if langevin is None:
                z = z + step_size * slope
            else:
                noise = torch.randn(z.shape, generator=langevin, device=langevin.device).to(z.device)
                z = z + 0.5 * step_size * (slope - z) + step_size**0.5 * noise
        refined.append(z)
    return torch.cat(refined)


def generate(system: System, codes: np.ndarray, labels: Labels) -> Tensor:
    """Spins of a system in training, on the CPU; code i has the labels of configuration i, from the first on again."""
    system.mode(training=False)
    rows = torch.arange(len(codes))
    here = {name: values[rows % len(values)].to(system.device) for name, values in labels.items()}
    return decode(system.decoder, torch.from_numpy(codes).to(system.device), here).cpu().contiguous()
