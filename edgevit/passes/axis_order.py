"""How an op is done before a transpose instead of after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from edgevit.ir.op import Op
from edgevit.ir.ops import (
    BatchNorm,
    Binary,
    Concat,
    Const,
    L2Normalize,
    LayerNorm,
    Linear,
    Pad,
    Reduce,
    RmsNorm,
    Slice,
    Softmax,
    Unary,
)
from edgevit.passes.base import Reject
from edgevit.passes.views import inverse

Perm = tuple[int, ...]
LAST_AXIS_OPS = (BatchNorm, L2Normalize, LayerNorm, Linear, RmsNorm, Softmax)
"""Ops that treat every position alike and work along the last axis."""


def order_of(op: Op, orders: Mapping[Op, Perm]) -> Perm | Reject | None:
    """The permutation that ``op`` can be done before, given those that its operands are the results of.

    None when no operand is transposed, or when the order of the axes means something to an op of this class.
    """
    if isinstance(op, (Binary, Concat)):
        return _common(op, orders)
    if isinstance(op, LAST_AXIS_OPS):
        perm = orders.get(op.x)
        if perm is not None and perm[-1] != len(perm) - 1:
            return Reject(f"it works along the last axis, which the transpose {list(perm)} takes from axis {perm[-1]}")
        return perm
    return orders.get(op.x) if isinstance(op, (Unary, Pad, Slice, Reduce)) else None


def done_before(op: Op, perm: Perm, source: Callable[[Op], Op]) -> tuple[Op, Perm]:
    """``op`` on operands as they are before the transpose by ``perm``, and the permutation that is left to do after it.

    ``source`` gives the transposed operands as they were, and the others themselves.
    """
    if isinstance(op, Binary):
        return type(op)(_aligned(op.lhs, perm, source), _aligned(op.rhs, perm, source), loc=op.loc), perm
    if isinstance(op, Concat):
        return Concat(tuple(_aligned(x, perm, source) for x in op.xs), perm[op.axis], loc=op.loc), perm
    assert isinstance(op, (Unary, Pad, Slice, Reduce, *LAST_AXIS_OPS))
    x, back = source(op.x), inverse(perm)
    if isinstance(op, Pad):
        return Pad(x, _pick(op.low, back), _pick(op.high, back), op.mode, op.value, loc=op.loc), perm
    if isinstance(op, Slice):
        return Slice(x, _pick(op.start, back), _pick(op.stop, back), _pick(op.step, back), loc=op.loc), perm
    if isinstance(op, Reduce):
        reduced = type(op)(x, tuple(sorted(perm[axis] for axis in op.axes)), op.keepdims, loc=op.loc)
        return reduced, perm if op.keepdims else _without(perm, op.axes)
    shape = (*x.shape[:-1], op.shape[-1]) if isinstance(op, LAST_AXIS_OPS) else x.shape
    return replace(op, x=x, type=op.type.with_shape(shape)), perm


def order_after(op: Op, perm: Perm) -> Perm:
    """The permutation that ``done_before`` leaves to do after ``op``."""
    return _without(perm, op.axes) if isinstance(op, Reduce) and not op.keepdims else perm


def _common(op: Binary | Concat, orders: Mapping[Op, Perm]) -> Perm | Reject | None:
    """The permutation that all operands are results of which are no constants."""
    rank = op.type.rank
    moving = [x for x in op.operands if not isinstance(x, Const) and x.type.size > 1]
    perms = {orders.get(x) if x.type.rank == rank else None for x in moving}
    found = sorted(perm for perm in perms if perm is not None)
    if not found:
        return None
    if len(perms) > 1:
        others = ", ".join(f"by {list(perm)}" for perm in found[1:]) or "not at all"
        return Reject(f"one operand is transposed by {list(found[0])}, another {others}")
    return found[0]


def _aligned(x: Op, perm: Perm, source: Callable[[Op], Op]) -> Op:
    """An operand before the transpose: what it was, or a constant rearranged. One number has no order."""
    if x.type.size == 1:
        return x
    if not isinstance(x, Const):
        return source(x)
    data = x.data.reshape((1,) * (len(perm) - x.type.rank) + x.shape)
    return Const(np.ascontiguousarray(data.transpose(inverse(perm))), loc=x.loc)


def _pick(values: tuple[int, ...], perm: Perm) -> tuple[int, ...]:
    return tuple(values[p] for p in perm)


def _without(perm: Perm, axes: tuple[int, ...]) -> Perm:
    """The permutation of the axes that are left when the result axes ``axes`` are gone."""
    kept = [perm[axis] for axis in range(len(perm)) if axis not in axes]
    return tuple(sorted(kept).index(axis) for axis in kept)
