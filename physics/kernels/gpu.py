"""Checkerboard moves in Triton: thousands of replicas of one lattice at once, replicas innermost.

Sublattice, component, row, place in the row, replica: spins are float32 ``(2, 3, L, L/2, R)``, so that threads side by
side read replicas side by side.  A half-sweep is one launch and reads the other sublattice once through the cache.
Counted, not timed (compiled for sm_90): a heat-bath update moves 24 bytes and takes 228 instructions, a reflection
36 and 88, so on an H100 or H200 the first should be held up by both alike and the second by the memory.  Random
numbers are Philox counters of (seed, configuration, sweep, site): a configuration comes out the same whatever shares
its batch.

Only Bloch vectors are known here, as in :mod:`physics.kernels.cpu`.  With TRITON_INTERPRET=1 all of it runs on a CPU.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from physics.kernels import layout
from physics.replicas import Replicas

HEAT_BATH, REFLECT, ALIGN, TORQUE, ENERGY = (tl.constexpr(move) for move in range(5))
BLOCK = 512
HOT = 1e20  # a temperature at which every direction is alike
ROUNDS = tl.constexpr(7)  # of Philox: as many as pass every known test


@triton.jit
def _spin(other, y, j, r, L, half, R, here):
    """Components of the spins at (y, j) of the other sublattice; zero where ``here`` is false."""
    at = (y * half + j) * R + r
    step = L * half * R
    return (
        tl.load(other + at, here, 0.0),
        tl.load(other + step + at, here, 0.0),
        tl.load(other + 2 * step + at, here, 0.0),
    )


@triton.jit
def _cos_sin_pi(t):
    """cos(pi t), sin(pi t) for -1 <= t <= 1, absolute error 2e-6; tl.sin would reduce any argument, slowly."""
    q = t * t
    s = t * (((-0.00437101492 * q + 0.0795006503) * q - 0.645925962) * q + 1.57079514)
    c = (((0.00085819062 * q - 0.0208106275) * q + 0.253650745) * q - 1.23369821) * q + 0.999999953
    return 1.0 - 2.0 * s * s, 2.0 * s * c


@triton.jit
def _heat_bath(hx, hy, hz, T, bits, phase):
    """As the CPU kernel's: 1 - cos(angle to h) = -(T/|h|) ln(u + (1 - u) exp(-2|h|/T)), and a uniform azimuth."""
    hz += tl.where(hz < 0, -1e-10, 1e-10)
    h = tl.sqrt(hx * hx + hy * hy + hz * hz)
    u = ((bits >> 8).to(tl.float32) + 1.0) * 5.9604644775390625e-08
    a = 2.0 * h / T
    d = -T / h * tl.log(u + (1.0 - u) * tl.exp(-a))
    d = tl.where(a > 1e-4, tl.minimum(tl.maximum(d, 0.0), 2.0), 2.0 * (1.0 - u))
    sin = tl.sqrt(d * (2.0 - d))
    cos_phi, sin_phi = _cos_sin_pi((phase >> 8).to(tl.float32) * 1.1920928955078125e-07 - 1.0)
    pole = tl.where(hz < 0, -1.0, 1.0)
    x, y, z = sin * cos_phi, sin * sin_phi, pole * (1.0 - d)
    wz = hz + pole * h
    scale = (x * hx + y * hy + z * wz) / (h * (h + tl.abs(hz)))
    return scale * hx - x, scale * hy - y, scale * wz - z


