"""`class-token`: constant tokens (class, distillation) become zero padding and one constant addition.

concat([cls, x]) = pad(x) + [cls, 0 ...]. The position embedding that usually follows is a constant addition too, so
that both become one. The Edge TPU concatenates a constant only when it is all zero, so this is also what makes the op
map there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Concat, Const, Pad
from edgevit.ir.types import DType
from edgevit.passes.base import Context, Reject, RewritePass, Rule


class PadInsteadOfConcat(Rule):
    """concat(constants, x, constants) -> add(pad(x), constant)."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, Concat) or not any(isinstance(x, Const) for x in op.xs):
            return None
        computed = [i for i, x in enumerate(op.xs) if not isinstance(x, Const)]
        if len(computed) != 1:
            return Reject(f"needs exactly one computed operand, got {len(computed)}")
        if op.type.dtype is not DType.F32:
            return Reject(f"needs float elements, got {op.type.dtype.value}")
        at = computed[0]
        x = op.xs[at]
        low, high = [0] * op.type.rank, [0] * op.type.rank
        low[op.axis] = sum(c.shape[op.axis] for c in op.xs[:at])
        high[op.axis] = sum(c.shape[op.axis] for c in op.xs[at + 1 :])
        parts = [c.data if isinstance(c, Const) else np.zeros(c.shape, np.float32) for c in op.xs]
        constant = Const(np.concatenate(parts, axis=op.axis).astype(np.float32), loc=op.loc)
        return Add(Pad(x, tuple(low), tuple(high), loc=op.loc), constant, loc=op.loc)


@dataclass(frozen=True)
class ClassToken(RewritePass):
    """Constant tokens as padding and a constant addition."""

    NAME: ClassVar[str] = "class-token"

    def rules(self) -> tuple[Rule, ...]:
        return (PadInsteadOfConcat(),)
