"""Where a discriminator looks: gradient-weighted class activation maps."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from nets.layers import circular_pad
from nets.vaegan import Discriminator
from physics.model import SpinModel


def resolving_block(discriminator: Discriminator, model: SpinModel) -> int:
    """The last residual block whose cells are at most half a period of the texture across; the first, if none is.

    Each block halves the lattice, so that a cell of the n-th one is 2^n sites across; half a period is pi / q with the
    model's wave number q.  It is the last block of all where the model has no wave number.
    """
    blocks = len(discriminator.trunk) - 2
    if model.wave_number is None:
        return blocks
    return min(max(1, math.floor(math.log2(math.pi / model.wave_number))), blocks)


def grad_cam(discriminator: Discriminator, spins: Tensor, block: int | None = None) -> Tensor:
    """Maps ``(B, L, L)`` of what makes the discriminator call spins ``(B, components, L, L)`` fake, not negative.

    With activations A_c of the ``block``-th residual block, by default the last, the map is max(0, sum_c w_c A_c), each
    w_c the mean over the lattice of the derivative of -logit by A_c, interpolated on the torus from that block's sites.

    Raises:
        ValueError: there is no such block.

    Source: Selvaraju et al. (2017); VAE-GAN hybrid (2023), figure 4c, which leaves the layer open.
    """
    blocks = len(discriminator.trunk) - 2
    block = blocks if block is None else block
    if not 1 <= block <= blocks:
        raise ValueError(f"block: expected 1 to {blocks}, found {block}")
    with torch.enable_grad():
        activations = discriminator.trunk[: block + 1](spins.detach()).requires_grad_(True)
        logit = discriminator.judge(discriminator.trunk[block + 1 :](activations).sum((-2, -1)))
        (slope,) = torch.autograd.grad(-logit.sum(), activations)
    weight = slope.mean((-2, -1), keepdim=True)
    relevant = F.relu((weight * activations.detach()).sum(1, keepdim=True))
    factor = spins.shape[-1] // relevant.shape[-1]
    smooth = F.interpolate(circular_pad(relevant, 1), scale_factor=factor, mode="bilinear")
    return smooth[:, 0, factor:-factor, factor:-factor]


def darker_share(cam: Tensor, where: Tensor) -> float:
    """Share of a map's sites that are darker than one of those in ``where``, mean over them all; 1/2 at random.

    Args:
        cam: maps ``(n, L, L)``.
        where: bool ``(n, L, L)``.

    Returns:
        NaN if there is no such site.
    """
    places = where.nonzero()
    here = cam[where].view(-1, 1, 1)
    maps = cam[places[:, 0]]
    return float((maps < here).float().mean() + 0.5 * (maps == here).float().mean()) if len(places) else float("nan")
