"""Checkerboard heat bath in numba: many replicas of one lattice, replicas innermost.

The layout is that of :mod:`physics.kernels.layout`.  A site that is absent (beyond an open edge, or masked out) is a
spin of length zero: it exerts no field.  Only Bloch vectors are known here; :class:`physics.replicas.Replicas` turns
the others into them.
"""

from __future__ import annotations

import numpy as np

from physics.kernels.arithmetic import (
    compiled,
    cos_sin_pi,
    exp_neg,
    f32,
    i32,
    inlined,
    neg_log,
    neighbours,
    next_bits,
    unit_interval,
)


@inlined
def _heat_bath(hx, hy, hz, T, inverse_T, bits, phase):
    """A unit spin from p(S) ~ exp(S.h / T).

    With a = 2|h|/T and u uniform in (0, 1], 1 - cos(angle to h) = -(T/|h|) ln(u + (1 - u) exp(-a)),
    and a uniform azimuth.
    """
    hz = hz + np.copysign(f32(1e-10), hz)  # where there is no field, a direction all the same
    h2 = hx * hx + hy * hy + hz * hz
    h = np.sqrt(h2)
    height = h + abs(hz)
    per = f32(1.0) / (h2 * height)  # the only division, made to serve twice
    scale = h * per
    u = unit_interval(bits)
    a = f32(2.0) * h * inverse_T
    d = T * (scale * height) * neg_log(u + (f32(1.0) - u) * exp_neg(a))
    d = min(d, f32(2.0)) if a > f32(1e-4) else f32(2.0) * (f32(1.0) - u)
    sin = np.sqrt(d * (f32(2.0) - d))
    cp, sp = cos_sin_pi(f32(i32(phase)) * f32(2.0**-31))
    # Turned by pi about the bisector of h and +-z, which carries that pole to h.
    pole = np.copysign(f32(1.0), hz)
    x, y, z = sin * cp, sin * sp, pole * (f32(1.0) - d)
    wz = pole * height
    scale = scale * (x * hx + y * hy + z * wz)
    return scale * hx - x, scale * hy - y, scale * wz - z


@inlined
def _reflect(hx, hy, hz, x, y, z):
    """The spin turned by pi about the field: over-relaxation, at constant energy."""
    h2 = hx * hx + hy * hy + hz * hz + f32(1e-20)
    scale = f32(2.0) * (x * hx + y * hy + z * hz) / h2
    return scale * hx - x, scale * hy - y, scale * hz - z


@inlined
def _align(hx, hy, hz, x, y, z, omega):
    """One step of successive over-relaxation towards the field, S <- S + omega (h/|h| - S), normalised."""
    scale = omega / np.sqrt(hx * hx + hy * hy + hz * hz + f32(1e-20))
    x = x + scale * hx - omega * x
    y = y + scale * hy - omega * y
    z = z + scale * hz - omega * z
    inv = f32(1.0) / np.sqrt(x * x + y * y + z * z + f32(1e-20))
    return x * inv, y * inv, z * inv


@inlined
def _strips(sublattice, y, first):
    return sublattice[y, 0, first:], sublattice[y, 1, first:], sublattice[y, 2, first:]


@inlined
def _field(k, up, down, left, right, J, D, B):
    """The part of the field that is independent of the spin itself.

    h = J sum S_j + D [(S_+x - S_-x) cross x + (S_+y - S_-y) cross y] + B z.
    """
    ux, uy, uz = up[0][k], up[1][k], up[2][k]
    dx, dy, dz = down[0][k], down[1][k], down[2][k]
    lx, ly, lz = left[0][k], left[1][k], left[2][k]
    rx, ry, rz = right[0][k], right[1][k], right[2][k]
    hx = J * (ux + dx + lx + rx) - D * (uz - dz)
    hy = J * (uy + dy + ly + ry) + D * (rz - lz)
    hz = J * (uz + dz + lz + rz) + D * (ux - dx - ry + ly) + B
    return hx, hy, hz


HEAT_BATH, REFLECT, ALIGN = 0, 1, 2


@inlined
def _heat_bath_strip(own, other, y, up, down, left, right, first, n, rng, heat, J, D, B):
    sx, sy, sz = _strips(own, y, first)
    u, d = _strips(other, up, first), _strips(other, down, first)
    le, r = _strips(other, y, left), _strips(other, y, right)
    rng0, rng1, T, inverse_T = rng[0], rng[1], heat[0], heat[1]
    for k in range(n):
        hx, hy, hz = _field(k, u, d, le, r, J, D, B)
        bits, s0, s1 = next_bits(rng0[k], rng1[k])
        phase, s0, s1 = next_bits(s0, s1)
        rng0[k], rng1[k] = s0, s1
        sx[k], sy[k], sz[k] = _heat_bath(hx, hy, hz, T[k], inverse_T[k], bits, phase)


