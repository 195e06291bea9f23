"""``fold-scales``: constants that multiply or shift channels go into the weights nearby, or the scale of attention."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Attention, Const, Conv2d, Linear, Mul, ReduceMean, Reshape, Slice, Transpose
from edgevit.passes.affine import Affine, ViewOp, into_producer, replay, scale_input
from edgevit.passes.base import Context, Reject, RewritePass, Rule
from edgevit.passes.match import constant, fits_f32, scalar


class IntoProducer(Rule):
    """LayerScale, or any constant on the channels of a linear's or conv2d's result."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        affine = Affine.of(op)
        return None if affine is None else into_producer(op.operands[0], affine, context)


class IntoConsumer(Rule):
    """A constant on the channels that a linear or conv2d reads, such as the affine before a mixing layer."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, (Linear, Conv2d)):
            return None
        path, source = views_above(op.x, context)
        affine = Affine.of(source)
        if affine is None:
            return None
        if not context.single_use(source):
            return Reject(f"the {source.NAME} before it has {context.uses[source]} uses")
        for view in reversed(path):
            moved = affine.after(view)
            if moved is None:
                return Reject(f"the constant of the {source.NAME} changes along an axis of the {view.NAME} after it")
            affine = moved
        return scale_input(op, replay(path, source.operands[0]), affine)


class PastShift(Rule):
    """``x * a + b`` before a conv2d with padding becomes ``(x + b / a) * a``: it can take ``a``, though not ``b``."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, Conv2d) or not any(op.padding) or not isinstance(op.x, Add):
            return None
        shift, product = op.x, op.x.lhs
        first = Affine.of(product)
        second = Affine.of(shift)
        if not isinstance(product, Mul) or first is None or second is None:
            return None
        if not context.single_use(shift) or not context.single_use(product):
            return Reject("the mul and the add before it have other users")
        if not first.scale.all():
            return Reject("it is scaled by zero, which no earlier shift can make up for")
        earlier = second.shift / first.scale
        if earlier.size > product.rhs.type.size + shift.rhs.type.size or not fits_f32(earlier):
            return Reject("the shift before the scale is larger than both, or overflows single precision")
        x = Add(product.lhs, constant(earlier, shift.rhs.loc), loc=shift.loc)
        return scale_input(op, x, first)


class IntoAttention(Rule):
    """One number that multiplies the queries or the keys of an attention op."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, Attention):
            return None
        for name in ("q", "k"):
            path, source = views_above(getattr(op, name), context)
            if not isinstance(source, Mul) or isinstance(source.lhs, Const) or source.lhs.shape != source.shape:
                continue
            if not isinstance(source.rhs, Const):
                continue
            factor = scalar(source.rhs)
            if factor is None:
                return Reject(f"{name} is multiplied by a constant with different elements")
            if not context.single_use(source):
                return Reject(f"the mul before {name} has {context.uses[source]} uses")
            return replace(op, **{name: replay(path, source.lhs)}, scale=op.scale * factor)  # type: ignore[arg-type]
        return None


def views_above(x: Op, context: Context) -> tuple[list[ViewOp], Op]:
    """The views of single use that lead down to ``x``, the last one first, and the op that they begin with."""
    path: list[ViewOp] = []
    while isinstance(x, (Reshape, Transpose, Slice, ReduceMean)) and context.single_use(x):
        path.append(x)
        x = x.x
    return path, x


@dataclass(frozen=True)
class FoldScales(RewritePass):
    """Constants stand on the right, as ``fold-constants`` leaves them."""

    NAME: ClassVar[str] = "fold-scales"

    def rules(self) -> tuple[Rule, ...]:
        return IntoAttention(), IntoProducer(), IntoConsumer(), PastShift()
