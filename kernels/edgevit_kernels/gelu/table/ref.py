"""GELU from a table, over numpy arrays, bit for bit as ``spec``."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edgevit_kernels.requantize.ref import Ints

from .spec import Params, prepare

__all__ = ["Params", "apply", "prepare"]


def apply(x: ArrayLike, params: Params) -> Ints:
    """Inputs (...) within the limits -> GELU on the output grid (...), int64, element by element."""
    grid, k = params.grids, params.segment_bits
    distance = np.asarray(x, dtype=np.int64) - grid.input_limits[0]
    knots = np.array(params.knots, dtype=np.int64)
    index = distance >> k
    accumulator = knots[index] << k
    if k:
        accumulator = accumulator + (knots[index + 1] - knots[index]) * (distance & (2**k - 1))
    shift = k + params.fraction_bits
    rounded = (accumulator + (1 << shift >> 1)) >> shift
    result: Ints = np.clip(rounded + grid.output_zero_point, *grid.output_limits)
    return result
