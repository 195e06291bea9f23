"""Shiftmax of I-ViT with its normalisation repaired: the normative meaning.

The exponential is still I-ViT's: shifts, log2 e near 1.4375 and 2**(-t) near 2**(-q) (1 - t / 2). With d <= 0 the
difference of a score to the largest of its row, at scale S:

    x0 = -round(2**f / S)                          f the fewest bits with 2**f / S >= 256
    t = D + (D >> 1) - (D >> 4),  D = d 2**f
    q = floor(t / x0),  r = t - q x0
    e = floor((r - 2 x0) 2**n / 2**min(q + 1, 31)) n the most bits with max(length, 2) |x0| 2**n < 2**31
    F = floor(unit 2**40 / T),  T = sum e
    C_i = floor((F sum_{j <= i} e_j + 2**39) / 2**40),  out_i = C_i - C_(i-1)

What is repaired, against ``ivit``: (1) mass: the running sum is rounded to nearest and differenced, so every row sums
to ``unit`` exactly, whatever its length, and an element is off by less than one unit; (2) the sum cannot overflow or
saturate; (3) x0 is within 0.2 % of -1 / S; (4) exponentials fall to 0 instead of staying at 2**-n; (5) probability
1 is the integer ``unit`` itself (255 in u8), so nothing clamps and no bit is spent on a sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

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
from edgevit_kernels.widths import round_half_up

SHIFT = 40
"""Fraction bits of the reciprocal; T < 2**31 makes the last running sum round to the unit exactly."""


@dataclass(frozen=True)
class Params(SoftmaxParams):
    """Integers of the repaired Shiftmax."""

    x0: int
    """-1 at the scale S / 2**fraction."""
    fraction: int
    """Bits appended to a score."""
    n: int
    """Bits appended to a mantissa."""
    unit: int
    """The result that stands for probability 1."""


def prepare(scale: float | Fraction, length: int, *, score_bits: int = 8, unit: int = 255) -> Params:
    """Parameters for scores of ``score_bits`` bits at ``scale`` in rows of at most ``length`` elements."""
    exact = checked_scale("ivit_repaired", scale, length, score_bits)
    check_unit("ivit_repaired", unit)
    fraction = max(0, (256 * exact).__ceil__() - 1).bit_length()
    x0 = -round_half_up(2**fraction / exact)
    params = Params(
        length=length,
        score_bits=score_bits,
        output_scale=Fraction(1, unit),
        output_zero_point=0,
        output_limits=(0, unit),
        x0=x0,
        fraction=fraction,
        n=31 - (max(length, 2) * -x0).bit_length(),
        unit=unit,
    )
    require_fit("ivit_repaired", exact, bounds(params), "use a larger score scale or shorter rows")
    return params


def trace(x: Sequence[int], p: Params) -> Trace:
    """Every stage of a row, by name."""
    check_row(x, p)
    top = max(x)
    difference = [score - top for score in x]
    finer = [d << p.fraction for d in difference]
    octaves = [d + (d >> 1) - (d >> 4) for d in finer]
    quotient = [t // p.x0 for t in octaves]
    remainder = [t - p.x0 * q for t, q in zip(octaves, quotient, strict=True)]
    mantissa = [r - 2 * p.x0 for r in remainder]
    shifted = [m << p.n for m in mantissa]
    exponential = [s >> min(q + 1, 31) for s, q in zip(shifted, quotient, strict=True)]
    running_sum = list(accumulate(exponential))
    reciprocal = (p.unit << SHIFT) // running_sum[-1]
    product = [s * reciprocal + 2 ** (SHIFT - 1) for s in running_sum]
    running_mass = [v >> SHIFT for v in product]
    return {
        "difference": difference,
        "finer": finer,
        "octaves": octaves,
        "quotient": quotient,
        "remainder": remainder,
        "mantissa": mantissa,
        "shifted": shifted,
        "exponential": exponential,
        "running sum": running_sum,
        "reciprocal": [reciprocal],
        "product": product,
        "running mass": running_mass,
        "output": [after - before for before, after in pairwise([0, *running_mass])],
    }


def apply(x: Sequence[int], p: Params) -> list[int]:
    """Softmax of one row of scores, in [0, unit]; the results sum to unit."""
    return trace(x, p)["output"]


def bounds(p: Params) -> Bounds:
    """Interval and type of every stage of ``trace``.

    The product is at most unit 2**40 + 2**39, because a running sum is at most T.
    """
    lowest = -p.span << p.fraction
    octaves = lowest + (lowest >> 1) - (lowest >> 4)
    least = -p.x0 << p.n  # the exponential of the largest score is always in the sum
    return {
        "difference": Bound(-p.span, 0, "s32"),
        "finer": Bound(lowest, 0, "s32"),
        "octaves": Bound(octaves, 0, "s32"),
        "quotient": Bound(0, octaves // p.x0, "s32"),
        "remainder": Bound(p.x0 + 1, 0, "s32"),
        "mantissa": Bound(-p.x0, -2 * p.x0, "s32"),
        "shifted": Bound(0, -2 * p.x0 << p.n, "s32"),
        "exponential": Bound(0, least, "s32"),
        "running sum": Bound(0, p.length * least, "s32"),
        "reciprocal": Bound(1, (p.unit << SHIFT) // least, "s64"),
        "product": Bound(0, (p.unit << SHIFT) + 2 ** (SHIFT - 1), "s64"),
        "running mass": Bound(0, p.unit, "s32"),
        "output": Bound(0, p.unit, "u8" if p.unit <= 255 else "s16"),
    }
