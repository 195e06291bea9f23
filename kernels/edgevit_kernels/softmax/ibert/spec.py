"""i-exp and i-softmax of I-BERT, as published: the normative meaning, defects included.

Source: Kim et al., I-BERT, ICML 2021 (arXiv 2101.01321), algorithms 2 (i-exp) and i-softmax, with the constants of the
released code. With d <= 0 the difference of a score to the largest of its row, at scale S, a = 0.35815147,
x0 = floor(-0.6931 / S), b = floor(0.96963238 / (a S)), c = floor(1 / (a S**2)), n = 30:

    t = max(d, n x0),  q = floor(t / x0),  r = t - q x0        r in (x0, 0]
    z = r (r + b) + c                                          exp(r S), at scale a S**2
    e = max(z, 0) 2**(n - q)                                   exp(d S), at scale a S**2 / 2**n
    e16 = e requantized to 16 bits                             dyadic, ties upwards; exp(0) gives 32767
    T = sum e16,  F = floor(2**32 / T)
    out = floor(e16 F / 2**(32 - k))                           at scale 2**-k

Known defect: c 2**30 is above 2**31 for every S up to 1 (6.0e10 at S = 0.223), so ``prepare`` refuses every scale
unless the exponential is allowed 64 bits, which is how the released code can be reproduced (it holds the exponential in
floating point). Its floors also lose mass. ``ibert_repaired`` mends both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from edgevit_kernels.softmax.contract import (
    Bound,
    Bounds,
    SoftmaxParams,
    Trace,
    check_row,
    checked_scale,
    dyadic,
    require_fit,
)

A, B, C = Fraction("0.35815147"), Fraction("0.96963238"), Fraction(1)
"""exp(x) on (-ln 2, 0], near A x**2 + B x + C."""
LN2 = Fraction("0.6931")
N = 30
PEAK = 2**15 - 1
"""exp(0) after the requantization to 16 bits."""


@dataclass(frozen=True)
class Params(SoftmaxParams):
    """Integers of i-softmax."""

    x0: int
    """-ln 2 at the scale of the scores, floored."""
    b: int
    c: int
    multiplier: int
    """Of the requantization of an exponential to 16 bits, in [2**30, 2**31)."""
    shift: int
    exponential_type: str
    """Machine type of an exponential: s32, or s64 to follow the released code where 32 bits overflow."""
    output_bits: int


def prepare(
    scale: float | Fraction,
    length: int,
    *,
    score_bits: int = 8,
    output_bits: Literal[8, 16] = 8,
    exponential_bits: Literal[32, 64] = 32,
) -> Params:
    """Parameters for scores of ``score_bits`` bits at ``scale`` in rows of at most ``length`` elements.

    QuantError where an exponential, at most c 2**30, leaves ``exponential_bits``: with 32, at every accepted scale.
    """
    exact = checked_scale("ibert", scale, length, score_bits)
    c = (C / A / exact**2).__floor__()
    multiplier, shift = dyadic(Fraction(PEAK, c << N))
    params = Params(
        length=length,
        score_bits=score_bits,
        output_scale=Fraction(1, 2**output_bits),
        output_zero_point=0,
        output_limits=(0, 2**output_bits - 1),
        x0=(-LN2 / exact).__floor__(),
        b=(B / A / exact).__floor__(),
        c=c,
        multiplier=multiplier,
        shift=shift,
        exponential_type=f"s{exponential_bits}",
        output_bits=output_bits,
    )
    hint = "use the form ibert_repaired, or exponential_bits=64 to reproduce the published form on the host"
    require_fit("ibert", exact, bounds(params), hint)
    return params


def trace(x: Sequence[int], p: Params) -> Trace:
    """Every stage of a row, by name."""
    check_row(x, p)
    top = max(x)
    difference = [score - top for score in x]
    clamped = [max(d, N * p.x0) for d in difference]
    quotient = [t // p.x0 for t in clamped]
    remainder = [t - p.x0 * q for t, q in zip(clamped, quotient, strict=True)]
    polynomial = [max(r * (r + p.b) + p.c, 0) for r in remainder]
    exponential = [z << (N - q) for z, q in zip(polynomial, quotient, strict=True)]
    # Multiplying by 2**(N - q) and dividing by 2**shift is one shift: the product stays in 64 bits.
    product = [z * p.multiplier for z in polynomial]
    # A product is below 2**61 at every accepted scale, so a shift beyond 62 gives zero just as 62 does.
    by = [min(p.shift - N + q, 62) for q in quotient]
    narrow = [(v + 2 ** (s - 1)) >> s for v, s in zip(product, by, strict=True)]
    total = sum(narrow)
    reciprocal = 2**32 // total
    scaled = [e * reciprocal for e in narrow]
    return {
        "difference": difference,
        "clamped": clamped,
        "quotient": quotient,
        "remainder": remainder,
        "polynomial": polynomial,
        "exponential": exponential,
        "product": product,
        "narrow": narrow,
        "total": [total],
        "reciprocal": [reciprocal],
        "scaled": scaled,
        "output": [v >> (32 - p.output_bits) for v in scaled],
    }


def apply(x: Sequence[int], p: Params) -> list[int]:
    """Softmax of one row of scores, in [0, 2**k - 1]."""
    return trace(x, p)["output"]


def bounds(p: Params) -> Bounds:
    """Interval and type of every stage of ``trace``.

    z is at most c, because r <= 0 <= r + b. The scaled value stays below 2**32: T is at least 32767, and either
    e16 < T, or e16 = T = 32767, which does not divide 2**32.
    """
    return {
        "difference": Bound(-p.span, 0, "s32"),
        "clamped": Bound(max(-p.span, N * p.x0), 0, "s32"),
        "quotient": Bound(0, N, "s32"),
        "remainder": Bound(p.x0 + 1, 0, "s32"),
        "polynomial": Bound(0, p.c, "s32"),
        "exponential": Bound(0, p.c << N, p.exponential_type),
        # Half of 2**62, the longest shift, is added to it.
        "product": Bound(0, p.c * p.multiplier + 2**61, "s64"),
        "narrow": Bound(0, PEAK, "s16"),
        "total": Bound(PEAK, PEAK * p.length, "s32"),
        "reciprocal": Bound(2**32 // (PEAK * p.length), 2**32 // PEAK, "s32"),
        "scaled": Bound(0, 2**32 - 1, "u32"),
        "output": Bound(0, p.output_limits[1], "u8" if p.output_bits == 8 else "u16"),
    }
