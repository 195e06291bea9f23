"""The float graph as the integer form wants it: attention as products and softmax, GELU and LayerNorm as ops."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Attention, Const, LayerNorm, MatMul, Mul, Softmax, Transpose
from edgevit.ir.types import DType
from edgevit.passes.base import Context, Reject, RewritePass, Rule
from edgevit.passes.canonicalize_views import CanonicalizeViews
from edgevit.passes.class_token import ClassToken
from edgevit.passes.common_subexpressions import CommonSubexpressions
from edgevit.passes.dead_code import DeadCode
from edgevit.passes.fold_constants import FoldConstants
from edgevit.passes.fold_scales import FoldScales
from edgevit.passes.hoist_slices import HoistSlices
from edgevit.passes.norm_affine import NormAffine
from edgevit.passes.pipeline import STANDARD, Pipeline
from edgevit.passes.sink_transposes import SinkTransposes
from edgevit.quant.config import QuantConfig
from edgevit.quant.constraints import INT8_POLICY, GridPolicy


class WriteOut(Rule):
    """attention -> matmul, scale, mask, softmax, matmul; the leading axes, heads among them, stay as they are."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, Attention):
            return None
        loc, rank = op.loc, op.k.type.rank
        keys = Transpose(op.k, (*range(rank - 2), rank - 1, rank - 2), loc=loc)
        scores: Op = MatMul(op.q, keys, loc=loc)
        if op.scale != 1.0:
            scores = Mul(scores, Const(np.array(op.scale, np.float32), loc=loc), loc=loc)
        if op.mask is not None:
            scores = Add(scores, op.mask, loc=loc)
        return MatMul(Softmax(scores, loc=loc), op.v, loc=loc)


@dataclass(frozen=True)
class DecomposeAttention(RewritePass):
    """Attention as batched products around a softmax."""

    NAME: ClassVar[str] = "decompose-attention"

    def rules(self) -> tuple[Rule, ...]:
        return (WriteOut(),)


class TakeAffine(Rule):
    """layer_norm(x) * gamma + beta -> layer_norm(x, gamma, beta), where no weight took them."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, Add) or not isinstance(op.rhs, Const) or not isinstance(op.lhs, Mul):
            return None
        product, norm = op.lhs, op.lhs.lhs
        if not isinstance(norm, LayerNorm) or norm.gamma is not None or not isinstance(product.rhs, Const):
            return None
        if op.rhs.shape != norm.shape[-1:] or product.rhs.shape != norm.shape[-1:]:
            return Reject(f"the affine {list(product.rhs.shape)}, {list(op.rhs.shape)} is not one by channel")
        if not context.single_use(product) or not context.single_use(norm):
            return Reject("the normalized value has other users")
        return replace(norm, gamma=product.rhs, beta=op.rhs)


@dataclass(frozen=True)
class JoinAffine(RewritePass):
    """Affine parts that ``fold-scales`` could not fold return to their LayerNorm."""

    NAME: ClassVar[str] = "join-affine"

    def rules(self) -> tuple[Rule, ...]:
        return (TakeAffine(),)


def float_passes() -> Pipeline:
    """From the frontend's graph to the one that is calibrated."""
    return Pipeline(
        (
            *STANDARD.passes,
            SinkTransposes(),
            CanonicalizeViews(),
            HoistSlices(),
            ClassToken(),
            NormAffine(),
            FoldScales(),
            FoldConstants(),
            JoinAffine(),
            DecomposeAttention(),
            CanonicalizeViews(),
            CommonSubexpressions(),
            DeadCode(),
        )
    )


def integer_policy(stream_bits: Literal[8, 16] = 16) -> GridPolicy:
    """Grids of the integer form: 8 bits, and ``stream_bits`` for the residual stream and the logits."""
    return replace(INT8_POLICY, stream=DType.I16 if stream_bits == 16 else None)


def integer_config(config: QuantConfig | None = None) -> QuantConfig:
    """``config`` with what suits integer kernels: weights per channel, which cost them nothing."""
    return (QuantConfig() if config is None else config).model_copy(update={"weights": "per-channel"})
