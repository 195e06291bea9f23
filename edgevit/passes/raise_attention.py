"""``raise-attention``: ``softmax(q @ k.T * scale + mask) @ v`` becomes attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Attention, Div, MatMul, Mul, Softmax, broadcast_shapes
from edgevit.passes.base import Context, Reject, RewritePass, Rule
from edgevit.passes.match import either_order, scalar
from edgevit.passes.views import transpose


class Product(Rule):
    """The product with the values completes the pattern. The scale may stand on the scores, the queries or the keys."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, MatMul) or not isinstance(op.lhs, Softmax):
            return None
        softmax = op.lhs
        if not context.single_use(softmax):
            return Reject(f"the softmax before it has {context.uses[softmax]} uses")
        found = _scores(softmax.x)
        if isinstance(found, Reject):
            return found
        scores, scale, mask = found
        q, before_q = _unscaled(scores.lhs)
        k_transposed, before_k = _unscaled(scores.rhs)
        lead = op.shape[:-2]
        for name, operand in (("q", q), ("k", k_transposed), ("v", op.rhs)):
            if operand.shape[:-2] != lead:
                return Reject(
                    f"the leading axes of {name} are {list(operand.shape[:-2])}, those of the result {list(lead)}"
                )
        if mask is not None and broadcast_shapes(mask.shape, scores.shape) != scores.shape:
            return Reject(f"the mask {list(mask.shape)} is larger than the scores {list(scores.shape)}")
        rank = k_transposed.type.rank
        k = transpose(k_transposed, (*range(rank - 2), rank - 1, rank - 2), k_transposed.loc)
        return Attention(q, k, op.rhs, mask, scale * before_q * before_k, loc=op.loc)


def _scores(op: Op) -> tuple[MatMul, float, Op | None] | Reject:
    """The matmul behind the operand of softmax, its factor, and what is added to it."""
    scores, scale = _unscaled(op)
    if isinstance(scores, MatMul):
        return scores, scale, None
    if not isinstance(scores, Add):
        return Reject(f"its softmax is of {scores.NAME}, not of a matmul")
    if scale != 1:
        return Reject("the scores are scaled after the mask")
    for left, right in either_order(scores):
        masked = _scores(left)
        if isinstance(masked, Reject):
            continue
        product, scale, mask = masked
        return product, scale, right if mask is None else Add(mask, right, loc=scores.loc)
    return Reject("neither side of the add before its softmax is a matmul")


def _unscaled(op: Op) -> tuple[Op, float]:
    """The op below multiplications and divisions by one number, and their factor."""
    factor = 1.0
    while isinstance(op, (Mul, Div)):
        number = scalar(op.rhs)
        if number is not None and isinstance(op, Div) and number != 0 and op.lhs.shape == op.shape:
            op, factor = op.lhs, factor / number
        elif number is not None and isinstance(op, Mul) and op.lhs.shape == op.shape:
            op, factor = op.lhs, factor * number
        elif isinstance(op, Mul) and (number := scalar(op.lhs)) is not None and op.rhs.shape == op.shape:
            op, factor = op.rhs, factor * number
        else:
            break
    return op, factor


@dataclass(frozen=True)
class RaiseAttention(RewritePass):
    """The keys come transposed; the transpose that undoes it cancels in ``canonicalize-views``."""

    NAME: ClassVar[str] = "raise-attention"

    def rules(self) -> tuple[Rule, ...]:
        return (Product(),)
