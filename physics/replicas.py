"""Batches of chiral magnets in the kernels' layout: heat bath, over-relaxation, descent to rest."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np

from physics.chiral import ChiralMagnet
from physics.kernels import cpu, layout
from physics.model import check_checkerboard
from physics.sampler import Device

FINISH_CHECK = 50  # greedy sweeps between two looks at the torque
RELAX_OMEGA = 1.9


def finish_omega(L: int) -> float:
    """Over-relaxation factor of the finish: the optimum 2/(1 + sin k) for waves of k = 1/L, by measurement."""
    return 2 / (1 + 1 / L)


def batch_size(L: int, device: Device = "cpu") -> int:
    """Replicas side by side: strips that are long and, up to L = 128, fit in a 2 MiB cache; on a GPU 2^26 spins."""
    return max(8, 2**17 // L**2) if device == "cpu" else max(32, 2**26 // L**2)


class Replicas:
    """A batch of configurations in the CPU kernel's layout, each with random numbers of its own.

    Args:
        indices: a configuration depends on (magnet, seed, its index) and the moves made, not on the others.
        spins: float32 ``(len(indices), 3, L, L)`` to start from; None for random directions.
    """

    def __init__(
        self,
        magnet: ChiralMagnet,
        L: int,
        seed: int,
        indices: Sequence[int],
        spins: np.ndarray | None = None,
    ):
        check_checkerboard(L)
        self.magnet, self.L, self.size = magnet, L, len(indices)
        start = None if spins is None else self._turn(np.asarray(spins, np.float32), -1)
        self._place(start, seed, np.array(indices, np.int64))

    def _place(self, spins: np.ndarray | None, seed: int, indices: np.ndarray) -> None:
        """Spins with Bloch vectors, or random directions, into the kernel's layout."""
        L = self.L
        generators = [np.random.default_rng([seed, int(index)]) for index in indices]
        self._rng = layout.generator_states(generators, L)
        if spins is None:
            spins = np.stack([g.standard_normal((3, L, L), np.float32) for g in generators])
        self._spins = layout.pack(self._unit(spins), periodic_x=not self.magnet.open_x)
        self._vacant = layout.split(~self.magnet.sites(L)) if self.magnet.mask else np.empty((2, L, 0), bool)

    def _unit(self, spins: np.ndarray) -> np.ndarray:
        """Scaled to length one where there is a site, to zero elsewhere; float32."""
        norm = np.linalg.norm(spins, axis=1, keepdims=True)
        return (spins / np.maximum(norm, 1e-20) * self.magnet.sites(self.L)).astype(np.float32)

    @property
    def _parameters(self) -> tuple:
        h = self.magnet
        return h.open_x, h.open_y, *map(np.float32, (h.J, h.D, h.B, h.K))

    def _turn(self, spins: np.ndarray, sign: int) -> np.ndarray:
        """Between Néel and Bloch: spins turned by 90 degrees about z exchange the two kinds of DM vectors."""
        if self.magnet.dm == "bloch":
            return spins
        return np.stack((-sign * spins[:, 1], sign * spins[:, 0], spins[:, 2]), 1)

    def heat_bath(self, temperatures: np.ndarray, overrelaxation: int = 0) -> None:
        """A heat-bath sweep at each temperature, each followed by ``overrelaxation`` sweeps.

        Args:
            temperatures: ``(sweeps,)``, or ``(sweeps, size)`` for a temperature of each configuration's own.
        """
        T = np.asarray(temperatures, np.float32)
        T = np.ascontiguousarray(T if T.ndim == 2 else T[:, None])
        cpu.heat_bath(self._spins, self._rng, self._vacant, self.size, *self._parameters, T, overrelaxation)

    def align(self, sweeps: int, omega: float = 1.0) -> None:
        """Greedy sweeps at T = 0, over-relaxed by ``omega``: below 2 none of them raises the energy."""
        cpu.align(self._spins, self._rng, self._vacant, self.size, *self._parameters, np.float32(omega), sweeps)

    def largest_torque(self) -> np.ndarray:
        """The largest torque |S x h| of each configuration, float32 ``(size,)``."""
        return cpu.largest_torque(self._spins, self.size, *self._parameters[1:])

    def energies(self) -> np.ndarray:
        """Energy E of each configuration, float64 ``(size,)``."""
        return cpu.energies(self._spins, self.size, *self._parameters[1:])

    def select(self, keep: np.ndarray) -> Replicas:
        """The configurations that the mask ``keep`` names, with the generators of none: for moves without chance."""
        chosen = copy.copy(self)
        chosen.size = int(keep.sum())
        chosen._spins = layout.select(self._spins, self.size, keep)
        chosen._rng = np.ones((2, layout.lanes(self.L, chosen.size)), np.uint32)
        return chosen

    def _lattices(self) -> np.ndarray:
        return layout.unpack(self._spins, self.size)

    def spins(self) -> np.ndarray:
        """float32 ``(size, 3, L, L)``, unit spins."""
        spins = self._turn(self._lattices(), 1)
        norm = np.sqrt(np.einsum("rcyx,rcyx->ryx", spins, spins, dtype=np.float32))[:, None]
        return np.divide(spins, norm, out=np.zeros_like(spins), where=norm > 0)

    def relax(self, sweeps: int, torque: float, omega: float) -> np.ndarray:
        """Greedy sweeps until each configuration's largest torque is below ``torque``; returns the spins.

        A configuration is taken at the first look that finds it at rest, so it does not depend on the others.
        """
        result = np.empty((self.size, 3, self.L, self.L), np.float32)
        batch, moving, done = self, np.arange(self.size), 0
        while True:
            taken = (moving >= 0) & ((batch.largest_torque() <= torque) | (done >= sweeps))
            if taken.any():
                result[moving[taken]] = batch.select(taken).spins()
                moving[taken] = -1
                left = moving >= 0
                if not left.any():
                    return result
                if 2 * left.sum() <= batch.size:
                    batch, moving = batch.select(left), moving[left]
            batch.align(min(FINISH_CHECK, sweeps - done), omega)
            done += FINISH_CHECK


def replicas_on(device: Device) -> type[Replicas]:
    """The class that runs there."""
    if device == "cpu":
        return Replicas
    from physics.kernels.gpu import GPUReplicas  # Triton comes with a torch that knows GPUs

    return GPUReplicas


def relax(magnet: ChiralMagnet, spins: np.ndarray, sweeps: int = 20_000, torque: float = 1e-4) -> np.ndarray:
    """The nearby state of rest of given spins ``(n, 3, L, L)``, by greedy descent at T = 0.

    It stops once the largest torque is below ``torque`` and takes shorter strides than an annealing's finish does,
    which would carry a texture over shallow barriers into another.
    """
    spins = np.asarray(spins)
    return Replicas(magnet, spins.shape[-1], 0, range(len(spins)), spins).relax(sweeps, torque, RELAX_OMEGA)