@inlined
def _reflect_strip(own, other, y, up, down, left, right, first, n, J, D, B):
    sx, sy, sz = _strips(own, y, first)
    u, d = _strips(other, up, first), _strips(other, down, first)
    le, r = _strips(other, y, left), _strips(other, y, right)
    for k in range(n):
        hx, hy, hz = _field(k, u, d, le, r, J, D, B)
        sx[k], sy[k], sz[k] = _reflect(hx, hy, hz, sx[k], sy[k], sz[k])


@inlined
def _metropolis_strip(move, own, other, y, up, down, left, right, first, n, rng, heat, J, D, B, K):
    """Either move made without the anisotropy, then accepted or not for its change of -K S_z^2."""
    sx, sy, sz = _strips(own, y, first)
    u, d = _strips(other, up, first), _strips(other, down, first)
    le, r = _strips(other, y, left), _strips(other, y, right)
    rng0, rng1, T, inverse_T = rng[0], rng[1], heat[0], heat[1]
    thermal = move == HEAT_BATH
    for k in range(n):
        hx, hy, hz = _field(k, u, d, le, r, J, D, B)
        x, y_, z = sx[k], sy[k], sz[k]
        bits, s0, s1 = next_bits(rng0[k], rng1[k])
        phase, s0, s1 = next_bits(s0, s1)
        test, s0, s1 = next_bits(s0, s1)
        rng0[k], rng1[k] = s0, s1
        ax, ay, az = _heat_bath(hx, hy, hz, T[k], inverse_T[k], bits, phase)
        bx, by, bz = _reflect(hx, hy, hz, x, y_, z)
        nx, ny, nz = (ax if thermal else bx), (ay if thermal else by), (az if thermal else bz)
        accept = unit_interval(test) <= exp_neg(max(f32(0.0), K * (z * z - nz * nz)) * inverse_T[k])
        sx[k] = nx if accept else x
        sy[k] = ny if accept else y_
        sz[k] = nz if accept else z


@inlined
def _align_strip(own, other, y, up, down, left, right, first, n, J, D, B, K, omega):
    """The anisotropy enters as the field of a linear upper bound of it, so that no step raises the energy."""
    sx, sy, sz = _strips(own, y, first)
    u, d = _strips(other, up, first), _strips(other, down, first)
    le, r = _strips(other, y, left), _strips(other, y, right)
    in_plane, axial = f32(2.0) * max(f32(0.0), -K), f32(2.0) * max(f32(0.0), K)
    for k in range(n):
        hx, hy, hz = _field(k, u, d, le, r, J, D, B)
        x, y_, z = sx[k], sy[k], sz[k]
        hx, hy, hz = hx + in_plane * x, hy + in_plane * y_, hz + axial * z
        sx[k], sy[k], sz[k] = _align(hx, hy, hz, x, y_, z, omega)


@inlined
def _torque_strip(own, other, y, up, down, left, right, first, n, J, D, B, K, largest):
    sx, sy, sz = _strips(own, y, first)
    u, d = _strips(other, up, first), _strips(other, down, first)
    le, r = _strips(other, y, left), _strips(other, y, right)
    for k in range(n):
        hx, hy, hz = _field(k, u, d, le, r, J, D, B)
        x, y_, z = sx[k], sy[k], sz[k]
        hz = hz + f32(2.0) * K * z
        cx, cy, cz = y_ * hz - z * hy, z * hx - x * hz, x * hy - y_ * hx
        largest[k] = max(largest[k], cx * cx + cy * cy + cz * cz)


@inlined
def _energy_strip(own, other, y, up, down, left, right, first, n, J, D, B, K, total):
    sx, sy, sz = _strips(own, y, first)
    u, d = _strips(other, up, first), _strips(other, down, first)
    le, r = _strips(other, y, left), _strips(other, y, right)
    for k in range(n):
        hx, hy, hz = _field(k, u, d, le, r, J, D, f32(0.0))
        x, y_, z = sx[k], sy[k], sz[k]
        total[k] += np.float64(f32(-0.5) * (x * hx + y_ * hy + z * hz) - B * z - K * z * z)


