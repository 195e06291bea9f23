"""What the numpy references of LayerNorm share: the affine step and the integer square root, over int64 arrays."""

from __future__ import annotations

import numpy as np

from edgevit_kernels.requantize.ref import Ints

from .affine import Affine


def affine(n: Ints, params: Affine) -> Ints:
    """Normalised values (..., C) -> outputs (..., C), as ``affine.apply`` channel by channel."""
    multipliers, offsets, shifts = (
        np.array(values, dtype=np.int64) for values in (params.multipliers, params.offsets, params.shifts)
    )
    rounded = (n * multipliers + offsets + (np.int64(1) << (shifts - 1))) >> shifts
    result: Ints = np.clip(rounded + params.output_zero_point, *params.output_limits)
    return result


def isqrt(value: Ints) -> Ints:
    """floor(sqrt(value)), element by element, of values in [0, 2**62)."""
    # sqrt of a double is correctly rounded, and the conversion to a double is off by 2**-53: at most one unit here.
    root = np.sqrt(value.astype(np.float64)).astype(np.int64)
    root = root - (root * root > value)
    result: Ints = root + ((root + 1) * (root + 1) <= value)
    return result


def bit_length(value: Ints) -> Ints:
    """Bits of values in [0, 2**62)."""
    high = value >> 31
    low = np.where(high > 0, high, value)
    exponent = np.frexp(low.astype(np.float64))[1].astype(np.int64)
    result: Ints = exponent + np.where(high > 0, 31, 0)
    return result
