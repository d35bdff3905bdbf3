"""Arithmetic of the CPU kernels in float32 that the compiler vectorises: functions, random numbers, neighbours."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numba as nb
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

if nb.config.CPU_FEATURES is None:  # LLVM holds back to 256-bit vectors unless told otherwise
    _features = llvm.get_host_cpu_features().flatten()
    if "+avx512f" in _features:
        nb.config.CPU_FEATURES = _features + ",-prefer-256-bit"
        nb.config.CPU_NAME = llvm.get_host_cpu_name()

f32, i32, u32 = np.float32, np.int32, np.uint32


def _bitcast(name: str, source: Any, target: Any, llvm_type: Any) -> Any:
    def typer(typingctx, x):
        def codegen(context, builder, signature, args):
            return builder.bitcast(args[0], llvm_type)

        return target(source), codegen

    typer.__name__ = name
    return intrinsic(typer)


_float_bits = _bitcast("_float_bits", types.float32, types.int32, ir.IntType(32))
_bits_float = _bitcast("_bits_float", types.int32, types.float32, ir.FloatType())

inlined = nb.njit(fastmath=True, forceinline=True, error_model="numpy")
# Whatever is compiled is inlined into what Python calls.  A callee of its own would be found by the linker in one of
# two versions, that of this process or that of the cache, whose last bits differ.
compiled = nb.njit(fastmath=True, error_model="numpy", nogil=True, cache=True)


@inlined
def exp_neg(a):
    """exp(-a) for a >= 0, relative error 2e-7 (at most 1e-38 beyond a = 87)."""
    y = min(a, f32(87.0)) * f32(-1.4426950408889634)
    i = i32(y) - i32(1)
    f = y - f32(i)
    p = f32(0.00187757666) * f + f32(0.00898934013)
    p = p * f + f32(0.055826318)
    p = p * f + f32(0.240153617)
    p = p * f + f32(0.693153073)
    p = p * f + f32(0.999999925)
    return p * _bits_float(i32(i32(i + i32(127)) << i32(23)))


@inlined
def neg_log(x):
    """-ln(x) for 0 < x <= 1, absolute error 3e-7, never negative."""
    bits = _float_bits(x)
    e = i32(i32(bits >> i32(23)) - i32(127))
    t = _bits_float(i32(i32(bits & i32(0x007FFFFF)) | i32(0x3F800000))) - f32(1.0)
    p = f32(0.0107645146) * t - f32(0.055145204)
    p = p * t + f32(0.134674544)
    p = p * t - f32(0.225898023)
    p = p * t + f32(0.328242208)
    p = p * t - f32(0.499471786)
    p = p * t + f32(0.999981138)
    return max(f32(0.0), f32(e) * f32(-0.6931471805599453) - p * t)


@inlined
def cos_sin_pi(t):
    """cos(pi t), sin(pi t) for -1 <= t <= 1, absolute error 2e-6."""
    q = t * t
    s = f32(-0.00437101492) * q + f32(0.0795006503)
    s = s * q - f32(0.645925962)
    s = t * (s * q + f32(1.57079514))
    c = f32(0.00085819062) * q - f32(0.0208106275)
    c = c * q + f32(0.253650745)
    c = c * q - f32(1.23369821)
    c = c * q + f32(0.999999953)
    return f32(1.0) - f32(2.0) * s * s, f32(2.0) * s * c


@inlined
def next_bits(s0, s1):
    """xoroshiro64* (Blackman and Vigna): 32 random bits and the state that follows."""
    out = u32(s0 * u32(0x9E3779BB))
    s1 = u32(s1 ^ s0)
    rotated = u32(u32(s0 << u32(26)) | u32(s0 >> u32(6)))
    s0 = u32(u32(rotated ^ s1) ^ u32(s1 << u32(9)))
    return out, s0, u32(u32(s1 << u32(13)) | u32(s1 >> u32(19)))


@inlined
def unit_interval(bits):
    """A float32 in (0, 1] from the upper 24 bits."""
    return f32(i32(bits >> u32(8)) + i32(1)) * f32(2.0**-24)


@inlined
def neighbours(y, p, L, replicas, open_y):
    """Rows above and below row ``y`` of sublattice ``p``, and where the strips to its left and right begin."""
    up = y + 1 if y + 1 < L or open_y else 0
    down = y - 1 if y > 0 else (L if open_y else L - 1)
    left = ((y + p) & 1) * replicas
    return up, down, left, left + replicas
