"""Softmax by tables over numpy arrays; equal to ``spec`` bit for bit. All arrays are int64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgevit_kernels.softmax.normalize import normalized
from edgevit_kernels.softmax.table.spec import ONE, Params, prepare

__all__ = ["Params", "apply", "exponentials", "prepare"]


def exponentials(x: ArrayLike, p: Params) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Exponentials over the last axis and their sums (last axis 1); any leading axes."""
    scores = np.asarray(x, dtype=np.int64)
    difference = scores.max(axis=-1, keepdims=True) - scores
    near = np.array(p.near, dtype=np.int64)
    if p.far:
        far = np.array(p.far, dtype=np.int64)
        values = (far[difference >> 8] * near[difference & 255] + ONE // 2) >> 15
    else:
        values = near[difference]
    return values, values.sum(axis=-1, keepdims=True)


def apply(x: ArrayLike, p: Params) -> NDArray[np.int64]:
    """Softmax over the last axis of scores in the range of ``p``; any leading axes."""
    return normalized(exponentials(x, p)[0], p.unit, p.reciprocal_shift)
