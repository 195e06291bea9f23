"""Log-int-softmax of FQ-ViT in 32 bits: the normative meaning.

The codes and their product with the values are those of ``fqvit``; e is the exponential of ``softmax.exponential`` with
n such that a whole row of them sums to less than 2**30. With T = sum e and r_k the smallest ratio of code k (2 for 1,
1.5 * 2**(k - 1) from 2 on):

    limit_k = floor(2 T / (2 r_k - 1)),  k = 1 ... 16          one row's thresholds
    code = number of k with e <= limit_k

which is the published rule, floor(T / e + 1/2) >= r_k, without a division an element; e = 0 gives 16, zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit_kernels.softmax.contract import Bound, Bounds, SoftmaxParams, Trace, check_row, checked_scale, require_fit
from edgevit_kernels.softmax.exponential import IExp, bound_exponential, i_exp, trace_exponential
from edgevit_kernels.softmax.fqvit.spec import LARGEST_CODE, ZERO, attend, power

__all__ = ["DIVISORS", "Params", "apply", "attend", "bounds", "codes", "prepare", "trace"]

DIVISORS = (3, *(3 * 2 ** (code - 1) - 1 for code in range(2, ZERO + 1)))
"""2 r_k - 1 of the codes from 1 to 16."""


@dataclass(frozen=True)
class Params(SoftmaxParams):
    """Integers of the repaired log-int-softmax."""

    exponential: IExp


def prepare(scale: float | Fraction, length: int, *, score_bits: int = 8) -> Params:
    """Parameters for scores of ``score_bits`` bits at ``scale`` in rows of at most ``length`` elements."""
    exact = checked_scale("fqvit_repaired", scale, length, score_bits)
    params = Params(
        length=length,
        score_bits=score_bits,
        output_scale=Fraction(1, 2**LARGEST_CODE),
        output_zero_point=0,
        output_limits=(0, 2**LARGEST_CODE),
        exponential=i_exp(exact, terms=2 * length),
    )
    require_fit("fqvit_repaired", exact, bounds(params), "requantize the scores to a larger scale")
    return params


def trace(x: Sequence[int], p: Params) -> Trace:
    """Every stage of a row, by name."""
    check_row(x, p)
    top = max(x)
    difference = [score - top for score in x]
    stages = {"difference": difference, **trace_exponential(difference, p.exponential)}
    twice = 2 * sum(stages["exponential"])
    limits = [twice // divisor for divisor in DIVISORS]
    code = [sum(e <= limit for limit in limits) for e in stages["exponential"]]
    return {**stages, "twice the total": [twice], "limit": limits, "code": code, "output": [power(k) for k in code]}


def codes(x: Sequence[int], p: Params) -> list[int]:
    """Logarithmic codes of one row of scores, in [0, 16]; 16 stands for zero."""
    return trace(x, p)["code"]


def apply(x: Sequence[int], p: Params) -> list[int]:
    """Softmax of one row of scores, powers of two up to 2**15, or 0."""
    return trace(x, p)["output"]


def bounds(p: Params) -> Bounds:
    """Interval and type of every stage of ``trace``."""
    peak = p.exponential.peak
    return {
        "difference": Bound(-p.span, 0, "s32"),
        **bound_exponential(p.span, p.exponential),
        "twice the total": Bound(2 * peak, 2 * p.length * peak, "s32"),
        "limit": Bound(2 * peak // DIVISORS[-1], 2 * p.length * peak // DIVISORS[0], "s32"),
        "code": Bound(0, ZERO, "s8"),
        "output": Bound(0, 2**LARGEST_CODE, "u16"),
    }
