"""``raise-layer-norm``: layer normalization written out becomes the op, with the scale and shift after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Div, LayerNorm, Mul, Pow, ReduceMean, Rsqrt, Sqrt, Sub
from edgevit.passes.affine import Affine
from edgevit.passes.base import Context, Reject, RewritePass, Rule
from edgevit.passes.match import constant, either_order, fits_f32, kept_reduction, real, same_value, scalar


class Normalization(Rule):
    """(x - mean(x)) / sqrt(var(x) + eps) over the last axis; var is mean((x - mean)**2) or mean(x**2) - mean(x)**2."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        for centred, inside in _root_quotients(op):
            mean = kept_reduction(centred.rhs)
            if not isinstance(mean, ReduceMean) or not same_value(mean.x, centred.lhs):
                continue
            terms = list(either_order(inside)) if isinstance(inside, Add) else []
            found = [(rest, scalar(eps)) for rest, eps in terms if _is_variance(rest, centred, mean)]
            if not found:
                if _is_variance(inside, centred, mean):
                    return Reject("no eps is added to the variance")
                continue
            eps = found[0][1]
            if eps is None:
                return Reject("the eps that is added to the variance is no constant number")
            if mean.axes != (op.type.rank - 1,):
                return Reject(
                    f"the mean goes over axes {list(mean.axes)}, layer_norm over the last, {op.type.rank - 1}"
                )
            if eps <= 0:
                return Reject(f"eps {eps} is not positive")
            return LayerNorm(mean.x, eps=eps, loc=op.loc)
        return None


class AbsorbAffine(Rule):
    """A constant scale or shift of the last axis after layer_norm becomes its gamma or beta."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, (Add, Mul)):
            return None
        for norm, other in either_order(op):
            if not isinstance(norm, LayerNorm):
                continue
            affine = Affine.of(op if norm is op.lhs else type(op)(norm, other))
            if affine is None:
                continue
            if not context.single_use(norm):
                return Reject(f"the layer_norm before it has {context.uses[norm]} uses")
            channels = affine.channels(op.shape[-1])
            if isinstance(channels, Reject):
                return channels
            gamma = np.ones(op.shape[-1]) if norm.gamma is None else real(norm.gamma)
            beta = np.zeros(op.shape[-1]) if norm.beta is None else real(norm.beta)
            if gamma is None or beta is None:
                return Reject("gamma and beta of the layer_norm are no constants")
            scale, shift = channels
            gamma, beta = gamma * scale, beta * scale + shift
            if not fits_f32(gamma) or not fits_f32(beta):
                return Reject("gamma or beta overflows single precision")
            return LayerNorm(
                norm.x, constant(gamma, other.loc), constant(beta, other.loc), norm.eps, loc=norm.loc or op.loc
            )
        return None


def _root_quotients(op: Op) -> Iterator[tuple[Sub, Op]]:
    """(a - b, v) for each way in which ``op`` is (a - b) / sqrt(v)."""
    pairs: list[tuple[Op, Op | None]] = []
    if isinstance(op, Div):
        pairs = [(op.lhs, op.rhs.x if isinstance(op.rhs, Sqrt) else _power(op.rhs, 0.5))]
    elif isinstance(op, Mul):
        for factor, inverse in either_order(op):
            if isinstance(inverse, Rsqrt):
                pairs.append((factor, inverse.x))
            elif isinstance(inverse, Div) and scalar(inverse.lhs) == 1 and isinstance(inverse.rhs, Sqrt):
                pairs.append((factor, inverse.rhs.x))
            else:
                pairs.append((factor, _power(inverse, -0.5)))
    for difference, inside in pairs:
        if isinstance(difference, Sub) and inside is not None:
            yield difference, inside


def _power(op: Op, exponent: float) -> Op | None:
    """``x`` when ``op`` is x ** exponent."""
    return op.lhs if isinstance(op, Pow) and scalar(op.rhs) == exponent else None


def _square(op: Op) -> Op | None:
    """``x`` when ``op`` is x ** 2 or x * x."""
    if isinstance(op, Mul) and same_value(op.lhs, op.rhs):
        return op.lhs
    return _power(op, 2)


def _is_variance(op: Op, centred: Sub, mean: ReduceMean) -> bool:
    """Whether ``op`` is the variance of ``mean.x`` over the axes of ``mean``."""
    outer = kept_reduction(op)
    if isinstance(outer, ReduceMean) and outer.axes == mean.axes:
        base = _square(outer.x)
        return base is not None and same_value(base, centred)
    if not isinstance(op, Sub):
        return False
    of_squares, squared = kept_reduction(op.lhs), _square(op.rhs)
    if not isinstance(of_squares, ReduceMean) or of_squares.axes != mean.axes or squared is None:
        return False
    base = _square(of_squares.x)
    return base is not None and same_value(base, mean.x) and same_value(squared, centred.rhs)


@dataclass(frozen=True)
class RaiseLayerNorm(RewritePass):
    """The op's own variance is that of the centred values, the more exact of the two forms."""

    NAME: ClassVar[str] = "raise-layer-norm"

    def rules(self) -> tuple[Rule, ...]:
        return Normalization(), AbsorbAffine()