@triton.jit
def _field(other, y, j, r, p, L, half, R, J, D, inside, OPEN_X: tl.constexpr, OPEN_Y: tl.constexpr):
    """The field of the neighbours of a site, without that along z."""
    odd = (y + p) & 1
    up, down, left, right = y + 1, y - 1, j - 1 + odd, j + odd
    has_up, has_down, has_left, has_right = inside, inside, inside, inside
    if OPEN_Y:
        has_up, has_down = inside & (up < L), inside & (down >= 0)
    if OPEN_X:
        has_left, has_right = inside & (left >= 0), inside & (right < half)
    ux, uy, uz = _spin(other, tl.where(up == L, 0, up), j, r, L, half, R, has_up)
    dx, dy, dz = _spin(other, tl.where(down < 0, L - 1, down), j, r, L, half, R, has_down)
    lx, ly, lz = _spin(other, y, tl.where(left < 0, half - 1, left), r, L, half, R, has_left)
    rx, ry, rz = _spin(other, y, tl.where(right == half, 0, right), r, L, half, R, has_right)
    hx = J * (ux + dx + lx + rx) - D * (uz - dz)
    hy = J * (uy + dy + ly + ry) + D * (rz - lz)
    hz = J * (uz + dz + lz + rz) + D * (ux - dx - ry + ly)
    return hx, hy, hz


@triton.jit
def _aligned(hx, hy, hz, x, y_, z, K, omega):
    """A greedy step towards the field, as the CPU kernel's."""
    hx += 2.0 * tl.maximum(-K, 0.0) * x
    hy += 2.0 * tl.maximum(-K, 0.0) * y_
    hz += 2.0 * tl.maximum(K, 0.0) * z
    scale = omega / tl.sqrt(hx * hx + hy * hy + hz * hz + 1e-20)
    nx, ny, nz = x + scale * hx - omega * x, y_ + scale * hy - omega * y_, z + scale * hz - omega * z
    norm = 1.0 / tl.sqrt(nx * nx + ny * ny + nz * nz + 1e-20)
    return nx * norm, ny * norm, nz * norm


