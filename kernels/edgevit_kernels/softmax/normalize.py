"""Division of a row of 15-bit exponentials by its sum, by a fixed-point reciprocal and in 32 bits.

    F = floor(unit 2**s / T),  T = sum e                       one 32-bit division a row
    out = floor((e F + 2**(s-1)) / 2**s)

with e in [0, 32767], 32767 the largest of every row, and s the most bits with unit 2**s + 2**(s-1) < 2**31: 23 for 255,
16 for 32767. As e <= T, the product e F never exceeds unit 2**s, so nothing overflows and the result never exceeds the
unit. The flooring of F costs e / 2**s < 2**(15 - s) of an output unit: |out - unit e / T| <= 1/2 + 2**(15 - s).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgevit_kernels.softmax.contract import Bound, Bounds, Trace

PEAK = 2**15 - 1
"""exp(0), the largest exponential of every row."""


def reciprocal_shift(unit: int) -> int:
    """s: the most bits with unit 2**s + 2**(s - 1) < 2**31."""
    return next(s for s in range(31, 0, -1) if unit * 2**s + 2 ** (s - 1) < 2**31)


def trace_normalized(exponential: Sequence[int], unit: int, shift: int) -> Trace:
    """Stages of the division of a row, the last of them ``output``."""
    total = sum(exponential)
    reciprocal = (unit << shift) // total
    product = [e * reciprocal + 2 ** (shift - 1) for e in exponential]
    return {
        "total": [total],
        "reciprocal": [reciprocal],
        "product": product,
        "output": [v >> shift for v in product],
    }


def bound_normalized(length: int, unit: int, shift: int, peak: int = PEAK) -> Bounds:
    """Intervals of the stages of ``trace_normalized`` for rows of at most ``length`` elements up to ``peak``."""
    full = unit << shift
    return {
        "total": Bound(peak, peak * length, "s32"),
        "reciprocal": Bound(full // (peak * length), full // peak, "s32"),
        "product": Bound(0, full + 2 ** (shift - 1), "s32"),
        "output": Bound(0, (full + 2 ** (shift - 1)) >> shift, "u8" if unit <= 255 else "s16"),
    }


def normalized(exponential: NDArray[np.int64], unit: int, shift: int) -> NDArray[np.int64]:
    """The result of ``trace_normalized`` over the last axis."""
    reciprocal: NDArray[np.int64] = (unit << shift) // exponential.sum(axis=-1, keepdims=True)
    return (exponential * reciprocal + (1 << (shift - 1))) >> shift
