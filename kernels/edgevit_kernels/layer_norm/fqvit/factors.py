"""The power-of-two factors of a tensor's channels, chosen on calibration data by squared error (FQ-ViT, 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from edgevit.errors import QuantError
from edgevit_kernels.requantize.ref import Ints

from .spec import MAX_ALPHA


@dataclass(frozen=True)
class Factors:
    """real = scale * 2**alpha_c * (q - zero_point), q in 0 .. 255."""

    scale: float
    zero_point: int
    alphas: tuple[int, ...]

    def quantize(self, x: ArrayLike) -> Ints:
        """Real values (..., C) -> integers in 0 .. 255, rounded half to even."""
        steps = self.scale * 2.0 ** np.array(self.alphas)
        rounded = np.rint(np.asarray(x, dtype=np.float64) / steps) + self.zero_point
        result: Ints = np.clip(rounded, 0, 255).astype(np.int64)
        return result


def choose(samples: ArrayLike) -> Factors:
    """From samples (rows, C) of the tensor. Raises QuantError for samples that are constant, empty or not finite."""
    values = np.asarray(samples, dtype=np.float64)
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all():
        raise QuantError(f"factors of samples of shape {values.shape}, or not finite", hint="give (rows, channels)")
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise QuantError("factors of a tensor that is constant", hint="give more calibration data")
    coarse = (high - low) / 255
    zero_point = int(np.clip(-np.rint(low / coarse), 0, 255))
    scale = coarse / 2**MAX_ALPHA
    errors = []
    for alpha in range(MAX_ALPHA + 1):
        step = scale * 2**alpha
        back = step * (np.clip(np.rint(values / step) + zero_point, 0, 255) - zero_point)
        errors.append(((values - back) ** 2).mean(axis=0))
    return Factors(scale, zero_point, tuple(int(alpha) for alpha in np.argmin(errors, axis=0)))
