"""I-LayerNorm as published, over numpy arrays, bit for bit as ``spec``."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edgevit_kernels.layer_norm import vectorized
from edgevit_kernels.requantize.ref import Ints
from edgevit_kernels.requantize.spec import INT32

from .spec import START, STEPS, Params, prepare

__all__ = ["Params", "apply", "prepare"]


def apply(x: ArrayLike, params: Params) -> Ints:
    """Inputs (..., C) within the limits -> outputs (..., C), int64."""
    values = np.asarray(x, dtype=np.int64)
    channels = values.shape[-1]
    floor, rest = np.divmod(values.sum(axis=-1, keepdims=True), channels)
    # Half to even: up beyond the half, and at the half where the floor is odd.
    y = values - (floor + (2 * rest + (floor & 1) > channels))
    squares = (y * y).sum(axis=-1, keepdims=True)
    root = np.full_like(squares, START)
    for _ in range(STEPS):
        root = (root + squares // root) // 2
    normalised = (y * (INT32[1] // root) >> 1) + np.array(params.biases, dtype=np.int64)
    return vectorized.affine(normalised, params.affine)
