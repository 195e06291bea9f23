"""The repaired Shiftmax over numpy arrays; equal to ``spec`` bit for bit. All arrays are int64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgevit_kernels.softmax.ivit_repaired.spec import SHIFT, Params, prepare

__all__ = ["Params", "apply", "prepare"]


def apply(x: ArrayLike, p: Params) -> NDArray[np.int64]:
    """Softmax over the last axis of scores in the range of ``p``; any leading axes. Every row sums to the unit."""
    scores = np.asarray(x, dtype=np.int64)
    d = (scores - scores.max(axis=-1, keepdims=True)) << p.fraction
    t = d + (d >> 1) - (d >> 4)
    q = t // p.x0
    mantissa = t - p.x0 * q - 2 * p.x0
    e = (mantissa << p.n) >> np.minimum(q + 1, 31)
    running = np.cumsum(e, axis=-1)
    reciprocal = (p.unit << SHIFT) // running[..., -1:]
    mass = (running * reciprocal + 2 ** (SHIFT - 1)) >> SHIFT
    return np.diff(mass, axis=-1, prepend=0)