@triton.jit(do_not_specialize=["p", "seed", "sweep"])
def _move(
    spins, present, temperatures, indices, out, p, L, half, R, J, D, B, K, omega, seed, sweep,
    MOVE: tl.constexpr, OPEN_X: tl.constexpr, OPEN_Y: tl.constexpr, MASKED: tl.constexpr, ANISOTROPIC: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """One move on every site of sublattice ``p``, or what ``MOVE`` measures there into ``out``."""
    step = L * half * R
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = k < step
    r, j, y = k % R, (k // R) % half, k // (R * half)
    own, other = spins + p * 3 * step, spins + (1 - p) * 3 * step
    x, y_, z = (
        tl.load(own + k, inside, 0.0),
        tl.load(own + step + k, inside, 0.0),
        tl.load(own + 2 * step + k, inside, 0.0),
    )
    hx, hy, hz = _field(other, y, j, r, p, L, half, R, J, D, inside, OPEN_X, OPEN_Y)
    if MOVE == ENERGY:
        tl.store(out + k, -0.5 * (x * hx + y_ * hy + z * hz) - B * z - K * z * z, inside)
        return
    hz += B
    if MOVE == TORQUE:
        hz += 2.0 * K * z
        cx, cy, cz = y_ * hz - z * hy, z * hx - x * hz, x * hy - y_ * hx
        tl.store(out + k, cx * cx + cy * cy + cz * cz, inside)
        return
    T = tl.load(temperatures + r, inside, 1.0)
    site = ((p * L + y) * half + j).to(tl.uint32)
    counter = tl.full((BLOCK,), 0, tl.uint32) + sweep.to(tl.uint32)
    index = tl.load(indices + r, inside, 0).to(tl.uint32)
    bits, phase, test, _ = tl.philox(seed, site, counter, index, tl.full((BLOCK,), 0, tl.uint32), ROUNDS)
    if MOVE == HEAT_BATH:
        nx, ny, nz = _heat_bath(hx, hy, hz, T, bits, phase)
    elif MOVE == REFLECT:
        scale = 2.0 * (x * hx + y_ * hy + z * hz) / (hx * hx + hy * hy + hz * hz + 1e-20)
        nx, ny, nz = scale * hx - x, scale * hy - y_, scale * hz - z
    else:
        nx, ny, nz = _aligned(hx, hy, hz, x, y_, z, K, omega)
    if ANISOTROPIC and MOVE != ALIGN:
        u = ((test >> 8).to(tl.float32) + 1.0) * 5.9604644775390625e-08
        accept = u <= tl.exp(-tl.maximum(K * (z * z - nz * nz), 0.0) / T)
        nx, ny, nz = tl.where(accept, nx, x), tl.where(accept, ny, y_), tl.where(accept, nz, z)
    if MASKED:
        inside = inside & (tl.load(present + (p * L + y) * half + j, inside, 0) != 0)
    tl.store(own + k, nx, inside)
    tl.store(own + step + k, ny, inside)
    tl.store(own + 2 * step + k, nz, inside)


class GPUReplicas(Replicas):
    """:class:`physics.replicas.Replicas` on a GPU: the CPU kernel's statistics, other random numbers."""

    def _place(self, spins: np.ndarray | None, seed: int, indices: np.ndarray) -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"  # where only Triton's interpreter runs
        L, mask = self.L, self.magnet.mask
        self._present = torch.from_numpy(layout.split(self.magnet.sites(L))).to(device) if mask else None
        self._indices = torch.from_numpy(indices).to(device)
        self._seed, self._sweeps = seed % 2**63, 0
        if spins is None:  # drawn there: to draw and pack 128 x 128 spins here takes 4 ms
            self._sublattices = torch.zeros(2, 3, L, L // 2, self.size, device=device)
            self.heat_bath(np.full(1, HOT))
        else:
            packed = layout.split(self._unit(spins)).transpose(0, 2, 3, 4, 1)
            self._sublattices = torch.from_numpy(np.ascontiguousarray(packed)).to(device)

    def _launch(self, p: int, move: tl.constexpr, temperatures: Tensor, omega: float, out: Tensor) -> None:
        h, half = self.magnet, self.L // 2
        _move[(triton.cdiv(self.L * half * self.size, BLOCK),)](
            self._sublattices, out if self._present is None else self._present, temperatures, self._indices, out,
            p, self.L, half, self.size, h.J, h.D, h.B, h.K, omega, self._seed, self._sweeps,
            move, h.open_x, h.open_y, self._present is not None, h.K != 0, BLOCK,
        )  # fmt: skip

    def _sweep(self, move: tl.constexpr, temperatures: Tensor, omega: float = 1.0) -> None:
        self._sweeps += 1
        for p in range(2):
            self._launch(p, move, temperatures, omega, self._sublattices)

    def _measure(self, quantity: tl.constexpr) -> Tensor:
        """Float32 ``(2, L, L/2, size)``."""
        out = torch.empty_like(self._sublattices[:, 0])
        for p in range(2):
            self._launch(p, quantity, self._sublattices, 1.0, out[p])
        return out

    def heat_bath(self, temperatures: np.ndarray, overrelaxation: int = 0) -> None:
        T = np.asarray(temperatures, np.float32)
        T = np.broadcast_to(T if T.ndim == 2 else T[:, None], (len(T), self.size))
        for row in torch.from_numpy(T.copy()).to(self._sublattices.device):
            self._sweep(HEAT_BATH, row)
            for _ in range(overrelaxation):
                self._sweep(REFLECT, row)

    def align(self, sweeps: int, omega: float = 1.0) -> None:
        for _ in range(sweeps):
            self._sweep(ALIGN, self._sublattices, omega)

    def largest_torque(self) -> np.ndarray:
        return self._measure(TORQUE).amax((0, 1, 2)).sqrt().cpu().numpy()

    def energies(self) -> np.ndarray:
        return self._measure(ENERGY).sum((0, 1, 2), dtype=torch.float64).cpu().numpy()

    def select(self, keep: np.ndarray) -> GPUReplicas:
        chosen = copy.copy(self)
        chosen.size = int(keep.sum())
        here = torch.from_numpy(keep).to(self._sublattices.device)
        chosen._sublattices = self._sublattices[..., here].contiguous()
        chosen._indices = self._indices[here]
        return chosen

    def _lattices(self) -> np.ndarray:
        return layout.merge(self._sublattices.cpu().numpy().transpose(0, 4, 1, 2, 3))
