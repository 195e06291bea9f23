"""Shiftmax of I-ViT over numpy arrays; equal to ``spec`` bit for bit. All arrays are int64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgevit_kernels.softmax.ivit.spec import INT32_MAX, Params, prepare

__all__ = ["Params", "apply", "prepare"]


def apply(x: ArrayLike, p: Params) -> NDArray[np.int64]:
    """Softmax over the last axis of scores in the range of ``p``; any leading axes."""
    scores = np.asarray(x, dtype=np.int64)
    d = scores - scores.max(axis=-1, keepdims=True)
    t: NDArray[np.int64] = np.maximum(d + (d >> 1) - (d >> 4), p.n * p.x0)
    q = t // p.x0
    r = t - p.x0 * q
    mantissa = (r if p.keeps_half else r & ~1) - 2 * p.x0
    e: NDArray[np.int64] = (mantissa << (p.n - q)) >> 1
    # The terms are not negative: one clamp of the 64-bit sum equals the clamp after every addition.
    total = np.minimum(e.sum(axis=-1, keepdims=True), INT32_MAX)
    reciprocal: NDArray[np.int64] = INT32_MAX // total
    return (e * reciprocal) >> (32 - p.output_bits)
