"""What follows an op and goes into its requantization: factors, bounds and changes of grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from edgevit.integer.scales import exact, grid, scale_of, zero_point_of
from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Clip, Const, Conv2d, Linear, MatMul, Mul, Quantize, Relu
from edgevit.ir.types import TensorType
from edgevit_kernels.matmul.spec import Operand

_PRODUCERS = (Linear, Conv2d, MatMul, Add)


@dataclass(frozen=True, eq=False)
class Tail:
    """``last`` is the op whose value the fused op has, ``absorbed`` the ops between the first, exclusive, and it.

    The value is ``factor`` times that of the first, limited to [low, high] where they are given.
    """

    last: Op
    absorbed: tuple[Op, ...] = ()
    factor: Fraction = Fraction(1)
    low: Fraction | None = None
    high: Fraction | None = None

    def limits(self, type: TensorType) -> tuple[int, int]:
        """The integers of ``type`` that the bounds admit."""
        lowest, highest = type.dtype.limits
        low = lowest if self.low is None else _on_grid(self.low, type)
        high = highest if self.high is None else _on_grid(self.high, type)
        return max(lowest, min(low, highest)), max(lowest, min(high, highest))

    def scaled(self, operand: Operand) -> Operand:
        """An operand of a product whose scale takes the factor."""
        return replace(operand, scale=tuple(scale * self.factor for scale in operand.scales))

    def is_relabelling(self, old: TensorType, new: TensorType) -> bool:
        """Whether the value is the old one in every integer, but for a constant shift of all of them."""
        same_step = self.factor * scale_of(old) == scale_of(new) and self.limits(new) == new.dtype.limits
        shift = old.dtype.limits[0] - new.dtype.limits[0]
        return same_step and old.dtype.bits == new.dtype.bits and zero_point_of(old) - zero_point_of(new) == shift

    def then(self, op: Op) -> Tail | None:
        """The tail with one more op, None for an op that cannot go into a requantization."""
        extended = replace(self, last=op, absorbed=(*self.absorbed, op))
        if isinstance(op, Quantize):
            return extended
        if isinstance(op, Relu):
            return extended.bounded(Fraction(0), None)
        if isinstance(op, Clip):
            return extended.bounded(Fraction(op.lo), Fraction(op.hi))
        factor = positive_factor(op)
        if factor is None:
            return None
        low, high = (None if bound is None else bound * factor for bound in (self.low, self.high))
        return replace(extended, factor=self.factor * factor, low=low, high=high)

    def bounded(self, low: Fraction, high: Fraction | None) -> Tail:
        """The tail with its value limited further."""
        lows = [bound for bound in (self.low, low) if bound is not None]
        highs = [bound for bound in (self.high, high) if bound is not None]
        return replace(self, low=max(lows), high=min(highs, default=None))


def positive_factor(op: Op) -> Fraction | None:
    """The positive constant that a quantized op multiplies another value of its own shape by."""
    if not isinstance(op, Mul):
        return None
    for constant, other in ((op.rhs, op.lhs), (op.lhs, op.rhs)):
        if isinstance(constant, Const) and constant.type.size == 1 and other.shape == op.shape:
            quant = grid(constant.type)
            factor = exact(quant.scale[0]) * (int(constant.data.ravel()[0]) - quant.zero_point[0])
            return factor if factor > 0 else None
    return None


def follow_tails(graph: Graph) -> Mapping[Op, Tail]:
    """The tail of every product and sum, and of every op that requantizes and is in no other op's tail."""
    tails: dict[Op, Tail] = {}
    absorbed: set[Op] = set()
    for op in graph.ops:
        if op in absorbed:
            continue
        tail: Tail | None = Tail(op)
        if not isinstance(op, _PRODUCERS):
            tail = Tail(op).then(op)
            if tail is None or op.type.quant is None:
                continue
            tail = replace(tail, absorbed=())
        assert tail is not None
        while graph.uses[tail.last] == 1 and graph.users[tail.last]:
            longer = tail.then(graph.users[tail.last][0])
            if longer is None:
                break
            tail = longer
        tails[op] = tail
        absorbed.update(tail.absorbed)
    return tails


def _on_grid(value: Fraction, type: TensorType) -> int:
    return (value / scale_of(type) + Fraction(1, 2)).__floor__() + zero_point_of(type)
