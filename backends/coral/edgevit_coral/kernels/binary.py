"""Binary int8 operators with numpy broadcasting: ADD, SUB, MUL, SQUARED_DIFFERENCE, MAXIMUM, MINIMUM."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit.errors import QuantError
from edgevit_kernels.fixedpoint import ref

from .grid import Grid, activation_limits, require_int8
from .rescale import FixedRescale
from .table import DOMAIN, lookup_pair

Array = NDArray[Any]
Ints = NDArray[np.int64]
Table = NDArray[np.int8]

_CACHED = 256  # tables of 64 KiB: 16 MiB


def align(a: Array, b: Array) -> tuple[Array, Array]:
    """Give both arrays one rank by axes of 1 behind the sample axis, so that file shapes broadcast from the right."""
    rank = max(a.ndim, b.ndim)
    first, second = (v.reshape(v.shape[0], *(1,) * (rank - v.ndim), *v.shape[1:]) for v in (a, b))
    return first, second


def _apply(table: Table, a: Array, b: Array) -> Array:
    return lookup_pair(*align(a, b), table)


def add(a: Array, b: Array, *, a_q: Grid, b_q: Grid, out_q: Grid, activation: str = "NONE") -> Array:
    """ADD: both inputs shifted left by 20 bits and brought to twice the greater scale, summed, rescaled.

    Raises QuantError where 2 max(scales) / (2**20 scale_out) is 1 or more: TFLite aborts the process there.
    """
    return _apply(_sum_table(a_q, b_q, out_q, activation, 1), a, b)


def sub(a: Array, b: Array, *, a_q: Grid, b_q: Grid, out_q: Grid, activation: str = "NONE") -> Array:
    """SUB: as ADD with the second summand negated.

    Raises QuantError where ADD does: from 1 on TFLite computes wrong numbers (a negative right shift).
    """
    return _apply(_sum_table(a_q, b_q, out_q, activation, -1), a, b)


def mul(a: Array, b: Array, *, a_q: Grid, b_q: Grid, out_q: Grid, activation: str = "NONE") -> Array:
    """MUL: (a - zero_a)(b - zero_b) * scale_a * scale_b / scale_out; TFLite takes the scales' quotient in float32."""
    return _apply(_mul_table(a_q, b_q, out_q, activation), a, b)


def squared_difference(a: Array, b: Array, *, a_q: Grid, b_q: Grid, out_q: Grid) -> Array:
    """SQUARED_DIFFERENCE: both inputs shifted left by 7 bits, brought to twice the greater scale, subtracted, squared.

    Raises QuantError where (2 max(scales))**2 / (2**14 scale_out) is 1 or more: TFLite aborts the process there.
    """
    return _apply(_squared_difference_table(a_q, b_q, out_q), a, b)


def maximum(a: Array, b: Array) -> Array:
    """MAXIMUM of stored values. TFLite does not rescale: all three tensors have one grid."""
    first, second = align(a, b)
    return np.maximum(first, second)


def minimum(a: Array, b: Array) -> Array:
    """MINIMUM of stored values. TFLite does not rescale: all three tensors have one grid."""
    first, second = align(a, b)
    return np.minimum(first, second)


def _smaller_than_one(real: float, what: str) -> tuple[Ints, Ints]:
    multiplier, shift = ref.quantize_multiplier(real)
    if real >= 1 or int(shift) > 0:
        raise QuantError(f"{what} multiplies by {real:.4g}, which is not below 1", hint="use a larger output scale")
    return multiplier, shift


def _common_scale(grid: Grid, twice: float, left_shift: int) -> Ints:
    """All 256 values of one input, shifted left and brought to the common scale ``twice``; int64 in DOMAIN order."""
    scale, zero = grid.scalar()
    shifted = (DOMAIN["int8"] - zero) << left_shift
    return ref.multiply_by_quantized_multiplier(shifted, *_smaller_than_one(float(scale) / twice, "an input"))


def _twice_max(a_q: Grid, b_q: Grid) -> float:
    twice = 2 * max(float(a_q.scalar()[0]), float(b_q.scalar()[0]))
    if twice > float(np.finfo(np.float32).max):
        raise QuantError("a scale beyond half of float32", hint="rescale the tensor")
    return twice


def _pairs(function: Callable[[Ints, Ints], Ints], first: Ints, second: Ints) -> Ints:
    return function(first[:, None], second[None, :]).reshape(-1)


@lru_cache(maxsize=_CACHED)
def _sum_table(a_q: Grid, b_q: Grid, out_q: Grid, activation: str, sign: int) -> Table:
    require_int8(a_q, b_q, out_q)
    twice = _twice_max(a_q, b_q)
    out_scale, out_zero = out_q.scalar()
    real = twice / float(2**20 * out_scale)
    _smaller_than_one(real, "ADD" if sign > 0 else "SUB")
    rescale = FixedRescale.of(real, out_zero, activation_limits(activation, out_q), "int8")
    # |x - zero| <= 255, so each summand is at most 255 * 2**19 and nothing overflows before the rescaling.
    total = _pairs(np.add, _common_scale(a_q, twice, 20), sign * _common_scale(b_q, twice, 20))
    return rescale.exact(total).astype(np.int8)


@lru_cache(maxsize=_CACHED)
def _mul_table(a_q: Grid, b_q: Grid, out_q: Grid, activation: str) -> Table:
    require_int8(a_q, b_q, out_q)
    (a_scale, a_zero), (b_scale, b_zero), (out_scale, out_zero) = a_q.scalar(), b_q.scalar(), out_q.scalar()
    with np.errstate(over="ignore", under="ignore"):
        real = float(a_scale * b_scale / out_scale)
    if not np.isfinite(real):
        raise QuantError("MUL with a ratio of scales beyond float32", hint="use a larger output scale")
    rescale = FixedRescale.of(real, out_zero, activation_limits(activation, out_q), "int8")
    product = _pairs(np.multiply, DOMAIN["int8"] - a_zero, DOMAIN["int8"] - b_zero)
    rescale.check(product, 2.0**31)
    return rescale.exact(product).astype(np.int8)


@lru_cache(maxsize=_CACHED)
def _squared_difference_table(a_q: Grid, b_q: Grid, out_q: Grid) -> Table:
    require_int8(a_q, b_q, out_q)
    twice = _twice_max(a_q, b_q)
    out_scale, out_zero = out_q.scalar()
    real = twice * twice / float(2**14 * out_scale)
    _smaller_than_one(real, "SQUARED_DIFFERENCE")
    rescale = FixedRescale.of(real, out_zero, out_q.limits, "int8")
    # |difference| <= 255 * 2**7, whose square is below 2**30.
    difference = _pairs(np.subtract, _common_scale(a_q, twice, 7), _common_scale(b_q, twice, 7))
    return rescale.exact(difference * difference).astype(np.int8)
