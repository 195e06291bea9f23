"""Softmax by tables of exponentials and a fixed-point reciprocal: the normative meaning. edgevit's own form.

With D >= 0 the difference of the largest score of the row to a score, at scale S:

    e = near[D]                                                scores of 8 bits or fewer: one table of 2**bits entries
    e = floor((far[D >> 8] near[D & 255] + 2**14) / 2**15)     wider scores: two tables, 2**(bits - 8) and 256 entries
    F = floor(unit 2**s / T),  T = sum e                       ``softmax.normalize``, one 32-bit division a row
    out = floor((e F + 2**(s-1)) / 2**s)                       at scale 1 / unit

    one table:   near[i] = round(32767 exp(-i S))
    two tables:  near[i] = round(2**15 exp(-i S)),  far[i] = round(32767 exp(-256 i S))

The entries are rounded to nearest from 50 decimal digits, hence the same on every machine. An element costs a lookup, a
multiplication, an addition and a shift in 32 bits (a lookup, a multiplication and a shift more for wide scores).

``exponentials`` is the same without the division, with entries up to ``peak``: a fused attention takes peak = 255, uses
the exponentials as unsigned 8-bit weights of the values and divides the accumulators of a row by T. The largest weight
of a row then always is 255, no mass is lost at any length, and an element costs the lookup alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

from edgevit.errors import QuantError
from edgevit_kernels.softmax.contract import (
    Bound,
    Bounds,
    SoftmaxParams,
    Trace,
    check_row,
    check_unit,
    checked_scale,
    require_fit,
)
from edgevit_kernels.softmax.normalize import PEAK, bound_normalized, reciprocal_shift, trace_normalized

ONE = 2**15
"""Entry 0 of the near table when there are two."""


@dataclass(frozen=True)
class Params(SoftmaxParams):
    """Tables and integers of the form."""

    near: tuple[int, ...]
    far: tuple[int, ...]
    """Empty where the near table spans all differences."""
    unit: int
    """The result that stands for probability 1."""
    reciprocal_shift: int


def exponential_table(scale: Fraction, entries: int, peak: int) -> tuple[int, ...]:
    """round(peak exp(-i scale)) for i below ``entries``, from 50 decimal digits."""
    with localcontext() as context:
        context.prec = 50
        step = Decimal(scale.numerator) / Decimal(scale.denominator)
        values = ((-step * i).exp() * peak for i in range(entries))
        return tuple(int(value.to_integral_value(ROUND_HALF_EVEN)) for value in values)


def prepare(scale: float | Fraction, length: int, *, score_bits: int = 8, unit: int = 255, peak: int = PEAK) -> Params:
    """Parameters for scores of ``score_bits`` bits at ``scale`` in rows of at most ``length`` elements.

    ``peak`` is the exponential of the largest score: 32767, or 255 for ``exponentials`` with scores of at most 8 bits.
    """
    exact = checked_scale("table", scale, length, score_bits)
    check_unit("table", unit)
    if not (peak == PEAK or (peak == 255 and score_bits <= 8)):
        raise QuantError(
            f"exponentials up to {peak} for scores of {score_bits} bits",
            where="softmax form 'table'",
            hint="peak is 32767, or 255 for scores of at most 8 bits",
        )
    wide = score_bits > 8
    params = Params(
        length=length,
        score_bits=score_bits,
        output_scale=Fraction(1, unit),
        output_zero_point=0,
        output_limits=(0, unit),
        near=exponential_table(exact, 256, ONE) if wide else exponential_table(exact, 2**score_bits, peak),
        far=exponential_table(256 * exact, 2 ** (score_bits - 8), peak) if wide else (),
        unit=unit,
        reciprocal_shift=reciprocal_shift(unit),
    )
    require_fit("table", exact, bounds(params), "use shorter rows")
    return params


def trace_exponentials(x: Sequence[int], p: Params) -> Trace:
    """Stages of a row up to its exponentials, by name."""
    check_row(x, p)
    top = max(x)
    difference = [top - score for score in x]
    if not p.far:
        return {"difference": difference, "exponential": [p.near[d] for d in difference]}
    product = [p.far[d >> 8] * p.near[d & 255] + ONE // 2 for d in difference]
    return {"difference": difference, "product of entries": product, "exponential": [v >> 15 for v in product]}


def trace(x: Sequence[int], p: Params) -> Trace:
    """Every stage of a row, by name."""
    stages = trace_exponentials(x, p)
    return {**stages, **trace_normalized(stages["exponential"], p.unit, p.reciprocal_shift)}


def exponentials(x: Sequence[int], p: Params) -> tuple[list[int], int]:
    """Exponentials of one row of scores and their sum; the largest score has the largest entry."""
    values = trace_exponentials(x, p)["exponential"]
    return values, sum(values)


def apply(x: Sequence[int], p: Params) -> list[int]:
    """Softmax of one row of scores, in [0, unit]."""
    return trace(x, p)["output"]


def bounds(p: Params) -> Bounds:
    """Interval and type of every stage of ``trace``; no entry is above the first of its table."""
    stages = {"difference": Bound(0, p.span, "s32")}
    largest = p.near[0]
    if p.far:
        product = p.far[0] * p.near[0] + ONE // 2
        stages["product of entries"] = Bound(ONE // 2, product, "s32")
        largest = product >> 15
    return {
        **stages,
        "exponential": Bound(0, largest, "s16"),
        **bound_normalized(p.length, p.unit, p.reciprocal_shift, largest),
    }
