"""What rules ask about constants and operands, in one place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgevit.ir.op import Op, same_attributes
from edgevit.ir.ops import Binary, Const, Input, Reduce, Reshape
from edgevit.ir.types import DType

Real = NDArray[np.float64]


def real(op: Op | None) -> Real | None:
    """The numbers of a float constant in double precision, or None for anything else."""
    if isinstance(op, Const) and op.type.dtype is DType.F32 and op.type.quant is None:
        return op.data.astype(np.float64)
    return None


def scalar(op: Op | None) -> float | None:
    """The number that a float constant holds in all its elements, or None for anything else."""
    data = real(op)
    if data is None or not data.size or (data != data.flat[0]).any():
        return None
    return float(data.flat[0])


def constant(data: Real, loc: str) -> Const:
    """A float constant of the given numbers."""
    return Const(np.ascontiguousarray(data, np.float32), loc=loc)


def fits_f32(data: Real) -> bool:
    """Whether all numbers stay finite when they are stored in single precision."""
    return bool(np.all(np.abs(data) <= np.finfo(np.float32).max))


def either_order(op: Binary) -> Iterator[tuple[Op, Op]]:
    """The two operands in both orders, for commutative ops."""
    yield op.lhs, op.rhs
    yield op.rhs, op.lhs


def full_rank(data: Real, rank: int) -> Real:
    """The array with leading axes of size 1 up to ``rank``, as broadcasting sees it."""
    return data.reshape((1,) * (rank - data.ndim) + data.shape)


def compressed(data: Real) -> Real:
    """The array with every axis on which it does not change cut down to size 1."""
    for axis in range(data.ndim):
        first = data.take([0], axis)
        if data.shape[axis] > 1 and (data == first).all():
            data = first
    return data


def same_value(a: Op, b: Op, depth: int = 4) -> bool:
    """Whether two ops compute the same number by the same ops, compared down to ``depth`` operands."""
    if a is b:
        return True
    if depth == 0 or isinstance(a, Input) or a.type != b.type or not same_attributes(a, b):
        return False
    pairs = zip(a.operands, b.operands, strict=True) if len(a.operands) == len(b.operands) else None
    return pairs is not None and all(same_value(x, y, depth - 1) for x, y in pairs)


def kept_reduction(op: Op) -> Reduce | None:
    """The reduction behind ``op`` whose axes stay as size 1: by ``keepdims``, or by a reshape that puts them back."""
    if isinstance(op, Reduce) and op.keepdims:
        return op
    if isinstance(op, Reshape) and isinstance(op.x, Reduce) and not op.x.keepdims:
        reduction = op.x
        shape = tuple(1 if axis in reduction.axes else size for axis, size in enumerate(reduction.x.shape))
        if shape == op.shape:
            return reduction
    return None
