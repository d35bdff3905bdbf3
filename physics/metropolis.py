"""Metropolis and over-relaxation of XY spins at temperatures, with vortices free or held."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from physics.kernels import layout, planar
from physics.model import SpinModel
from physics.replicas import batch_size
from physics.sampler import Device, Sampler, Samples, check_kind
from physics.vortices import TAU, charges, lattice_vectors, place_pairs, turned, vortex_field
from physics.xy import XY

STEP = 3.0  # largest turn that is proposed, in standard deviations of a spin in the field of four parallel neighbours
Temperature = Annotated[float, Field(ge=1e-6, le=1e6)]


class PlanarReplicas:
    """A batch of XY configurations in the kernel's layout, each with random numbers of its own.

    Args:
        generators: one a configuration, from which its random numbers are drawn.
        spins: ``(n, 2, L, L)`` to start from.
        held: every plaquette keeps the charge that it has.
    """

    def __init__(self, model: XY, generators: Sequence[np.random.Generator], spins: np.ndarray, held: bool):
        self.J, self.size, self.held = np.float32(model.J), len(spins), held
        self._spins = layout.pack(np.asarray(spins, np.float32), periodic_x=True)
        self._rng = layout.generator_states(generators, spins.shape[-1])

    def metropolis(self, temperatures: np.ndarray, sweeps: int, overrelaxation: int = 0) -> None:
        """Metropolis sweeps, each followed by sweeps of over-relaxation, at temperatures ``(n,)``."""
        T = np.asarray(temperatures, np.float32)
        width = np.minimum(1, STEP / math.pi * np.sqrt(T / (4 * self.J)))
        heat = np.ones((2, self._rng.shape[1]), np.float32)
        sites = self._spins.shape[1] // 2
        heat[:, : sites * self.size] = np.tile((1 / T, width), sites)
        planar.metropolis(self._spins, self._rng, heat, self.size, self.held, self.J, sweeps, overrelaxation)

    def align(self, sweeps: int) -> None:
        """Descent at T = 0: sweeps that align each spin with its field."""
        heat = np.ones((2, self._rng.shape[1]), np.float32)
        planar.align(self._spins, self._rng, heat, self.size, self.held, self.J, sweeps)

    def spins(self) -> np.ndarray:
        """float32 ``(n, 2, L, L)``, unit spins."""
        spins = layout.unpack(self._spins, self.size)
        return spins / np.linalg.norm(spins, axis=1, keepdims=True)


class Metropolis(Sampler):
    """Equilibrium configurations of the XY model, each from a Markov chain of its own, so that they are independent.

    A chain starts from parallel spins, or from :func:`physics.vortices.vortex_field` with the charges that it holds,
    turned as a whole by a random angle.  Configuration i has the i-th of all combinations of a temperature, a distance
    and a number of pairs, over and over, the temperature varying fastest.

    Attributes:
        distances: of the vortices of a pair in sites, 0 for no pair; held pairs are put anywhere in any direction, and
            keep their plaquettes.  None: vortices come and go.
        pairs: how many pairs are held.
        sweeps: Metropolis sweeps of a chain.
        overrelaxation: sweeps at constant energy after each Metropolis sweep.
    """

    prefix: ClassVar[str] = "metropolis-"
    labels: ClassVar[tuple[str, ...]] = ("temperature", "charges", "distance", "pairs")

    name: Literal["metropolis"] = "metropolis"
    temperatures: Annotated[tuple[Temperature, ...], Field(min_length=1, max_length=1000)] = (0.1,)
    distances: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] | None = None
    pairs: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)] = (1,)
    sweeps: Annotated[int, Field(gt=0, le=10**7)] = 100
    overrelaxation: Annotated[int, Field(ge=0, le=10**6)] = 4

    def check(self, model: SpinModel, L: int) -> None:
        check_kind(self, model, XY)
        model.check(L)
        for distance in self.distances or ():
            lattice_vectors(distance, L)
        if max(self.pairs) > L**2 // 8:
            raise ValueError(f"pairs: expected at most {L**2 // 8} on a lattice of {L} x {L}, found {max(self.pairs)}")

    def spin_updates(self, L: int) -> float:
        return self.sweeps * (1 + self.overrelaxation) * L**2

    def batch(self, L: int, device: Device = "cpu") -> int:
        return batch_size(L, device)

    def combination(self, index: int) -> tuple[float, float, int]:
        """Temperature, distance and number of pairs of a configuration."""
        index, t = divmod(index, len(self.temperatures))
        if self.distances is None:
            return self.temperatures[t], 0.0, 0
        index, d = divmod(index, len(self.distances))
        distance = self.distances[d]
        return self.temperatures[t], distance, self.pairs[index % len(self.pairs)] if distance else 0

    def sample(self, model: SpinModel, L: int, seed: int, indices: Sequence[int], device: Device = "cpu") -> Samples:
        """Configurations, labelled by temperature, charges ``(n, L, L)``, distance of the pairs held and their number.

        Raises:
            ValueError: another spin model, L is odd or below 4, or the pairs find no room.
        """
        self.check(model, L)
        assert isinstance(model, XY)
        parts = [
            self._chains(model, L, seed, indices[first : first + self.batch(L)])
            for first in range(0, len(indices), self.batch(L))
        ]
        spins = np.concatenate([part.spins for part in parts])
        return Samples(spins, {name: np.concatenate([part.labels[name] for part in parts]) for name in self.labels})

    def _chains(self, model: XY, L: int, seed: int, indices: Sequence[int]) -> Samples:
        generators = [np.random.default_rng([seed, int(index)]) for index in indices]
        T, distance, pairs = map(np.array, zip(*map(self.combination, indices), strict=True))
        placed = [place_pairs(L, d, n, rng) for d, n, rng in zip(distance, pairs, generators, strict=True)]
        start = turned(vortex_field(torch.from_numpy(np.stack(placed))), [rng.uniform(0, TAU) for rng in generators])
        chains = PlanarReplicas(model, generators, start.numpy(), held=self.distances is not None)
        chains.metropolis(T, self.sweeps, self.overrelaxation)
        spins = chains.spins()
        labels = {"temperature": T.astype(np.float32), "charges": charges(torch.from_numpy(spins)).numpy()}
        return Samples(spins, {**labels, "distance": distance.astype(np.float32), "pairs": pairs.astype(np.int32)})
