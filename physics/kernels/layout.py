"""The layout of a batch of lattices in the CPU kernels: two sublattices, replicas innermost.

The sites with ``(x + y) % 2 == p`` form sublattice ``p``.  Row ``y`` of a sublattice is one
*strip*: its ``L/2`` sites side by side, each holding the same component of ``replicas`` spins.
The neighbours of a strip are then three whole strips of the other sublattice, one of them shifted
by a site; a half-sweep is a single loop over contiguous float32, which the compiler vectorises.
A strip carries one site of halo at both ends and is padded to whole vectors, so that each lane goes
through the same instructions wherever it lies: a configuration comes out the same to the last bit
whatever shares its batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LANES = 64  # a strip is padded to a multiple of this many floats: the vector width times its unrolling


def lanes(L: int, replicas: int) -> int:
    """Floats in a strip, padded to whole vectors."""
    return -(-(L // 2) * replicas // LANES) * LANES


def split(sites: np.ndarray) -> np.ndarray:
    """Sublattices of a lattice: ``(..., L, L)`` to ``(2, ..., L, L/2)``."""
    out = np.empty((2, *sites.shape[:-1], sites.shape[-1] // 2), sites.dtype)
    for p in range(2):
        out[p, ..., 0::2, :] = sites[..., 0::2, p::2]
        out[p, ..., 1::2, :] = sites[..., 1::2, 1 - p :: 2]
    return out


def merge(sublattices: np.ndarray) -> np.ndarray:
    """The inverse of :func:`split`."""
    *shape, half = sublattices.shape[1:]
    out = np.empty((*shape, 2 * half), sublattices.dtype)
    for p in range(2):
        out[..., 0::2, p::2] = sublattices[p, ..., 0::2, :]
        out[..., 1::2, 1 - p :: 2] = sublattices[p, ..., 1::2, :]
    return out


def pack(spins: np.ndarray, periodic_x: bool) -> np.ndarray:
    """Replicas ``(R, components, L, L)`` to a kernel's ``(2, L + 1, components, pitch)``."""
    R, components, L, _ = spins.shape
    width = (L // 2) * R
    packed = np.zeros((2, L + 1, components, lanes(L, R) + 2 * R), np.float32)
    strips = split(spins).transpose(0, 3, 2, 4, 1).reshape(2, L, components, width)
    packed[:, :L, :, R : R + width] = strips
    if periodic_x:
        packed[:, :L, :, :R] = strips[..., -R:]
        packed[:, :L, :, R + width : 2 * R + width] = strips[..., :R]
    return packed


def unpack(packed: np.ndarray, replicas: int) -> np.ndarray:
    """The inverse of :func:`pack`."""
    L, components = packed.shape[1] - 1, packed.shape[2]
    strips = packed[:, :L, :, replicas : replicas + (L // 2) * replicas]
    return merge(strips.reshape(2, L, components, L // 2, replicas).transpose(0, 4, 2, 1, 3))


def generator_states(generators: Sequence[np.random.Generator], L: int) -> np.ndarray:
    """States of the lanes' own generators, uint32 ``(2, lanes)``: those of a replica are drawn from its generator."""
    drawn = np.stack([rng.integers(1, 2**32, (2, L // 2), dtype=np.uint32) for rng in generators])
    states = np.ones((2, lanes(L, len(generators))), np.uint32)
    states[:, : L // 2 * len(generators)] = drawn.transpose(1, 2, 0).reshape(2, -1)
    return states


def select(packed: np.ndarray, replicas: int, keep: np.ndarray) -> np.ndarray:
    """A smaller batch, of the replicas that the mask ``keep`` names."""
    half, n = packed.shape[1] // 2, int(keep.sum())
    strips = packed[..., : (half + 2) * replicas].reshape(*packed.shape[:-1], half + 2, replicas)[..., keep]
    chosen = np.zeros((*packed.shape[:-1], lanes(2 * half, n) + 2 * n), np.float32)
    chosen[..., : (half + 2) * n] = strips.reshape(*packed.shape[:-1], -1)
    return chosen
