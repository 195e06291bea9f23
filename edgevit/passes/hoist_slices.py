"""`hoist-slices`: rows that a later slice throws away are not computed.

A classifier reads the class token alone, so the last block's MLP and queries are needed for one row. A slice moves
before the op that it follows as long as that op treats the sliced axes row by row and has no other user.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from edgevit.errors import PassError
from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import (
    Attention,
    Binary,
    Clip,
    Const,
    Gelu,
    LayerNorm,
    Linear,
    Reshape,
    RmsNorm,
    Slice,
    Softmax,
    Transpose,
    Unary,
)
from edgevit.passes.base import Context, Reject, RewritePass, Rule, sweep
from edgevit.passes.common_subexpressions import CommonSubexpressions

_ROWWISE = (LayerNorm, RmsNorm, Linear, Softmax)
_POINTWISE = (Unary, Gelu, Clip)


class SliceBefore(Rule):
    """slice(op(x)) -> op(slice(x))."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, Slice):
            return None
        inner = op.x
        if not isinstance(inner, (*_ROWWISE, *_POINTWISE, Binary, Attention, Transpose, Reshape)):
            return None
        if not context.single_use(inner):
            return Reject(f"{inner.NAME} has other users that need all rows")
        if isinstance(inner, _ROWWISE) and not _whole(op, -1):
            return Reject(f"{inner.NAME} mixes the sliced last axis")
        if isinstance(inner, Attention):
            return _slice_queries(op, inner)
        if isinstance(inner, Transpose):
            order = [inner.perm.index(axis) for axis in range(op.type.rank)]
            start, stop, step = ([values[i] for i in order] for values in (op.start, op.stop, op.step))
            return Transpose(
                Slice(inner.x, tuple(start), tuple(stop), tuple(step), loc=inner.x.loc), inner.perm, loc=inner.loc
            )
        if isinstance(inner, Reshape):
            return _slice_prefix(op, inner)
        if isinstance(inner, Binary):
            return replace(inner, lhs=_sliced(inner.lhs, op), rhs=_sliced(inner.rhs, op), type=op.type)
        return replace(inner, x=_sliced(inner.x, op), type=op.type)


def _whole(op: Slice, axis: int) -> bool:
    return (op.start[axis], op.stop[axis], op.step[axis]) == (0, op.x.shape[axis], 1)


def _sliced(x: Op, by: Slice) -> Op:
    """The part of an operand that the sliced result needs. Axes of size 1 that broadcast, and those not sliced, stay
    whole.
    """
    offset = by.type.rank - x.type.rank
    bounds = [(0, size, 1) for size in x.shape]
    for axis, size in enumerate(x.shape):
        if not _whole(by, axis + offset) and size == by.x.shape[axis + offset]:
            bounds[axis] = (by.start[axis + offset], by.stop[axis + offset], by.step[axis + offset])
    if all(bound == (0, size, 1) for bound, size in zip(bounds, x.shape, strict=True)):
        return x
    if isinstance(x, Const):
        return Const(x.data[tuple(slice(*bound) for bound in bounds)].copy(), loc=x.loc)
    start, stop, step = zip(*bounds, strict=True)
    return Slice(x, start, stop, step, loc=x.loc)


def _slice_prefix(op: Slice, inner: Reshape) -> Op | Reject:
    """Through a reshape that leaves the sliced axes and all before them as they are."""
    kept = max((axis + 1 for axis in range(op.type.rank) if not _whole(op, axis)), default=0)
    x = inner.x
    if x.shape[:kept] != inner.to[:kept]:
        return Reject("the reshape changes the sliced axes")
    rest = x.shape[kept:]
    sliced = Slice(
        x,
        (*op.start[:kept], *(0 for _ in rest)),
        (*op.stop[:kept], *rest),
        (*op.step[:kept], *(1 for _ in rest)),
        loc=x.loc,
    )
    return Reshape(sliced, op.shape, loc=inner.loc)


def _slice_queries(op: Slice, inner: Attention) -> Op | Reject:
    rows = op.type.rank - 2
    if not all(_whole(op, axis) for axis in range(op.type.rank) if axis != rows):
        return Reject("only the query rows of attention can be sliced before it")
    if inner.mask is not None:
        return Reject("the attention has a mask")
    start, stop, step = ([0] * op.type.rank, list(inner.q.shape), [1] * op.type.rank)
    start[rows], stop[rows], step[rows] = op.start[rows], op.stop[rows], op.step[rows]
    return replace(inner, q=Slice(inner.q, tuple(start), tuple(stop), tuple(step), loc=inner.q.loc), type=op.type)


@dataclass(frozen=True)
class HoistSlices(RewritePass):
    """Move slices towards the inputs; equal slices that meet on the way are merged."""

    NAME: ClassVar[str] = "hoist-slices"

    def rules(self) -> tuple[Rule, ...]:
        return (SliceBefore(),)

    def run(self, graph: Graph) -> Graph:
        merge = CommonSubexpressions()
        # A slice passes at least one op in each sweep.
        sweeps = len(graph.ops) + 1
        for _ in range(sweeps):
            graph, fired, _ = sweep(graph, self.rules())
            graph = merge.run(graph)
            if not fired:
                return graph
        raise PassError(f"slices still move after {sweeps} sweeps", where=self.NAME)
