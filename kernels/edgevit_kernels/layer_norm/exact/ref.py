"""LayerNorm with exact sums, over numpy arrays, bit for bit as ``spec``."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edgevit_kernels.layer_norm import vectorized
from edgevit_kernels.requantize.ref import Ints

from .spec import SUM_BITS, Params, prepare

__all__ = ["Params", "apply", "prepare"]


def apply(x: ArrayLike, params: Params) -> Ints:
    """Inputs (..., C) within the limits -> outputs (..., C), int64."""
    values = np.asarray(x, dtype=np.int64)
    channels = values.shape[-1]
    total = values.sum(axis=-1, keepdims=True)
    squares = channels * (values * values).sum(axis=-1, keepdims=True)
    floor = np.int64(1) << params.fraction_bits
    weighted = np.maximum((squares - total * total) * floor + params.epsilon, floor)
    pairs = (SUM_BITS - vectorized.bit_length(weighted)) // 2
    scaled = weighted << (2 * pairs)
    root = vectorized.isqrt(scaled)
    root = root + (scaled - root * root > root)
    reciprocal = (2**61 + root // 2) // root
    shift = 61 - params.fraction_bits // 2 - pairs - params.unit_bits
    normalised = ((channels * values - total) * reciprocal + (np.int64(1) << (shift - 1))) >> shift
    return vectorized.affine(normalised, params.affine)
