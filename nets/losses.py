"""Losses of the variational autoencoders, with the normalisations that give the papers' thresholds."""

from __future__ import annotations

from torch import Tensor


def reconstruction(output: Tensor, spins: Tensor) -> Tensor:
    """L_RC: mean over batch, sites and components of the squared difference (2021, equation (3))."""
    return (output - spins).square().mean()


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """L_KL = 1/2 sum_n (sigma^2 + mu^2 - ln sigma^2 - 1), summed over latent dimensions, mean over the batch."""
    return 0.5 * (log_variance.exp() + mean.square() - log_variance - 1).sum(1).mean()
