"""ShiftGELU repaired, over numpy arrays, bit for bit as ``spec``."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edgevit_kernels.requantize.ref import Ints, rescale

from .spec import MAX_QUOTIENT, SIGMOID_BITS, Params, prepare

__all__ = ["Params", "apply", "prepare"]


def _shift_exp(i: Ints, params: Params) -> Ints:
    i = i << params.pre_shift
    i = i + (i >> 1) - (i >> 4)
    quotient = i // params.x0
    result: Ints = (((i - params.x0 * quotient) >> 1) - params.x0) >> np.minimum(quotient, MAX_QUOTIENT)
    return result


def apply(x: ArrayLike, params: Params) -> Ints:
    """Inputs (...) within the limits -> GELU on the output grid (...), int64, element by element."""
    grid = params.grids
    centred = np.asarray(x, dtype=np.int64) - grid.input_zero_point
    e = _shift_exp(np.minimum(centred, 0), params)
    total = e + _shift_exp(-np.maximum(centred, 0), params)
    sigmoid = ((e << SIGMOID_BITS) + (total >> 1)) // total
    result: Ints = np.clip(rescale(centred * sigmoid, (params.requant,)) + grid.output_zero_point, *grid.output_limits)
    return result
