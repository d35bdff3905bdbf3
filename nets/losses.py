"""Losses, variational and adversarial, with the normalisations that give the papers' thresholds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus


def reconstruction(output: Tensor, spins: Tensor, filling: float = 1.0) -> Tensor:
    """L_RC: mean over batch, sites and components of the squared difference (2021, equation (3)).

    Args:
        output, spins: ``(B, components, L, L)``, both zero where there is no site.
        filling: share of the sites that exist, over which the mean is.
    """
    return (output - spins).square().mean() / filling


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """L_KL = 1/2 sum_n (sigma^2 + mu^2 - ln sigma^2 - 1), summed over latent dimensions, mean over the batch."""
    return 0.5 * (log_variance.exp() + mean.square() - log_variance - 1).sum(1).mean()


def discriminator_loss(real: Tensor, fakes: Sequence[Tensor]) -> Tensor:
    """L_D = -E[ln D(x_d)] - E[ln(1 - D(x_f))], each kind of fake with an equal share, from logits ``(B,)``.

    Source: VAE-GAN hybrid (2023), equation (2) with one kind of fake, equation (3) with two.
    """
    return softplus(-real).mean() + torch.stack([softplus(fake).mean() for fake in fakes]).mean()


def generator_loss(fakes: Sequence[Tensor]) -> Tensor:
    """The non-saturating L_G = -E[ln D(x_f)], each kind of fake with an equal share, from logits ``(B,)``.

    Source: VAE-GAN hybrid (2023), equations (2) and (3).
    """
    return torch.stack([softplus(-fake).mean() for fake in fakes]).mean()


def wasserstein_distance(real: Tensor, fake: Tensor) -> Tensor:
    """E[C(x_d)] - E[C(x_f)] from scores ``(B,)``: what the critic makes large and the generator small.

    Source: Arjovsky et al. (2017).
    """
    return real.mean() - fake.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, draw: Callable[[int, int], Tensor]
) -> Tensor:
    """E[(|grad C(x)| - 1)^2] at points x between data and fakes ``(B, ...)``, the share of each uniform in [0, 1].

    Source: Gulrajani et al. (2017).
    """
    share = torch.special.ndtr(draw(len(real), 1)).view(-1, *[1] * (real.ndim - 1))
    between = torch.lerp(fake, real, share).requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()
