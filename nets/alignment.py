"""How far the spins of data, of their reconstructions and of generated states are from lying along their fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from nets.sampling import CHUNK
from nets.system import Decoder
from physics.model import SpinModel
from physics.observables import field_angle

BINS = 720  # of angles between 0 and pi: a quarter of a degree each
EDGES = np.linspace(0, 180, BINS + 1)  # degrees


class Encoder(Protocol):
    """A network that makes means and log-variances ``(B, latent)`` of spins ``(B, components, L, L)``."""

    def encode(self, spins: Tensor) -> tuple[Tensor, Tensor]: ...


@torch.no_grad()
def reconstructed(encoder: Encoder, decoder: Decoder, spins: Tensor, noise: Tensor, chunk: int = CHUNK) -> Tensor:
    """X_out ``(n, components, L, L)`` of X_in: decoded from z = mu + sigma * noise, with noise ``(n, latent)``.

    Source: E-VAE (2021), "Network structure".
    """
    parts = []
    for part, drawn in zip(spins.split(chunk), noise.split(chunk), strict=True):
        mean, log_variance = encoder.encode(part)
        parts.append(decoder.decode(mean + torch.exp(0.5 * log_variance) * drawn))
    return torch.cat(parts)


@dataclass(frozen=True)
class Alignment:
    """Of an ensemble of configurations.

    Attributes:
        counts: sites with an angle to their field in each of :data:`EDGES`, ``(BINS,)``.
        energy: the sum of the energies per spin; ``configurations`` are so many.
    """

    counts: np.ndarray
    energy: float
    configurations: int

    @classmethod
    def of(cls, spins: Tensor, model: SpinModel) -> Alignment:
        """Of configurations ``(n, components, L, L)``; sites that do not exist are left out."""
        sites = torch.from_numpy(model.sites(spins.shape[-1]).copy())
        angles = torch.rad2deg(field_angle(spins, model)[:, sites])
        counts, _ = np.histogram(angles.numpy(), EDGES)
        return cls(counts, float(model.energy(spins).double().sum()), len(spins))

    @classmethod
    def joined(cls, parts: Sequence[Alignment]) -> Alignment:
        counts = np.sum([part.counts for part in parts], 0)
        return cls(counts, sum(part.energy for part in parts), sum(part.configurations for part in parts))

    @property
    def density(self) -> np.ndarray:
        """Of angles, a share per degree ``(BINS,)``: its integral over 180 degrees is 1."""
        return self.counts / (self.counts.sum() * np.diff(EDGES))

    def quantile(self, share: float) -> float:
        """The angle in degrees below which a share of the sites is, linear within a bin."""
        below = np.concatenate(([0], np.cumsum(self.counts))) / self.counts.sum()
        return float(np.interp(share, below, EDGES))

    def figures(self) -> dict[str, float]:
        """Energy per spin, and the median and the 95 % quantile of the angles in degrees."""
        energy = self.energy / self.configurations
        return {"energy": energy, "median_angle": self.quantile(0.5), "angle_95": self.quantile(0.95)}
