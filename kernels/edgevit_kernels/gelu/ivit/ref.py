"""ShiftGELU as published, over numpy arrays, bit for bit as ``spec``."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edgevit_kernels.requantize.ref import Ints, rescale
from edgevit_kernels.requantize.spec import INT32

from .spec import MAX_SHIFT, SIGMOID_SHIFT, N, Params, prepare

__all__ = ["Params", "apply", "prepare"]


def _shift_exp(i: Ints, x0: int) -> Ints:
    i = np.maximum(i + (i >> 1) - (i >> 4), N * x0)
    quotient = i // x0
    shifted = (i - x0 * quotient - 2 * x0) << np.minimum(N - quotient, MAX_SHIFT)
    saturated: Ints = np.minimum(shifted >> 1, INT32[1])
    return saturated


def apply(x: ArrayLike, params: Params) -> Ints:
    """Inputs (..., C) within the limits -> GELU on the output grid (..., C), int64; rows are the last axis."""
    grid = params.grids
    centred = np.asarray(x, dtype=np.int64) - grid.input_zero_point
    maximum = centred.max(axis=-1, keepdims=True)
    e = _shift_exp(centred - maximum, params.x0)
    total = np.minimum(e + _shift_exp(-maximum, params.x0), INT32[1])
    sigmoid = (e * (INT32[1] // total)) >> SIGMOID_SHIFT
    result: Ints = np.clip(rescale(centred * sigmoid, (params.requant,)) + grid.output_zero_point, *grid.output_limits)
    return result
