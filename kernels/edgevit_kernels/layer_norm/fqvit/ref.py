"""LayerNorm of FQ-ViT over numpy arrays, bit for bit as ``spec``."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edgevit_kernels.layer_norm import vectorized
from edgevit_kernels.requantize.ref import Ints

from .spec import MANTISSA_BITS, MAX_N, ROOT_BITS, Params, prepare

__all__ = ["Params", "apply", "prepare"]


def _half_up(value: Ints, shift: Ints) -> Ints:
    return (value + (np.int64(1) << shift >> 1)) >> shift


def apply(x: ArrayLike, params: Params) -> Ints:
    """Inputs (..., C) within the limits -> outputs (..., C), int64."""
    values = (np.asarray(x, dtype=np.int64) - params.input_zero_point) << np.array(params.alphas, dtype=np.int64)
    channels = values.shape[-1]
    signs, offsets = (np.array(numbers, dtype=np.int64) for numbers in (params.signs, params.offsets))
    multipliers = np.array([gain.multiplier for gain in params.gains], dtype=np.int64)
    shifts = np.array([gain.shift for gain in params.gains], dtype=np.int64)
    total = values.sum(axis=-1, keepdims=True)
    deviation = np.maximum(channels * (values * values).sum(axis=-1, keepdims=True) - total * total, 1)
    pairs = (ROOT_BITS - vectorized.bit_length(deviation)) // 2
    reciprocal = 2**61 // vectorized.isqrt(deviation << (2 * pairs))
    gain = reciprocal * multipliers >> 31
    shift = 30 + shifts - pairs
    n = np.clip(MANTISSA_BITS - vectorized.bit_length(gain) + shift, 0, MAX_N)
    mantissa = np.minimum(gain >> np.minimum(shift - n, 62), 2**MANTISSA_BITS - 1)
    mean = _half_up(gain * total // channels, np.minimum(shift - n, 62))
    offset = _half_up(offsets, MAX_N - n) - signs * mean
    scaled = signs * mantissa * values + offset + (np.int64(1) << n >> 1)
    result: Ints = np.clip((scaled >> n) + params.output_zero_point, *params.output_limits)
    return result
