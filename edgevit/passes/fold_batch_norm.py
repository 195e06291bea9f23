"""``fold-batch-norm``: batch normalization with fixed statistics is a scale and a shift, which weights can take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, BatchNorm, Conv2d, Linear, Mul
from edgevit.passes.affine import Affine, into_producer, scale_input
from edgevit.passes.base import Context, Reject, Rejection, RewritePass, Rule, sweep
from edgevit.passes.match import Real, constant, fits_f32, full_rank, real


def statistics(op: BatchNorm) -> tuple[Real, Real] | Reject:
    """Scale and shift of each channel: gamma / sqrt(var + eps), and beta - mean * scale."""
    gamma, beta, mean, var = (real(operand) for operand in (op.gamma, op.beta, op.mean, op.var))
    if gamma is None or beta is None or mean is None or var is None:
        return Reject("its statistics and affine parameters are not all constants")
    if np.any(var + op.eps <= 0):
        return Reject(f"a variance plus eps is not positive ({(var + op.eps).min():.3g})")
    scale = gamma / np.sqrt(var + op.eps)
    shift = beta - mean * scale
    if not fits_f32(scale) or not fits_f32(shift):
        return Reject("its scale or shift overflows single precision")
    return scale, shift


def affine_of(op: BatchNorm) -> Affine | Reject:
    """The same as an affine map on the last axis."""
    found = statistics(op)
    if isinstance(found, Reject):
        return found
    return Affine(full_rank(found[0], op.type.rank), full_rank(found[1], op.type.rank))


class IntoProducer(Rule):
    """Into the linear or conv2d before it."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, BatchNorm):
            return None
        affine = affine_of(op)
        return affine if isinstance(affine, Reject) else into_producer(op.x, affine, context)


class IntoConsumer(Rule):
    """Into the linear or conv2d after it, where nothing before it could take it."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, (Linear, Conv2d)) or not isinstance(op.x, BatchNorm):
            return None
        if not context.single_use(op.x):
            return Reject(f"the batch_norm before it has {context.uses[op.x]} uses")
        affine = affine_of(op.x)
        return affine if isinstance(affine, Reject) else scale_input(op, op.x.x, affine)


class IntoArithmetic(Rule):
    """As a mul and an add where neither neighbour takes it."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, BatchNorm):
            return None
        found = statistics(op)
        if isinstance(found, Reject):
            return found
        scaled = Mul(op.x, constant(found[0], op.gamma.loc), loc=op.loc)
        return Add(scaled, constant(found[1], op.beta.loc), loc=op.loc)


@dataclass(frozen=True)
class FoldBatchNorm(RewritePass):
    """First the neighbours that can take it, then arithmetic for what is left."""

    NAME: ClassVar[str] = "fold-batch-norm"

    def rules(self) -> tuple[Rule, ...]:
        return IntoProducer(), IntoConsumer()

    def run(self, graph: Graph) -> Graph:
        folded = super().run(graph)
        rewritten, fired, _ = sweep(folded, (IntoArithmetic(),))
        return rewritten if fired else folded

    def why(self, graph: Graph) -> tuple[Rejection, ...]:
        return sweep(super().run(graph), self.rules())[2]
