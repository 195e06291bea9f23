"""FULLY_CONNECTED in int8, with constant weights or with an activation as weights.

Integer products go through the floating-point BLAS. With |x| <= X and integer terms, every partial sum, in any order,
fused or not, is an integer of magnitude at most B = X * max over outputs of sum |w|; below 2**24 (float32) or 2**53
(float64) all of these are exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit.errors import QuantError

from .grid import Grid, activation_limits, require_int8
from .rescale import BLOCK, DoubleRescale, Rescale, rescale_into

Array = NDArray[Any]


def product_scale(x_q: Grid, weights_q: Grid, out_q: Grid) -> NDArray[np.float64]:
    """scale_x * scale_w / scale_out, in double from the start; shape (1,) or (channels,)."""
    weight_scale = np.array(weights_q.scale, dtype=np.float64)
    product: NDArray[np.float64] = np.float64(x_q.scalar()[0]) * weight_scale / np.float64(out_q.scalar()[0])
    return product


def float_type(bound: float) -> np.dtype[Any]:
    """The narrowest float in which all integers up to ``bound`` are exact. Raises QuantError where there is none."""
    if bound < 2**24:
        return np.dtype(np.float32)
    if bound < 2**53:
        return np.dtype(np.float64)
    raise QuantError(f"accumulators up to {bound:.3g}", hint="TFLite accumulates in 32 bits")


def affine_product(x: Array, weights: Array, constant: Array, rescale: Rescale) -> Array:
    """Rescaled ``x @ weights.T + constant``: x (rows, K) int8, weights (units, K) integers, constant (units,) int64
    -> (rows, units).

    Raises QuantError where a 32-bit accumulator would overflow.
    """
    wide = weights.astype(np.float64)
    bound = float(128 * np.abs(wide).sum(axis=1).max(initial=0) + np.abs(constant).max(initial=0))
    kind = float_type(bound)
    right: Array = np.ascontiguousarray(wide.T.astype(kind))
    addend: Array = constant.astype(kind)
    rows, units = x.shape[0], weights.shape[0]
    out = np.empty((rows, units), dtype=rescale.dtype)
    step = max(64, BLOCK // max(units, 1))
    for start in range(0, rows, step):
        part = slice(start, start + step)
        acc: Array = x[part].astype(kind) @ right
        acc += addend
        rescale_into(out[part], acc, rescale, bound)
    return out


def fully_connected(
    x: Array,
    weights: Array,
    bias: Array | None,
    *,
    x_q: Grid,
    weights_q: Grid,
    out_q: Grid,
    activation: str = "NONE",
    keep_num_dims: bool = False,
) -> Array:
    """x (S, ..., K), weights (units, K) or, as an activation, (S or 1, units, K), bias (units,) int32 -> (S, rows,
    units).

    With ``keep_num_dims`` the axes of x before K are kept, otherwise they (or whatever makes up rows of K) are
    merged. Per-channel weights need zero points of 0. Other than all other kernels, this one multiplies by a double
    and rounds once. Raises QuantError for grids that TFLite refuses and for overflowing accumulators.
    """
    require_int8(x_q, weights_q, out_q)
    if len(weights_q.scale) > 1 and any(weights_q.zero_point):
        raise QuantError("per-channel weights with a zero point", hint="per-channel weights are symmetric")
    _, x_zero = x_q.scalar()
    weights_zero = weights_q.zero_point[0]
    scale = product_scale(x_q, weights_q, out_q)
    limits = activation_limits(activation, out_q)
    rescale = DoubleRescale(out_q.scalar()[1], *limits, out_q.dtype, tuple(scale.tolist()))
    units, depth = weights.shape[-2:]
    samples = x.shape[0]
    lead = x.shape[1:-1] if keep_num_dims else (x[0].size // depth,)
    addend = np.zeros(units, dtype=np.int64) if bias is None else bias.astype(np.int64)
    if weights.ndim == 2 or weights.shape[0] == 1:
        centred = weights.reshape(units, depth).astype(np.int64) - weights_zero
        constant = addend - x_zero * centred.sum(axis=1)
        out = affine_product(x.reshape(-1, depth), centred, constant, rescale)
        return out.reshape(samples, *lead, units)
    if samples == 1:
        x, samples = np.broadcast_to(x, (weights.shape[0], *x.shape[1:])), weights.shape[0]
    out = _batched(x.reshape(samples, -1, depth), x_zero, weights, weights_zero, addend, rescale)
    return out.reshape(samples, *lead, units)


def _batched(x: Array, x_zero: int, weights: Array, weights_zero: int, addend: Array, rescale: Rescale) -> Array:
    """Each sample times its own weights: x (S, rows, K), weights (S, units, K) -> (S, rows, units)."""
    samples, rows, depth = x.shape
    units = weights.shape[1]
    # |x - x_zero| <= max over the grid; the same for the weights; K terms each.
    terms = float(depth * max(x_zero + 128, 127 - x_zero, 1) * max(weights_zero + 128, 127 - weights_zero, 1))
    bound = terms + float(np.abs(addend).max(initial=0))
    kind = float_type(bound)
    out = np.empty((samples, rows, units), dtype=rescale.dtype)
    step = max(1, BLOCK // max(rows * units, rows * depth, 1))
    constant = addend.astype(kind)
    for start in range(0, samples, step):
        part = slice(start, start + step)
        left: Array = x[part].astype(kind)
        left -= x_zero
        right: Array = weights[part].astype(kind)
        right -= weights_zero
        acc: Array = left @ right.transpose(0, 2, 1)
        acc += constant
        rescale_into(out[part], acc, rescale, bound)
    return out
