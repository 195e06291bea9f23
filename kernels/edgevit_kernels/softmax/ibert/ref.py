"""i-softmax of I-BERT over numpy arrays; equal to ``spec`` bit for bit. All arrays are int64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgevit_kernels.softmax.ibert.spec import N, Params, prepare

__all__ = ["Params", "apply", "prepare"]


def apply(x: ArrayLike, p: Params) -> NDArray[np.int64]:
    """Softmax over the last axis of scores in the range of ``p``; any leading axes."""
    scores = np.asarray(x, dtype=np.int64)
    t = np.maximum(scores - scores.max(axis=-1, keepdims=True), N * p.x0)
    q = t // p.x0
    r = t - p.x0 * q
    z = np.maximum(r * (r + p.b) + p.c, 0)
    shift = np.minimum(p.shift - N + q, 62)
    narrow: NDArray[np.int64] = (z * p.multiplier + (np.int64(1) << (shift - 1))) >> shift
    reciprocal: NDArray[np.int64] = 2**32 // narrow.sum(axis=-1, keepdims=True)
    return (narrow * reciprocal) >> (32 - p.output_bits)