@inlined
def sweep(move, spins, rng, heat, vacant, replicas, open_x, open_y, J, D, B, K, omega):
    """One move on every site, sublattice by sublattice, in place.

    Args:
        move: HEAT_BATH, REFLECT (over-relaxation) or ALIGN (greedy, over-relaxed by ``omega``).
        spins: float32 ``(2, L + 1, 3, pitch)`` from :func:`physics.kernels.layout.pack`; row ``L`` is absent.
        rng: uint32 ``(2, lanes)``, one generator a lane.
        heat: float32 ``(2, lanes)``, the temperature of each lane and its inverse.
        vacant: bool ``(2, L, L/2)``, the sites that a mask leaves out; ``(2, L, 0)`` if it leaves out none.
        replicas: how many configurations lie innermost.
        open_x, open_y: no bonds across that edge.
    """
    L = spins.shape[1] - 1
    width = (L // 2) * replicas
    n = rng.shape[1]
    for p in range(2):
        own, other = spins[p], spins[1 - p]
        for y in range(L):
            up, down, left, right = neighbours(y, p, L, replicas, open_y)
            if move == ALIGN:
                _align_strip(own, other, y, up, down, left, right, replicas, n, J, D, B, K, omega)
            elif f32(0.0) != K:
                _metropolis_strip(move, own, other, y, up, down, left, right, replicas, n, rng, heat, J, D, B, K)
            elif move == HEAT_BATH:
                _heat_bath_strip(own, other, y, up, down, left, right, replicas, n, rng, heat, J, D, B)
            else:
                _reflect_strip(own, other, y, up, down, left, right, replicas, n, J, D, B)
            for j in range(vacant.shape[2]):
                if vacant[p, y, j]:
                    own[y, :, (j + 1) * replicas : (j + 2) * replicas] = f32(0.0)
            for c in range(3):
                row = own[y, c]
                if open_x:
                    row[width + replicas :] = f32(0.0)
                else:
                    row[:replicas] = row[width : width + replicas]
                    row[width + replicas : width + 2 * replicas] = row[replicas : 2 * replicas]


@compiled
def heat_bath(spins, rng, vacant, replicas, open_x, open_y, J, D, B, K, temperatures, reflections):
    """A heat-bath sweep at each row of ``temperatures``, each followed by ``reflections`` over-relaxation sweeps.

    Args:
        temperatures: float32 ``(sweeps, replicas)``, or ``(sweeps, 1)`` for one temperature of all.
    """
    n, columns = rng.shape[1], temperatures.shape[1]
    heat = np.empty((2, n), f32)
    magnet = (J, D, B, K, f32(1.0))
    for i in range(temperatures.shape[0]):
        for first in range(0, n, columns):
            for k in range(first, min(first + columns, n)):
                heat[0, k] = temperatures[i, k - first]
                heat[1, k] = f32(1.0) / heat[0, k]
        sweep(HEAT_BATH, spins, rng, heat, vacant, replicas, open_x, open_y, *magnet)
        for _ in range(reflections):
            sweep(REFLECT, spins, rng, heat, vacant, replicas, open_x, open_y, *magnet)


@compiled
def align(spins, rng, vacant, replicas, open_x, open_y, J, D, B, K, omega, sweeps):
    """Greedy sweeps at T = 0 with over-relaxation factor ``omega`` (1 is plain alignment)."""
    heat = np.zeros((2, 0), f32)
    for _ in range(sweeps):
        sweep(ALIGN, spins, rng, heat, vacant, replicas, open_x, open_y, J, D, B, K, omega)


@compiled
def energies(spins, replicas, open_y, J, D, B, K):
    """Energy E of each replica, float64 ``(replicas,)``: half of S.h over the bonds, the rest whole."""
    L = spins.shape[1] - 1
    width = L // 2 * replicas
    lanes = np.zeros(width)
    for p in range(2):
        for y in range(L):
            up, down, left, right = neighbours(y, p, L, replicas, open_y)
            _energy_strip(spins[p], spins[1 - p], y, up, down, left, right, replicas, width, J, D, B, K, lanes)
    return lanes.reshape(L // 2, replicas).sum(0)


@compiled
def largest_torque(spins, replicas, open_y, J, D, B, K):
    """The largest |S x h| of each replica, float32 ``(replicas,)``."""
    L = spins.shape[1] - 1
    half = L // 2
    largest = np.zeros(half * replicas, f32)
    for p in range(2):
        for y in range(L):
            up, down, left, right = neighbours(y, p, L, replicas, open_y)
            _torque_strip(
                spins[p], spins[1 - p], y, up, down, left, right, replicas, half * replicas, J, D, B, K, largest
            )
    result = np.zeros(replicas, f32)
    for j in range(half):
        result = np.maximum(result, largest[j * replicas : (j + 1) * replicas])
    return np.sqrt(result)
