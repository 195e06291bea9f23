"""The repaired log-int-softmax over numpy arrays; equal to ``spec`` bit for bit. All arrays are int64."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgevit_kernels.softmax.exponential import exponential
from edgevit_kernels.softmax.fqvit.ref import attend, power
from edgevit_kernels.softmax.fqvit_repaired.spec import DIVISORS, Params, prepare

__all__ = ["Params", "apply", "attend", "codes", "prepare"]


def codes(x: ArrayLike, p: Params) -> NDArray[np.int64]:
    """Logarithmic codes over the last axis of scores in the range of ``p``; any leading axes."""
    scores = np.asarray(x, dtype=np.int64)
    e = exponential(scores - scores.max(axis=-1, keepdims=True), p.exponential)
    twice = 2 * e.sum(axis=-1, keepdims=True)
    code = np.zeros_like(e)
    for divisor in DIVISORS:
        code += e <= twice // divisor
    return code


def apply(x: ArrayLike, p: Params) -> NDArray[np.int64]:
    """Softmax over the last axis of scores in the range of ``p``; any leading axes."""
    return power(codes(x, p))
