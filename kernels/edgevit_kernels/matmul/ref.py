"""Integer matrix product over numpy arrays, bit for bit as ``spec``.

Products run through the floating-point BLAS. All partial sums, in any order and fused or not, are integers of magnitude
at most the bound B of ``spec``: below 2**24 they are exact in float32, and B < 2**31 always is in float64. Operands
outside the limits given to ``prepare`` are not checked here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgevit_kernels.requantize import ref as requantize
from edgevit_kernels.requantize.ref import Ints

from .spec import Operand, Params, prepare

__all__ = ["Operand", "Params", "accumulate", "apply", "exact_float", "prepare"]


def exact_float(max_accumulator: int) -> np.dtype[Any]:
    """The narrower of float32 and float64 in which all integers up to ``max_accumulator`` (below 2**53) are exact."""
    return np.dtype(np.float32 if max_accumulator < 2**24 else np.float64)


def accumulate(x: ArrayLike, w: ArrayLike, params: Params) -> Ints:
    """x (..., M, K), w (..., N, K), leading axes broadcast -> accumulators (..., M, N), int64."""
    kind = exact_float(params.max_accumulator)
    left: NDArray[Any] = np.asarray(x).astype(kind) - kind.type(params.zero_points[0])
    right: NDArray[Any] = np.asarray(w).astype(kind) - kind.type(params.zero_points[1])
    result: Ints = (left @ np.swapaxes(right, -1, -2)).astype(np.int64)
    if params.bias is not None:
        result += np.array(params.bias, dtype=np.int64)
    return result


def apply(x: ArrayLike, w: ArrayLike, params: Params) -> Ints:
    """x (..., M, K), w (..., N, K), leading axes broadcast -> quantized (..., M, N), int64."""
    return requantize.apply(accumulate(x, w, params), params.requantize)
