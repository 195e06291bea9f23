"""The repaired i-softmax over numpy arrays; equal to ``spec`` bit for bit. All arrays are int64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgevit_kernels.softmax.exponential import exponential
from edgevit_kernels.softmax.ibert_repaired.spec import Params, prepare
from edgevit_kernels.softmax.normalize import normalized

__all__ = ["Params", "apply", "prepare"]


def apply(x: ArrayLike, p: Params) -> NDArray[np.int64]:
    """Softmax over the last axis of scores in the range of ``p``; any leading axes."""
    scores = np.asarray(x, dtype=np.int64)
    e = exponential(scores - scores.max(axis=-1, keepdims=True), p.exponential)
    return normalized((e * p.multiplier + 2 ** (p.shift - 1)) >> p.shift, p.unit, p.reciprocal_shift)
