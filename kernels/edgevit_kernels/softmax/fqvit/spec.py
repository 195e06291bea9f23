"""Log-int-softmax of FQ-ViT, as published: the normative meaning, defects included.

Source: Lin et al., FQ-ViT, IJCAI 2022 (arXiv 2111.13824), log-int-softmax and its product with the values, as in the
released code. With d <= 0 the difference of a score to the largest of its row, and e, c, n = 30 as in ``ibert``
(i-exp, not requantized to 16 bits):

    R = floor(T / e + 1/2),  T = sum e
    q = floor(log2 R), plus 1 if R >= 1.5 * 2**floor(log2 R)
    code = min(q, 16)                                          0 ... 15 stand for 2**-code, 16 for zero
    out = 2**(15 - code), or 0 for code 16                     at scale 2**-15

``attend`` is the product with the values by shifts, sum over the row of v << (15 - code); the published >> 15 is the
scale 2**-15 of ``out``, which the requantization that follows contains.

Known defects: (1) c 2**30, and T all the more, leave 32 bits at every scale up to 1, so ``prepare`` refuses unless 64
bits are allowed; (2) zero is a seventeenth value, so that the codes do not fit the 4 bits of their name; (3) one
division an element. ``fqvit_repaired`` mends (1) and (3). The error of the method itself is that of rounding a
probability to a power of two, up to a half of it, and the sum of a row drifts with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from edgevit_kernels.softmax.contract import Bound, Bounds, SoftmaxParams, Trace, check_row, checked_scale, require_fit
from edgevit_kernels.softmax.ibert.spec import LN2, A, B, C, N

LARGEST_CODE = 15
"""The most octaves below 1 that a code stands for; one more stands for zero."""
ZERO = LARGEST_CODE + 1


@dataclass(frozen=True)
class Params(SoftmaxParams):
    """Integers of log-int-softmax."""

    x0: int
    """-ln 2 at the scale of the scores, floored."""
    b: int
    c: int
    exponential_type: str
    """Machine type of an exponential and of the sum: s32, or s64 to follow the released code where 32 bits overflow."""


def prepare(
    scale: float | Fraction, length: int, *, score_bits: int = 8, exponential_bits: Literal[32, 64] = 32
) -> Params:
    """Parameters for scores of ``score_bits`` bits at ``scale`` in rows of at most ``length`` elements.

    QuantError where the sum, at most length c 2**30, leaves ``exponential_bits``: with 32, at every accepted scale.
    """
    exact = checked_scale("fqvit", scale, length, score_bits)
    params = Params(
        length=length,
        score_bits=score_bits,
        output_scale=Fraction(1, 2**LARGEST_CODE),
        output_zero_point=0,
        output_limits=(0, 2**LARGEST_CODE),
        x0=(-LN2 / exact).__floor__(),
        b=(B / A / exact).__floor__(),
        c=(C / A / exact**2).__floor__(),
        exponential_type=f"s{exponential_bits}",
    )
    hint = "use the form fqvit_repaired, or exponential_bits=64 to reproduce the published form on the host"
    require_fit("fqvit", exact, bounds(params), hint)
    return params


def log_code(ratio: int) -> int:
    """Code of 1 / ratio, ratio >= 1: the exponent of two next to it, 16 where that is beyond 15."""
    octave = ratio.bit_length() - 1
    return min(octave + (2 * ratio >= 3 << octave), ZERO)


def power(code: int) -> int:
    """The probability of a code, at scale 2**-15."""
    return 0 if code == ZERO else 1 << (LARGEST_CODE - code)


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
    total = sum(exponential)
    ratio = [(2 * total + e) // (2 * e) for e in exponential]
    code = [log_code(v) for v in ratio]
    return {
        "difference": difference,
        "clamped": clamped,
        "quotient": quotient,
        "remainder": remainder,
        "polynomial": polynomial,
        "exponential": exponential,
        "twice the total": [2 * total + e for e in exponential],
        "ratio": ratio,
        "code": code,
        "output": [power(k) for k in code],
    }


def codes(x: Sequence[int], p: Params) -> list[int]:
    """Logarithmic codes of one row of scores, in [0, 16]; 16 stands for zero."""
    return trace(x, p)["code"]


def apply(x: Sequence[int], p: Params) -> list[int]:
    """Softmax of one row of scores, powers of two up to 2**15, or 0."""
    return trace(x, p)["output"]


def attend(code: Sequence[int], v: Sequence[int]) -> int:
    """Sum over the row of probability times value, by shifts; v of 8 bits, the result at 2**-15 of their scale.

    32 bits hold it: 2**-code is at most 1.5 e / T (the worst T / e is just below 1.5, where R is 1 and the code 0), so
    a row of probabilities sums to at most 1.5 * 2**15, and the result to at most 1.5 * 2**22 in magnitude.
    """
    return sum(value << (LARGEST_CODE - k) for k, value in zip(code, v, strict=True) if k != ZERO)


def bounds(p: Params) -> Bounds:
    """Interval and type of every stage of ``trace``.

    z is at least 1 (r (r + b) grows with r, and exp(-ln 2) is c / 2), so that the ratio exists.
    """
    end = p.x0 + 1
    least = end * (end + p.b) + p.c
    peak = p.c << N
    return {
        "difference": Bound(-p.span, 0, "s32"),
        "clamped": Bound(max(-p.span, N * p.x0), 0, "s32"),
        "quotient": Bound(0, N, "s32"),
        "remainder": Bound(end, 0, "s32"),
        "polynomial": Bound(least, p.c, "s32"),
        "exponential": Bound(least, peak, p.exponential_type),
        "twice the total": Bound(2 * peak + least, (2 * p.length + 1) * peak, p.exponential_type),
        "ratio": Bound(1, (2 * p.length * peak + least) // (2 * least), "s64"),
        "code": Bound(0, ZERO, "s8"),
        "output": Bound(0, 2**LARGEST_CODE, "u16"),
    }
