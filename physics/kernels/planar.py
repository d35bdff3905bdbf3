"""Checkerboard moves of XY spins in numba, vortices free or held: many replicas of one torus, replicas innermost.

The layout is that of :mod:`physics.kernels.layout`, with two components.

**Vortices that are held.**  Let a be the angle of a site, and b, c those of two of its neighbours, the other corners of
a plaquette being the site's diagonal one d.  With [x] the difference brought into [-pi, pi), the plaquette's charge is

    2 pi k = [b - a] + [d - b] + [c - d] + [a - c] = 2 pi (w_a + w_d),

where 2 pi w_a = [b - a] + [a - c] - (b - c) is an integer number of turns that depends on a and on the neighbours of a,
which all lie on the other sublattice.  So a half-sweep, which moves one sublattice, changes the w of each site by
itself: a move is refused where it would change one of the four w of its site, and whatever the diagonal sites do in the
same half-sweep, no charge changes.  Given the other sublattice, the sites of one are independent, each with its own
allowed angles, and Metropolis on each keeps the Boltzmann distribution of the fields with these charges: detailed
balance needs no order among sites that share a plaquette.

A turn of S to N by the shorter way passes the antipode of a neighbour or not; it changes the four w of its site by
differences of these four numbers, so the charges stay exactly where none or all four of the antipodes are passed.  In
angles that are lifted to the real line the allowed fields are |a - b - A_ab| < pi on every bond: a convex set, so that
moves of single sites reach all of it.
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
    neighbours,
    next_bits,
    unit_interval,
)

METROPOLIS, REFLECT, ALIGN = 0, 1, 2


@inlined
def _passes(x, y, nx, ny, ax, ay):
    """1 if the shorter way from (x, y) to (nx, ny) passes or meets the direction opposite to (ax, ay), else 0."""
    before, after = x * ay - y * ax, nx * ay - ny * ax
    return i32((before * after <= f32(0.0)) & ((x + nx) * ax + (y + ny) * ay < f32(0.0)))


@inlined
def _holds(k, x, y, nx, ny, up, down, left, right):
    """Whether a move keeps the charges of the four plaquettes around it; half a turn, which has no side, does not."""
    passed = i32(
        _passes(x, y, nx, ny, up[0][k], up[1][k])
        + _passes(x, y, nx, ny, down[0][k], down[1][k])
        + _passes(x, y, nx, ny, left[0][k], left[1][k])
        + _passes(x, y, nx, ny, right[0][k], right[1][k])
    )
    return ((passed == i32(0)) | (passed == i32(4))) & (x * nx + y * ny > f32(-0.999999))


@inlined
def _field(k, up, down, left, right, J):
    hx = J * (up[0][k] + down[0][k] + left[0][k] + right[0][k])
    hy = J * (up[1][k] + down[1][k] + left[1][k] + right[1][k])
    return hx, hy


@inlined
def _strip(sublattice, y, first):
    return sublattice[y, 0, first:], sublattice[y, 1, first:]


@inlined
def _metropolis_strip(held, sites, up, down, left, right, n, rng, heat, J):
    """Turn each spin by an angle that is uniform within its lane's width; accept with min(1, exp(-dE/T))."""
    sx, sy = sites
    rng0, rng1, inverse_T, width = rng[0], rng[1], heat[0], heat[1]
    for k in range(n):
        hx, hy = _field(k, up, down, left, right, J)
        phase, s0, s1 = next_bits(rng0[k], rng1[k])
        test, s0, s1 = next_bits(s0, s1)
        rng0[k], rng1[k] = s0, s1
        x, y = sx[k], sy[k]
        cos, sin = cos_sin_pi(width[k] * f32(i32(phase)) * f32(2.0**-31))
        nx, ny = cos * x - sin * y, sin * x + cos * y
        longer = f32(1.5) - f32(0.5) * (nx * nx + ny * ny)  # a step of Newton's towards unit length
        nx, ny = longer * nx, longer * ny
        rise = hx * (x - nx) + hy * (y - ny)
        accept = unit_interval(test) <= exp_neg(max(f32(0.0), rise * inverse_T[k]))
        if held:
            accept = accept & _holds(k, x, y, nx, ny, up, down, left, right)
        sx[k] = nx if accept else x
        sy[k] = ny if accept else y


@inlined
def _turn_strip(move, held, sites, up, down, left, right, n, J):
    """Reflect each spin about its field, at constant energy, or align it with its field."""
    sx, sy = sites
    for k in range(n):
        hx, hy = _field(k, up, down, left, right, J)
        x, y = sx[k], sy[k]
        h2 = hx * hx + hy * hy + f32(1e-20)
        scale = f32(2.0) * (x * hx + y * hy) / h2
        along = f32(1.0) / np.sqrt(h2)
        reflect = move == REFLECT
        nx = scale * hx - x if reflect else along * hx
        ny = scale * hy - y if reflect else along * hy
        accept = h2 > f32(1e-12)
        if held:
            accept = accept & _holds(k, x, y, nx, ny, up, down, left, right)
        sx[k] = nx if accept else x
        sy[k] = ny if accept else y


@inlined
def _sweep(move, held, spins, rng, heat, replicas, J):
    """One move of every site, sublattice by sublattice, in place."""
    L = spins.shape[1] - 1
    width, n = (L // 2) * replicas, rng.shape[1]
    for p in range(2):
        own, other = spins[p], spins[1 - p]
        for y in range(L):
            above, below, before, after = neighbours(y, p, L, replicas, False)
            sites = _strip(own, y, replicas)
            up, down = _strip(other, above, replicas), _strip(other, below, replicas)
            left, right = _strip(other, y, before), _strip(other, y, after)
            if move == METROPOLIS:
                _metropolis_strip(held, sites, up, down, left, right, n, rng, heat, J)
            else:
                _turn_strip(move, held, sites, up, down, left, right, n, J)
            for c in range(2):
                row = own[y, c]
                row[:replicas] = row[width : width + replicas]
                row[width + replicas : width + 2 * replicas] = row[replicas : 2 * replicas]


@compiled
def metropolis(spins, rng, heat, replicas, held, J, sweeps, reflections):
    """Metropolis sweeps, each followed by ``reflections`` sweeps of over-relaxation.

    Args:
        spins: float32 ``(2, L + 1, 2, pitch)`` from :func:`physics.kernels.layout.pack`.
        rng: uint32 ``(2, lanes)``, one generator a lane.
        heat: float32 ``(2, lanes)``, the inverse temperature of each lane, and half the range of angles that its
            proposals are drawn from, in units of pi.
        replicas: how many configurations lie innermost.
        held: every plaquette keeps its charge.
    """
    for _ in range(sweeps):
        _sweep(METROPOLIS, held, spins, rng, heat, replicas, J)
        for _ in range(reflections):
            _sweep(REFLECT, held, spins, rng, heat, replicas, J)


@compiled
def align(spins, rng, heat, replicas, held, J, sweeps):
    """Sweeps that align each spin with its field: descent at T = 0."""
    for _ in range(sweeps):
        _sweep(ALIGN, held, spins, rng, heat, replicas, J)
