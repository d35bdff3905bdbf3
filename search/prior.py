"""Where the codes of the prior live."""

from __future__ import annotations

import math

import torch
from torch import Tensor

DEVIATIONS = 3.0


def thickness(latent_dim: int) -> float:
    """Half of the shell's: three standard deviations 1 / sqrt(2 d) of |z| / sqrt(d), at most 0.9."""
    return min(0.9, DEVIATIONS / math.sqrt(2 * latent_dim))


def on_shell(z: Tensor) -> Tensor:
    r"""Codes ``(m, d)`` moved along their rays into the shell that holds the prior N(0, 1),

    .. math:: r \to 1 + w \tanh((r - 1) / w), \qquad r = |z| / \sqrt d,

    w the shell's half thickness.  Smooth and one to one; codes of the prior move by a per cent.  A code at the origin
    stays there.
    """
    w, r = thickness(z.shape[-1]), z.norm(dim=-1, keepdim=True) / math.sqrt(z.shape[-1])
    return z * (1 + w * torch.tanh((r - 1) / w)) / r.clamp(min=1e-6)
