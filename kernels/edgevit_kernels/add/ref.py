"""Residual addition over numpy arrays, bit for bit as ``spec``.

Computed in int64; that a kernel may sum in ``params.bits`` bits is the proof of ``spec``. Operands outside the limits
given to ``prepare`` are not checked here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from edgevit_kernels.requantize.ref import Ints, rescale

from .spec import CommonParams, Operand, SeparateParams, prepare_common, prepare_separate

__all__ = [
    "CommonParams",
    "Operand",
    "SeparateParams",
    "apply_common",
    "apply_separate",
    "prepare_common",
    "prepare_separate",
]


def _centred(x: ArrayLike, zero_point: int) -> Ints:
    return np.asarray(x, dtype=np.int64) - zero_point


def apply_separate(a: ArrayLike, b: ArrayLike, params: SeparateParams) -> Ints:
    """Operands of any shapes that broadcast -> their sum, int64."""
    left = rescale(_centred(a, params.zero_points[0]), params.dyadics[:1])
    right = rescale(_centred(b, params.zero_points[1]), params.dyadics[1:])
    result: Ints = np.clip(left + right + params.output_zero_point, *params.output_limits)
    return result


def apply_common(a: ArrayLike, b: ArrayLike, params: CommonParams) -> Ints:
    """Operands of any shapes that broadcast -> their sum, int64."""
    left = _centred(a, params.zero_points[0]) * params.multipliers[0]
    right = _centred(b, params.zero_points[1]) * params.multipliers[1]
    rounded = (left + right + 2 ** (params.shift - 1)) >> params.shift
    result: Ints = np.clip(rounded + params.output_zero_point, *params.output_limits)
    return result
