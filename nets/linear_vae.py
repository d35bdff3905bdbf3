"""The best VAE whose encoder and decoder are linear, in closed form: what every trained VAE must beat."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from nets.training import Rows

BLOCK_SITES = 2**20  # of the configurations that are transformed at a time


def covariance_spectrum(spins: Rows) -> Tensor:
    r"""Eigenvalues lambda_i of the covariance of configurations and all of their translates on the torus.

    Translates make the covariance block-diagonal in k.  Each block is the components x components matrix

    .. math:: C(k) = \langle S(k) S(k)^\dagger \rangle - \delta_{k0} \langle S(0) \rangle \langle S(0) \rangle^\dagger,
              \quad S(k) = \frac{1}{L} \sum_r S(r) e^{-i k \cdot r}.

    So a few hundred configurations suffice.  It is for spin models on a torus whose sites are all alike: with a mask or
    open edges the modes are no plane waves, and their N x N covariance would take far more than N configurations.
    Where the data prefer some translates all the same, their linear VAE can only be better: its loss is concave in the
    covariance.

    Args:
        spins: ``(n, components, L, L)``; a block of them is in memory at a time.

    Returns:
        float64 ``(components L^2,)``, the largest first; their sum is the variance of a configuration,
        the mean of \|S - <S>\|^2.
    """
    n, (components, L) = len(spins), spins[torch.arange(1)].shape[1:3]
    mean = torch.zeros(components, dtype=torch.complex128)
    covariance = torch.zeros(L, L // 2 + 1, components, components, dtype=torch.complex128)
    for rows in torch.arange(n).split(max(1, BLOCK_SITES // L**2)):
        waves = torch.fft.rfft2(spins[rows].cpu().double(), norm="ortho")
        mean += waves[..., 0, 0].sum(0) / n
        covariance += torch.einsum("nayx,nbyx->yxab", waves, waves.conj()) / n
    covariance[0, 0] -= torch.outer(mean, mean.conj())
    values = torch.linalg.eigvalsh(covariance).clamp(min=0)
    stands_for = torch.full((L // 2 + 1,), 2)  # k_x and -k_x, but for those that are their own mirror image
    stands_for[:: L // 2 if L % 2 == 0 else L] = 1
    return values.repeat_interleave(stands_for, 1).flatten().sort(descending=True).values


class LinearVAE(NamedTuple):
    """Losses of the best linear VAE, as :mod:`nets.losses` measures them; ``loss`` is reconstruction + beta kl."""

    reconstruction: float
    kl: float
    loss: float


def linear_vae(spectrum: Tensor, beta: float, latent: int) -> LinearVAE:
    r"""The least reconstruction + beta KL of a linear encoder and decoder on data of a given covariance.

    .. math:: L_{RC} = \frac{1}{N} \Bigl( s A + \sum_{i > A} \lambda_i \Bigr), \quad
              L_{KL} = \frac12 \sum_{i \le A} \ln \frac{\lambda_i}{s}, \quad s = \frac{\beta N}{2}

    The A active directions are those with lambda_i > s, at most ``latent`` of them.  It is probabilistic PCA with the
    noise s; with beta = 0 it is PCA, whose KL is infinite and costs nothing.

    Args:
        spectrum: the eigenvalues lambda_i ``(N,)``, the largest first.
        latent: dimension of the code.

    Source: Lucas et al., "Don't blame the ELBO!" (2019), section 3; Tipping and Bishop (1999).
    """
    N = len(spectrum)
    s = beta * N / 2
    active = spectrum[:latent][spectrum[:latent] > s]
    reconstruction = float(s * len(active) + spectrum[len(active) :].sum()) / N
    if beta == 0:
        return LinearVAE(reconstruction, math.inf if len(active) else 0.0, reconstruction)
    kl = 0.5 * float((active / s).log().sum())
    return LinearVAE(reconstruction, kl, reconstruction + beta * kl)


def critical_beta(spectrum: Tensor) -> float:
    r"""beta_c = 2 lambda_1 / N, above which no direction is active: the posterior of the linear VAE collapses.

    Args:
        spectrum: the eigenvalues lambda_i ``(N,)``, the largest first.

    Source: the threshold of :func:`linear_vae`.
    """
    return 2 * float(spectrum[0]) / len(spectrum)
