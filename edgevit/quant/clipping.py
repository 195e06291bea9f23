"""Searches over how much of a distribution's tails a grid is to cut off."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgevit.quant.grids import GridSpec, grids_of, settle_range
from edgevit.quant.histogram import Histogram

FRACTIONS = np.linspace(1.0, 0.1, 37)
"""Parts of a bound that the searches try, the whole first so that ties keep it."""

ENTROPY_CANDIDATES = 96
MAX_REACH = 8192
"""The most bins between zero and the farthest element."""

_SMOOTHING = 1e-9
_CHUNK = 64


def clip_mse(
    histogram: Histogram, lo: NDArray[np.float64], hi: NDArray[np.float64], spec: GridSpec
) -> NDArray[np.float64]:
    """Mean squared error of rounding the histogram's elements onto the grid of each range (lo[i], hi[i])."""
    scale, zero_point = grids_of(lo, hi, spec)
    qmin, qmax = spec.limits
    weight = histogram.counts / histogram.total
    occupied = weight > 0
    x, weight = histogram.centres[occupied], weight[occupied]
    errors = []
    for start in range(0, len(scale), _CHUNK):
        s, z = scale[start : start + _CHUNK, None], zero_point[start : start + _CHUNK, None]
        difference = np.clip(np.rint(x / s), qmin - z, qmax - z) * s - x
        errors.append(np.square(difference) @ weight)
    return np.concatenate(errors)


def best_mse_clip(histogram: Histogram, spec: GridSpec) -> tuple[float, float]:
    """The range with the least :func:`clip_mse`, by two rounds of search along each bound; at worst the extremes."""
    full = settle_range(histogram.lo, histogram.hi)
    ones = np.ones(len(FRACTIONS))
    if spec.symmetric:
        lo, hi = full[0] * FRACTIONS, full[1] * FRACTIONS
        best = int(np.argmin(clip_mse(histogram, lo, hi, spec)))
        return float(lo[best]), float(hi[best])
    low, high = 1.0, 1.0
    for _ in range(2):
        low = float(FRACTIONS[np.argmin(clip_mse(histogram, full[0] * FRACTIONS, full[1] * high * ones, spec))])
        high = float(FRACTIONS[np.argmin(clip_mse(histogram, full[0] * low * ones, full[1] * FRACTIONS, spec))])
    return full[0] * low, full[1] * high


def best_entropy_clip(histogram: Histogram, spec: GridSpec) -> tuple[float, float]:
    """The range [max(lo, -t), min(hi, t)] whose rounded distribution has the least divergence from the clipped one.

    On a symmetric grid the distribution is that of |x| on half of the levels (128 for 8 bits), as in TensorRT; else
    that of x on all of them. Ranges narrower than one bin a level are not tried: there is nothing to merge, so the
    divergence says nothing.
    """
    lo, hi = settle_range(histogram.lo, histogram.hi)
    qmin, qmax = spec.limits
    levels = qmax - spec.middle + 1 if spec.symmetric else qmax - qmin + 1
    # A distribution far from zero has bins that are much narrower than its distance.
    width = histogram.width * -(-max(-lo, hi) // (histogram.width * MAX_REACH))
    position = np.abs(histogram.centres) if spec.symmetric else histogram.centres
    index = np.floor(position / width).astype(np.int64)
    start = 0 if spec.symmetric else int(index.min())
    bins = np.bincount(index - start, histogram.counts).astype(np.float64)
    reach = max(abs(start), start + len(bins))
    best, threshold = np.inf, reach
    for t in np.unique(np.linspace(reach, 1, ENTROPY_CANDIDATES).astype(np.int64))[::-1]:
        first, last = max(0, int(-t) - start), min(len(bins), int(t) - start)
        if last - first < levels:
            break
        divergence = _divergence(bins, first, last, levels)
        if divergence < best:
            best, threshold = divergence, int(t)
    limit = threshold * width
    return max(lo, -limit), min(hi, limit)


def _divergence(bins: NDArray[np.float64], first: int, last: int, levels: int) -> float:
    """KL(P || Q): P the bins first..last, the rest added to the outermost; Q the same merged into levels."""
    inside = bins[first:last]
    p = inside.copy()
    p[0] += bins[:first].sum()
    p[-1] += bins[last:].sum()
    level = np.arange(len(inside)) * levels // len(inside)
    mass = np.bincount(level, inside, levels)
    occupied = np.bincount(level, inside > 0, levels)
    q = np.where(inside > 0, (mass / np.maximum(occupied, 1))[level], 0.0)
    if q.sum() == 0:
        return float("inf")
    p, q = p / p.sum(), q / q.sum()
    present = p > 0
    return float(np.sum(p[present] * np.log(p[present] / np.maximum(q[present], _SMOOTHING))))
