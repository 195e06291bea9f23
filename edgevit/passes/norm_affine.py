"""`norm-affine`: the affine part of a normalization becomes a multiplication and an addition of its own.

Where linear layers follow, ``fold-scales`` then takes both into their weights, and nothing of gamma and beta is left to
compute.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from edgevit.ir.op import Op
from edgevit.ir.ops import Add, LayerNorm, Mul, RmsNorm
from edgevit.passes.base import Context, Reject, RewritePass, Rule


class SplitAffine(Rule):
    """norm(x, gamma, beta) -> norm(x) * gamma + beta."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, (LayerNorm, RmsNorm)) or op.gamma is None or op.beta is None:
            return None
        plain = replace(op, gamma=None, beta=None)
        return Add(Mul(plain, op.gamma, loc=op.loc), op.beta, loc=op.loc)


@dataclass(frozen=True)
class NormAffine(RewritePass):
    """Separate gamma and beta from layer_norm and rms_norm."""

    NAME: ClassVar[str] = "norm-affine"

    def rules(self) -> tuple[Rule, ...]:
        return (SplitAffine(),)
