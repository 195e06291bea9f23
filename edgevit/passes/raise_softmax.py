"""``raise-softmax``: ``exp(x) / sum(exp(x))``, with or without the subtracted maximum, becomes softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgevit.ir.op import Op
from edgevit.ir.ops import Div, Exp, Mul, Pow, ReduceMax, ReduceSum, Softmax, Sub
from edgevit.passes.base import Context, Reject, RewritePass, Rule
from edgevit.passes.match import either_order, kept_reduction, same_value, scalar


class Quotient(Rule):
    """exp(x) / sum(exp(x)) over the last axis, the division spelt as such or as a product with the inverse."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        for exponential, total in _quotients(op):
            reduction = kept_reduction(total)
            if not isinstance(exponential, Exp) or not isinstance(reduction, ReduceSum):
                continue
            if not same_value(reduction.x, exponential):
                continue
            rank = op.type.rank
            if reduction.axes != (rank - 1,):
                return Reject(f"the sum goes over axes {list(reduction.axes)}, softmax over the last, {rank - 1}")
            return Softmax(exponential.x, loc=op.loc)
        return None


class DropMaximum(Rule):
    """softmax(x - max(x)) is softmax(x), which subtracts the maximum itself."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, Softmax) or not isinstance(op.x, Sub):
            return None
        reduction = kept_reduction(op.x.rhs)
        if not isinstance(reduction, ReduceMax) or not same_value(reduction.x, op.x.lhs):
            return None
        if reduction.axes != (op.type.rank - 1,):
            return Reject(
                f"the maximum goes over axes {list(reduction.axes)}, softmax over the last, {op.type.rank - 1}"
            )
        return Softmax(op.x.lhs, loc=op.loc)


def _quotients(op: Op) -> list[tuple[Op, Op]]:
    """(numerator, denominator) for each way in which ``op`` is a quotient."""
    if isinstance(op, Div):
        return [(op.lhs, op.rhs)]
    if not isinstance(op, Mul):
        return []
    found: list[tuple[Op, Op]] = []
    for factor, inverse in either_order(op):
        if isinstance(inverse, Div) and scalar(inverse.lhs) == 1:
            found.append((factor, inverse.rhs))
        elif isinstance(inverse, Pow) and scalar(inverse.rhs) == -1:
            found.append((factor, inverse.lhs))
    return found


@dataclass(frozen=True)
class RaiseSoftmax(RewritePass):
    """The form without the maximum is raised too: it is the same number wherever it is finite."""

    NAME: ClassVar[str] = "raise-softmax"

    def rules(self) -> tuple[Rule, ...]:
        return Quotient(), DropMaximum()
