"""AVERAGE_POOL_2D and MAX_POOL_2D in int8, NHWC. Input and output have one grid; padding takes no part."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .conv import Pair, windows
from .grid import Grid, activation_limits, require_int8

Array = NDArray[Any]


def max_pool_2d(x: Array, *, out_q: Grid, kernel: Pair, stride: Pair, padding: str, activation: str = "NONE") -> Array:
    """x (S, N, H, W, C) -> (S, N, OH, OW, C). ``kernel`` and ``stride`` are (height, width)."""
    require_int8(out_q)
    view = windows(x, kernel, stride, (1, 1), padding, -128)
    low, high = activation_limits(activation, out_q)
    stored: Array = np.clip(view.max(axis=(-2, -1)), low, high)
    return stored


def average_pool_2d(
    x: Array, *, out_q: Grid, kernel: Pair, stride: Pair, padding: str, activation: str = "NONE"
) -> Array:
    """x (S, N, H, W, C) -> (S, N, OH, OW, C): the mean of stored values inside the image, ties away from zero.

    The rounding is of the stored integers, so it is not symmetric about real zero unless the zero point is 0.
    """
    require_int8(out_q)
    acc = windows(x, kernel, stride, (1, 1), padding, 0).sum(axis=(-2, -1), dtype=np.int64)
    inside = np.ones((1, 1, *x.shape[2:4], 1), dtype=np.int64)
    count = windows(inside, kernel, stride, (1, 1), padding, 0).sum(axis=(-2, -1))
    half = np.where(acc > 0, count // 2, -(count // 2))
    rounded = np.sign(acc) * (np.abs(acc + half) // count)
    low, high = activation_limits(activation, out_q)
    stored: Array = np.clip(rounded, low, high).astype(np.int8)
    return stored
