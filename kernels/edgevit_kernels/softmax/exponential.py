"""i-exp of I-BERT in 32 bits, which ``ibert_repaired`` and ``fqvit_repaired`` share; and how wide it may be.

    S' = S / 2**f                                  f the fewest bits with S' <= 2**-7
    x0 = -round(ln 2 / S'),  b = round(B / (A S')),  c = round(1 / (A S'**2))
    D = d 2**f,  q = floor(D / x0),  r = D - q x0
    z = r (r + b) + c,  e = floor(z 2**max(n, 0) / 2**min(q + max(-n, 0), 31))

Against the published i-exp: n is chosen so that ``terms`` values of c 2**n stay below 2**31 (the authors advise n = 20
instead of 30, which is the most that is used here); a score more than n octaves below the largest shifts right
instead of stopping at 2**-n; the constants are rounded at a scale fine enough that their error is below 0.5 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from edgevit_kernels.softmax.contract import Bound, Bounds, Trace
from edgevit_kernels.softmax.ibert.spec import A, B, C
from edgevit_kernels.widths import round_half_up

LN2 = Fraction("0.69314718055994530942")
MOST = 20


@dataclass(frozen=True)
class IExp:
    """Integers of the exponential."""

    fraction: int
    x0: int
    b: int
    c: int
    left: int
    """max(n, 0)."""
    right: int
    """max(-n, 0)."""

    @property
    def peak(self) -> int:
        """exp(0)."""
        return (self.c << self.left) >> self.right


def i_exp(scale: Fraction, terms: int) -> IExp:
    """Constants for scores at ``scale``, such that ``terms`` exponentials sum to less than 2**31."""
    fraction = max(0, (128 * scale).__ceil__() - 1).bit_length()
    finer = scale / 2**fraction
    c = round_half_up(C / A / finer**2)
    n = min(MOST, 31 - (terms * c).bit_length())
    return IExp(
        fraction=fraction,
        x0=-round_half_up(LN2 / finer),
        b=round_half_up(B / A / finer),
        c=c,
        left=max(n, 0),
        right=max(-n, 0),
    )


def trace_exponential(difference: Sequence[int], p: IExp) -> Trace:
    """Stages of the exponential of differences <= 0, the last of them ``exponential``."""
    finer = [d << p.fraction for d in difference]
    quotient = [t // p.x0 for t in finer]
    remainder = [t - p.x0 * q for t, q in zip(finer, quotient, strict=True)]
    polynomial = [r * (r + p.b) + p.c for r in remainder]
    shifted = [z << p.left for z in polynomial]
    exponential = [s >> min(q + p.right, 31) for s, q in zip(shifted, quotient, strict=True)]
    return {
        "finer": finer,
        "quotient": quotient,
        "remainder": remainder,
        "polynomial": polynomial,
        "shifted": shifted,
        "exponential": exponential,
    }


def bound_exponential(span: int, p: IExp) -> Bounds:
    """Intervals of the stages of ``trace_exponential`` for differences in [-span, 0].

    r (r + b) grows with r where r > -b / 2; x0 is about -ln 2 / S' and b about 2.7 / S', so all r in (x0, 0] are there
    and the ends are those of r.
    """
    lowest = -span << p.fraction
    end = p.x0 + 1
    least = end * (end + p.b) + p.c
    return {
        "finer": Bound(lowest, 0, "s32"),
        "quotient": Bound(0, lowest // p.x0, "s32"),
        "remainder": Bound(end, 0, "s32"),
        "polynomial": Bound(least, p.c, "s32"),
        "shifted": Bound(least << p.left, p.c << p.left, "s32"),
        "exponential": Bound(0, p.peak, "s32"),
    }


def exponential(difference: NDArray[np.int64], p: IExp) -> NDArray[np.int64]:
    """The exponential of ``trace_exponential`` over an array."""
    t = difference << p.fraction
    q: NDArray[np.int64] = t // p.x0
    r = t - p.x0 * q
    polynomial: NDArray[np.int64] = r * (r + p.b) + p.c
    shift: NDArray[np.int64] = np.minimum(q + p.right, 31)
    return (polynomial << p.left) >> shift
