"""Shiftmax of I-ViT, as published: the normative meaning, defects included.

Source: Li & Gu, I-ViT, ICCV 2023 (arXiv 2207.01405), ShiftExp and Shiftmax, as in the released code. With d <= 0 the
difference of a score to the largest of its row, at scale S, and x0 = floor(-1 / S):

    t = max(d + (d >> 1) - (d >> 4), n x0)         d log2 e, with log2 e near 1.0111b = 1.4375
    q = floor(t / x0),  r = t - q x0               r in (x0, 0]
    e = floor((r / 2 - x0) 2**(n - q))             2**(-q) (1 + r S / 2), at scale S / 2**n
    T = min(sum e, 2**31 - 1),  F = floor((2**31 - 1) / T)
    out = floor(e F / 2**(32 - k))                 at scale 2**(1 - k)

The released PyTorch code has n = 15 and keeps the half of r / 2; the released TVM code has n = 16 and floors it.

Rounding: floor everywhere. Known defects, mended by ``ivit_repaired``: the floors of F and of the result lose mass; T
saturates where length * ceil(1 / S) reaches 2**(31 - n), which makes probabilities too large; x0 is off by up to S;
the tail ends at 2**-n instead of at 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import Literal

from edgevit_kernels.softmax.contract import Bound, Bounds, SoftmaxParams, Trace, check_row, checked_scale, require_fit

INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Params(SoftmaxParams):
    """Integers of Shiftmax."""

    x0: int
    """-1 at the scale of the scores, floored."""
    n: int
    """Largest power of two by which an exponential is below 1."""
    keeps_half: bool
    """Whether r / 2 keeps its half."""
    output_bits: int


def prepare(
    scale: float | Fraction,
    length: int,
    *,
    score_bits: int = 8,
    output_bits: Literal[8, 16] = 8,
    code: Literal["pytorch", "tvm"] = "pytorch",
) -> Params:
    """Parameters for scores of ``score_bits`` bits at ``scale`` in rows of at most ``length`` elements.

    QuantError for arguments outside the accepted range, in which every exponential keeps 32 bits.
    """
    exact = checked_scale("ivit", scale, length, score_bits)
    params = Params(
        length=length,
        score_bits=score_bits,
        output_scale=Fraction(1, 2 ** (output_bits - 1)),
        output_zero_point=0,
        output_limits=(0, 2 ** (output_bits - 1) - 1),
        x0=(-1 / exact).__floor__(),
        n=15 if code == "pytorch" else 16,
        keeps_half=code == "pytorch",
        output_bits=output_bits,
    )
    require_fit("ivit", exact, bounds(params), "requantize the scores to a larger scale, or use the form ivit_repaired")
    return params


def trace(x: Sequence[int], p: Params) -> Trace:
    """Every stage of a row, by name."""
    check_row(x, p)
    top = max(x)
    difference = [score - top for score in x]
    octaves = [d + (d >> 1) - (d >> 4) for d in difference]
    clamped = [max(t, p.n * p.x0) for t in octaves]
    quotient = [t // p.x0 for t in clamped]
    remainder = [t - p.x0 * q for t, q in zip(clamped, quotient, strict=True)]
    # Twice r / 2 - x0; without its last bit where the code floors r / 2.
    mantissa = [(r if p.keeps_half else r & ~1) - 2 * p.x0 for r in remainder]
    shifted = [m << (p.n - q) for m, q in zip(mantissa, quotient, strict=True)]
    exponential = [s >> 1 for s in shifted]
    partial_sum = list(accumulate(exponential, lambda total, e: min(total, INT32_MAX) + e))
    total = min(partial_sum[-1], INT32_MAX)
    reciprocal = INT32_MAX // total
    product = [e * reciprocal for e in exponential]
    return {
        "difference": difference,
        "octaves": octaves,
        "clamped": clamped,
        "quotient": quotient,
        "remainder": remainder,
        "mantissa": mantissa,
        "shifted": shifted,
        "exponential": exponential,
        "partial sum": partial_sum,
        "total": [total],
        "reciprocal": [reciprocal],
        "product": product,
        "output": [v >> (32 - p.output_bits) for v in product],
    }


def apply(x: Sequence[int], p: Params) -> list[int]:
    """Softmax of one row of scores, in [0, 2**(k - 1) - 1]."""
    return trace(x, p)["output"]


def bounds(p: Params) -> Bounds:
    """Interval and type of every stage of ``trace``.

    d + (d >> 1) - (d >> 4) never falls as d grows, so its ends are those of d. The product stays below 2**31 because
    every exponential is at most T.
    """
    lowest = -p.span + (-p.span >> 1) - (-p.span >> 4)
    largest = -p.x0 << p.n
    least = -p.x0 << p.n  # the exponential of the largest score is always in the sum
    low = max(lowest, p.n * p.x0)
    return {
        "difference": Bound(-p.span, 0, "s32"),
        "octaves": Bound(lowest, 0, "s32"),
        "clamped": Bound(low, 0, "s32"),
        "quotient": Bound(0, p.n, "s32"),
        "remainder": Bound(p.x0 + 1, 0, "s32"),
        "mantissa": Bound(-p.x0, -2 * p.x0, "s32"),
        "shifted": Bound(0, 2 * largest, "u32"),
        "exponential": Bound(0, largest, "s32"),
        "partial sum": Bound(0, min(p.length * largest, INT32_MAX + largest), "u32"),
        "total": Bound(min(least, INT32_MAX), INT32_MAX, "s32"),
        "reciprocal": Bound(1, INT32_MAX // least, "s32"),
        "product": Bound(0, INT32_MAX, "s32"),
        "output": Bound(0, p.output_limits[1], "s8" if p.output_bits == 8 else "s16"),
    }
