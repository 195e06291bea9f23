"""I-LayerNorm repaired, over numpy arrays, bit for bit as ``spec``."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edgevit_kernels.layer_norm import vectorized
from edgevit_kernels.requantize.ref import Ints
from edgevit_kernels.requantize.spec import INT32

from .spec import Params, prepare

__all__ = ["Params", "apply", "prepare"]


def apply(x: ArrayLike, params: Params) -> Ints:
    """Inputs (..., C) within the limits -> outputs (..., C), int64."""
    values = np.asarray(x, dtype=np.int64)
    channels = values.shape[-1]
    y = values - (2 * values.sum(axis=-1, keepdims=True) + channels) // (2 * channels)
    squares = (y * y).sum(axis=-1, keepdims=True) + params.epsilon
    factor = INT32[1] // np.maximum(vectorized.isqrt(squares), 1)
    return vectorized.affine(y * factor >> 1, params.affine)
