"""Evaluators that move elements. Axes are counted from the end, so that leading sample axes do not matter."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.errors import IRError
from edgevit.ir.interp import evaluates, evaluates_exactly
from edgevit.ir.ops import Broadcast, Concat, Dequantize, Gather, Pad, Quantize, Reshape, Slice, Transpose
from edgevit.ir.types import Array


def lead(array: Array, rank: int) -> tuple[int, ...]:
    """The leading (sample) axes of an array whose type has ``rank`` dimensions."""
    return array.shape[: array.ndim - rank]


@evaluates_exactly(Reshape)
def reshape(op: Reshape, operands: list[Array]) -> Array:
    """Same elements, another shape."""
    (x,) = operands
    return x.reshape((*lead(x, op.x.type.rank), *op.to))


@evaluates_exactly(Transpose)
def transpose(op: Transpose, operands: list[Array]) -> Array:
    """Axes permuted; sample axes stay in front."""
    (x,) = operands
    extra = x.ndim - len(op.perm)
    return np.transpose(x, (*range(extra), *(p + extra for p in op.perm)))


@evaluates_exactly(Concat)
def concat(op: Concat, operands: list[Array]) -> Array:
    """Operands joined along an axis. Raises IRError where quantized ones lie on different grids."""
    leads = [lead(array, x.type.rank) for array, x in zip(operands, op.xs, strict=True)]
    common = max(leads, key=len)
    full = [np.broadcast_to(array, (*common, *x.type.shape)) for array, x in zip(operands, op.xs, strict=True)]
    if op.type.quant is not None and any(x.type.quant != op.type.quant for x in op.xs):
        raise IRError("concat of values on different grids", where=op.loc, hint="requantize the operands to one grid")
    return np.concatenate(full, axis=op.axis - op.type.rank)


@evaluates_exactly(Slice)
def slice_(op: Slice, operands: list[Array]) -> Array:
    """start:stop:step of every axis."""
    (x,) = operands
    bounds = tuple(slice(*bound) for bound in zip(op.start, op.stop, op.step, strict=True))
    index: tuple[Any, ...] = (Ellipsis, *bounds)
    result: Array = x[index]
    return result


@evaluates_exactly(Pad)
def pad(op: Pad, operands: list[Array]) -> Array:
    """A constant (on the grid of the result) or the mirrored elements added on each side."""
    (x,) = operands
    widths = [(0, 0)] * (x.ndim - op.type.rank) + list(zip(op.low, op.high, strict=True))
    if op.mode == "reflect":
        return np.pad(x, widths, mode="reflect")
    value: float = op.value
    if op.type.quant is not None:
        scale, zero_point = float(op.type.quant.scale[0]), op.type.quant.zero_point[0]
        value = int(np.clip(round(op.value / scale) + zero_point, *op.type.dtype.limits))
    return np.pad(x, widths, constant_values=value)


@evaluates_exactly(Gather)
def gather(op: Gather, operands: list[Array]) -> Array:
    """Rows chosen by constant indices, negative ones counted from the end. Raises IRError for any other."""
    x, indices = operands
    if indices.ndim != op.indices.type.rank:
        raise IRError("gather with computed indices", where=op.loc, hint="only constant indices are supported")
    if indices.size and not -op.x.shape[op.axis] <= int(indices.min()) <= int(indices.max()) < op.x.shape[op.axis]:
        raise IRError(f"an index outside an axis of {op.x.shape[op.axis]}", where=op.loc)
    return np.take(x, indices.astype(np.int64), axis=op.axis + x.ndim - op.x.type.rank)


@evaluates_exactly(Broadcast)
def broadcast(op: Broadcast, operands: list[Array]) -> Array:
    """x repeated to the larger shape."""
    (x,) = operands
    extra = lead(x, op.x.type.rank)
    aligned = x.reshape((*extra, *(1,) * (len(op.to) - op.x.type.rank), *op.x.shape))
    return np.broadcast_to(aligned, (*extra, *op.to))


@evaluates(Quantize, Dequantize)
def real_identity(op: Quantize | Dequantize, operands: list[Array]) -> Array:
    """The real number does not change; the interpreter rounds to the grid of the result."""
    return operands[0].astype(np.float32) if op.type.quant is None else operands[0]
