"""``fold-constants``: evaluate what is known, drop what does nothing, and merge neighbouring constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgevit.ir.interp import evaluate_op
from edgevit.ir.op import Op
from edgevit.ir.ops import (
    Add,
    Broadcast,
    Concat,
    Const,
    Div,
    Maximum,
    Minimum,
    Mul,
    Pad,
    Pow,
    Reshape,
    Slice,
    Sub,
    Transpose,
)
from edgevit.passes.base import Context, Reject, RewritePass, Rule
from edgevit.passes.match import constant, fits_f32, real, scalar


@dataclass(frozen=True)
class Evaluate(Rule):
    """An op whose operands are all constants is one itself, unless that makes the model larger."""

    max_elements: int

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not op.operands or not all(isinstance(operand, Const) for operand in op.operands):
            return None
        if any(value.type.quant is not None for value in (op, *op.operands)):
            return None
        known = sum(operand.type.size for operand in op.operands)
        if op.type.size > max(known, self.max_elements):
            allowed = f"max_elements is {self.max_elements}"
            return Reject(f"its result has {op.type.size} elements, its constants {known}; {allowed}")
        with np.errstate(all="ignore"):
            data = evaluate_op(op, [operand.data for operand in op.operands if isinstance(operand, Const)])
        return Const(np.ascontiguousarray(np.broadcast_to(data, op.shape), op.type.dtype.numpy), loc=op.loc)


class ConstantRight(Rule):
    """The constant of a commutative op stands on the right."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if isinstance(op, (Add, Mul, Maximum, Minimum)) and isinstance(op.lhs, Const) and not isinstance(op.rhs, Const):
            return type(op)(op.rhs, op.lhs, type=op.type, loc=op.loc)
        return None


class Identity(Rule):
    """An op that gives back its operand."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        x = _unchanged(op)
        if x is None:
            return None
        if x.shape != op.shape:
            return Reject(f"it changes no number but broadcasts {list(x.shape)} to {list(op.shape)}")
        return x


def _unchanged(op: Op) -> Op | None:
    """The operand whose numbers ``op`` leaves as they are."""
    if isinstance(op, (Add, Sub)):
        return op.lhs if scalar(op.rhs) == 0 else None
    if isinstance(op, (Mul, Div, Pow)):
        return op.lhs if scalar(op.rhs) == 1 else None
    if isinstance(op, (Reshape, Broadcast)):
        return op.x if op.x.shape == op.to else None
    if isinstance(op, Transpose):
        return op.x if op.perm == tuple(range(len(op.perm))) else None
    if isinstance(op, Slice):
        return op.x if op.x.shape == op.shape else None
    if isinstance(op, Pad):
        return op.x if not any((*op.low, *op.high)) else None
    if isinstance(op, Concat):
        return op.xs[0] if len(op.xs) == 1 else None
    return None


class InverseOp(Rule):
    """``x - c`` is ``x + (-c)`` and ``x / c`` is ``x * (1 / c)``, so that later rules meet two ops and not four."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, (Sub, Div)) or isinstance(op.lhs, Const):
            return None
        data = real(op.rhs)
        if data is None:
            return None
        if isinstance(op, Sub):
            return Add(op.lhs, constant(-data, op.rhs.loc), loc=op.loc)
        if not np.all(data):
            return Reject("it divides by zero")
        with np.errstate(over="ignore"):
            inverse = 1 / data
        if not fits_f32(inverse):
            return Reject("the inverse of its divisor overflows single precision")
        return Mul(op.lhs, constant(inverse, op.rhs.loc), loc=op.loc)


@dataclass(frozen=True)
class Merge(Rule):
    """Two additions, or two multiplications, of constants in a row are one."""

    max_elements: int

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, (Add, Mul)) or type(op.lhs) is not type(op):
            return None
        inner = op.lhs
        first, second = real(inner.rhs), real(op.rhs)
        if first is None or second is None or isinstance(inner.lhs, Const):
            return None
        if not context.single_use(inner):
            return Reject(f"the {op.NAME} before it has {context.uses[inner]} uses")
        with np.errstate(over="ignore"):
            both = first + second if isinstance(op, Add) else first * second
        if both.size > max(first.size + second.size, self.max_elements):
            return Reject(f"the merged constant has {both.size} elements, the two have {first.size + second.size}")
        if not fits_f32(both) and fits_f32(first) and fits_f32(second):
            return Reject("the merged constant overflows single precision")
        return type(op)(inner.lhs, constant(both, op.rhs.loc), type=op.type, loc=op.loc)


@dataclass(frozen=True)
class FoldConstants(RewritePass):
    """``max_elements`` bounds a result that has more elements than its constants have together."""

    NAME: ClassVar[str] = "fold-constants"
    max_elements: int = 4096

    def rules(self) -> tuple[Rule, ...]:
        return Evaluate(self.max_elements), ConstantRight(), Identity(), InverseOp(), Merge(self.max_elements)
