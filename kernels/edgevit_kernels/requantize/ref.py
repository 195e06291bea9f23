"""Dyadic requantization over numpy arrays, bit for bit as ``spec``.

All arrays are int64, which the width proof of ``spec`` covers; accumulators outside int32 are not checked here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .spec import Dyadic, Params, prepare

__all__ = ["Ints", "Params", "apply", "prepare", "rescale"]

Ints = NDArray[np.int64]


def rescale(acc: ArrayLike, factors: tuple[Dyadic, ...]) -> Ints:
    """acc (..., C) times one factor, or one a channel, rounded half up -> (..., C)."""
    multipliers = np.array([factor.multiplier for factor in factors], dtype=np.int64)
    shifts = np.array([factor.shift for factor in factors], dtype=np.int64)
    scaled = np.asarray(acc, dtype=np.int64)
    if len(factors) == 1:  # scalars, so that an accumulator without axes keeps its shape
        multipliers, shifts = multipliers[0], shifts[0]
    result: Ints = (scaled * multipliers + (np.int64(1) << (shifts - 1))) >> shifts
    return result


def apply(acc: ArrayLike, params: Params) -> Ints:
    """Accumulators (..., C) -> quantized values (..., C), int64."""
    result: Ints = np.clip(rescale(acc, params.dyadics) + params.output_zero_point, *params.output_limits)
    return result
