"""i-softmax of I-BERT in 32 bits and with rounding: the normative meaning.

With d <= 0 the difference of a score to the largest of its row and e its exponential as ``softmax.exponential`` states
it:

    e15 = round(e 32767 / exp(0))                              dyadic, ties upwards
    F = floor(unit 2**s / T),  T = sum e15                     s the most bits with unit 2**s + 2**(s-1) < 2**31
    out = floor((e15 F + 2**(s-1)) / 2**s)                     at scale 1 / unit

What is repaired, against ``ibert``: (1) the exponential keeps 32 bits at every accepted scale; (2) the result is
rounded to nearest, from a reciprocal with enough bits, instead of floored twice; (3) the constants ln 2, b and c are
rounded at a finer scale; (4) probability 1 is the integer ``unit`` itself, so nothing clamps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit_kernels.softmax.contract import (
    Bound,
    Bounds,
    SoftmaxParams,
    Trace,
    check_row,
    check_unit,
    checked_scale,
    dyadic,
    require_fit,
)
from edgevit_kernels.softmax.exponential import IExp, bound_exponential, i_exp, trace_exponential
from edgevit_kernels.softmax.normalize import PEAK, bound_normalized, reciprocal_shift, trace_normalized


@dataclass(frozen=True)
class Params(SoftmaxParams):
    """Integers of the repaired i-softmax."""

    exponential: IExp
    multiplier: int
    """Of the requantization of an exponential to 15 bits, in [2**30, 2**31)."""
    shift: int
    unit: int
    """The result that stands for probability 1."""
    reciprocal_shift: int


def prepare(scale: float | Fraction, length: int, *, score_bits: int = 8, unit: int = 255) -> Params:
    """Parameters for scores of ``score_bits`` bits at ``scale`` in rows of at most ``length`` elements."""
    exact = checked_scale("ibert_repaired", scale, length, score_bits)
    check_unit("ibert_repaired", unit)
    exponential = i_exp(exact, terms=1)
    multiplier, shift = dyadic(Fraction(PEAK, exponential.peak))
    params = Params(
        length=length,
        score_bits=score_bits,
        output_scale=Fraction(1, unit),
        output_zero_point=0,
        output_limits=(0, unit),
        exponential=exponential,
        multiplier=multiplier,
        shift=shift,
        unit=unit,
        reciprocal_shift=reciprocal_shift(unit),
    )
    require_fit("ibert_repaired", exact, bounds(params), "use a larger score scale or shorter rows")
    return params


def trace(x: Sequence[int], p: Params) -> Trace:
    """Every stage of a row, by name."""
    check_row(x, p)
    top = max(x)
    difference = [score - top for score in x]
    stages = {"difference": difference, **trace_exponential(difference, p.exponential)}
    stages["narrowing"] = [e * p.multiplier + 2 ** (p.shift - 1) for e in stages["exponential"]]
    stages["narrow"] = [v >> p.shift for v in stages["narrowing"]]
    return {**stages, **trace_normalized(stages["narrow"], p.unit, p.reciprocal_shift)}


def apply(x: Sequence[int], p: Params) -> list[int]:
    """Softmax of one row of scores, in [0, unit]."""
    return trace(x, p)["output"]


def bounds(p: Params) -> Bounds:
    """Interval and type of every stage of ``trace``."""
    peak = p.exponential.peak
    return {
        "difference": Bound(-p.span, 0, "s32"),
        **bound_exponential(p.span, p.exponential),
        "narrowing": Bound(0, peak * p.multiplier + 2 ** (p.shift - 1), "s64"),
        "narrow": Bound(0, (peak * p.multiplier + 2 ** (p.shift - 1)) >> p.shift, "s16"),
        **bound_normalized(p.length, p.unit, p.reciprocal_shift),
    }
