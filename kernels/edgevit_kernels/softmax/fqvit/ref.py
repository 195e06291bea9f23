"""Log-int-softmax of FQ-ViT over numpy arrays; equal to ``spec`` bit for bit. All arrays are int64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgevit_kernels.softmax.fqvit.spec import LARGEST_CODE, ZERO, Params, prepare
from edgevit_kernels.softmax.ibert.spec import N

__all__ = ["Params", "apply", "attend", "codes", "power", "prepare"]

# The smallest ratio of each code from 1 on: 1.5 * 2**(code - 1), rounded up.
_THRESHOLDS = np.array([2, *(3 << (code - 2) for code in range(2, ZERO + 1))], dtype=np.int64)


def codes(x: ArrayLike, p: Params) -> NDArray[np.int64]:
    """Logarithmic codes over the last axis of scores in the range of ``p``; any leading axes."""
    scores = np.asarray(x, dtype=np.int64)
    t = np.maximum(scores - scores.max(axis=-1, keepdims=True), N * p.x0)
    q = t // p.x0
    r = t - p.x0 * q
    e: NDArray[np.int64] = (r * (r + p.b) + p.c) << (N - q)
    ratio = (2 * e.sum(axis=-1, keepdims=True) + e) // (2 * e)
    return np.asarray(np.searchsorted(_THRESHOLDS, ratio, side="right"), dtype=np.int64)


def power(code: NDArray[np.int64]) -> NDArray[np.int64]:
    """Probabilities of codes, at scale 2**-15."""
    # Code 16 shifts the one out of 2**15 / 2**16.
    return np.int64(2**LARGEST_CODE) >> code


def apply(x: ArrayLike, p: Params) -> NDArray[np.int64]:
    """Softmax over the last axis of scores in the range of ``p``; any leading axes."""
    return power(codes(x, p))


def attend(code: ArrayLike, v: ArrayLike) -> NDArray[np.int64]:
    """Codes (..., rows, n) times values (..., n, channels), by shifts; (..., rows, channels) at 2**-15."""
    shift = np.asarray(code, dtype=np.int64)[..., :, :, None]
    # The maximum keeps the shift of code 16 defined; the mask removes its term.
    shifted = np.asarray(v, dtype=np.int64)[..., None, :, :] << np.maximum(LARGEST_CODE - shift, 0)
    return np.asarray(np.where(shift == ZERO, 0, shifted).sum(axis=-2))
