"""i-GELU over numpy arrays, bit for bit as ``spec``."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edgevit_kernels.requantize.ref import Ints, rescale

from .spec import ERF_SHIFT, Params, prepare

__all__ = ["Params", "apply", "prepare"]


def apply(x: ArrayLike, params: Params) -> Ints:
    """Inputs (...) within the limits -> GELU on the output grid (...), int64, element by element."""
    grid = params.grids
    i = (np.asarray(x, dtype=np.int64) - grid.input_zero_point) << params.pre_shift
    square = (np.minimum(np.abs(i), -params.b) + params.b) ** 2
    erf = (np.sign(i) * (square + params.c)) >> ERF_SHIFT
    product = -i * (erf + params.one)
    result: Ints = np.clip(rescale(product, (params.requant,)) + grid.output_zero_point, *grid.output_limits)
    return result
