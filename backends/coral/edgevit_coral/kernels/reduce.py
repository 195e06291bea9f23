"""MEAN, SUM and REDUCE_MAX in int8. ``axes`` refer to the file shape; the sample axis is never reduced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit.errors import QuantError
from edgevit_kernels.fixedpoint import ref

from .grid import Grid, require_int8
from .rescale import FixedRescale, rescale_all

Array = NDArray[Any]


def _resolve(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    """Axes of the array, without duplicates. Raises QuantError for an axis that is not there."""
    if any(not -rank <= axis < rank for axis in axes):
        raise QuantError(f"axes {tuple(axes)} of a tensor of rank {rank}", hint="axes lie in [-rank, rank)")
    return tuple(sorted({axis % rank + 1 for axis in axes}))


def _sum(x: Array, axes: tuple[int, ...], keep_dims: bool) -> NDArray[np.int32]:
    total: NDArray[np.int32] = np.sum(x, axis=axes, dtype=np.int32, keepdims=keep_dims)
    return total


def mean(x: Array, axes: Sequence[int], *, x_q: Grid, out_q: Grid, keep_dims: bool) -> Array:
    """MEAN: the sum over ``axes``, less n zero points, times a multiplier that 1 / n was folded into.

    With (m, s) the multiplier of scale_x / scale_out: k = min(floor(log2 n), 32, 31 + s), m' = floor(m 2**k / n), s'
    = s - k. TFLite's reference resolver takes this one path for every int8 MEAN, whatever the axes.
    """
    require_int8(x_q, out_q)
    resolved = _resolve(axes, x.ndim - 1)
    count = int(np.prod([x.shape[axis] for axis in resolved], dtype=np.int64))
    if count == 0:
        raise QuantError("MEAN of no elements", hint="every reduced axis has at least one element")
    multiplier, shift = (int(v) for v in ref.quantize_multiplier(float(x_q.scalar()[0]) / float(out_q.scalar()[0])))
    fold = min(count.bit_length() - 1, 32, 31 + shift)
    return _rescaled_sum(x, resolved, count, (multiplier << fold) // count, shift - fold, x_q, out_q, keep_dims)


def sum_(x: Array, axes: Sequence[int], *, x_q: Grid, out_q: Grid, keep_dims: bool) -> Array:
    """SUM over ``axes``, rescaled by scale_x / scale_out.

    The reference resolver of LiteRT 2.3.0 reads int8 as uint8 here and gives wrong numbers; this is what its
    reference function means, which its uint8 SUM on the grid moved by 128 confirms.
    """
    require_int8(x_q, out_q)
    resolved = _resolve(axes, x.ndim - 1)
    count = int(np.prod([x.shape[axis] for axis in resolved], dtype=np.int64))
    multiplier, shift = (int(v) for v in ref.quantize_multiplier(float(x_q.scalar()[0]) / float(out_q.scalar()[0])))
    return _rescaled_sum(x, resolved, count, multiplier, shift, x_q, out_q, keep_dims)


def _rescaled_sum(
    x: Array, axes: tuple[int, ...], count: int, multiplier: int, shift: int, x_q: Grid, out_q: Grid, keep_dims: bool
) -> Array:
    _, x_zero = x_q.scalar()
    if shift > 30 or count * 255 >= 2**31:
        raise QuantError(f"a reduction of {count} elements by 2**{shift}", hint="32-bit accumulators overflow there")
    rescale = FixedRescale(out_q.scalar()[1], *out_q.limits, "int8", (multiplier,), (shift,))
    acc = _sum(x, axes, keep_dims) - np.int32(x_zero * count)
    return rescale_all(acc, rescale, float(count * max(x_zero + 128, 127 - x_zero)))


def reduce_max(x: Array, axes: Sequence[int], *, keep_dims: bool) -> Array:
    """REDUCE_MAX of stored values; input and output have one grid."""
    greatest: Array = np.max(x, axis=_resolve(axes, x.ndim - 1), keepdims=keep_dims)
    return greatest
