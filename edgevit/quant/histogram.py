"""A histogram that is filled in one pass over data of unknown range, in bounded memory.

Bins are ``2**exponent`` wide and start at multiples of their width, so that widening merges bins in pairs and loses
nothing but resolution. The final width depends on the extreme values only: the result does not depend on the order or
the size of the updates.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgevit.quant.arrays import Numbers

MAX_BINS = 4096
SAMPLED = 1 << 20
"""How many elements of one update are counted at most; the extremes are taken from all of them."""

_SMALLEST_EXPONENT = -120
_INDEX_BITS = 40
"""Bins are not narrower than 2**-40 of the largest magnitude: bin numbers stay exact in double precision."""


class Histogram:
    """Counts of real numbers in at most ``max_bins`` bins of equal width, and the exact extremes ``lo`` and ``hi``."""

    def __init__(self, max_bins: int = MAX_BINS) -> None:
        self.max_bins = max_bins
        self.lo = math.inf
        self.hi = -math.inf
        self._exponent = _SMALLEST_EXPONENT
        self._first = 0
        self._counts: NDArray[np.float64] = np.zeros(0)

    @property
    def total(self) -> float:
        """Number of elements counted."""
        return float(self._counts.sum())

    @property
    def width(self) -> float:
        """Width of a bin, a power of two."""
        return math.ldexp(1.0, self._exponent)

    @property
    def counts(self) -> NDArray[np.float64]:
        """Elements a bin, from the bin of the smallest to that of the largest number."""
        return self._counts

    @property
    def edges(self) -> NDArray[np.float64]:
        """Bounds of the bins, one more than there are bins."""
        return (self._first + np.arange(len(self._counts) + 1)) * self.width

    @property
    def centres(self) -> NDArray[np.float64]:
        """What each bin's elements are taken for: its middle, limited to the numbers that were seen."""
        return np.clip(self.edges[:-1] + self.width / 2, self.lo, self.hi)

    def update(self, array: Numbers) -> None:
        """Count finite numbers; large arrays are sampled evenly."""
        flat = array.reshape(-1)
        if flat.size == 0:
            return
        self._cover(float(flat.min()), float(flat.max()))
        flat = flat[:: _stride(flat.size, array.shape[-1] if array.ndim else 1)]
        index = np.floor(flat.astype(np.float64) / self.width).astype(np.int64) - self._first
        self._counts += np.bincount(index, minlength=len(self._counts))

    def percentile(self, percent: float) -> float:
        """The value below which ``percent`` of the elements lie, interpolated within a bin, within what was seen."""
        cumulative = np.concatenate([[0.0], np.cumsum(self._counts)])
        value = float(np.interp(percent / 100 * cumulative[-1], cumulative, self.edges))
        return min(max(value, self.lo), self.hi)

    def _cover(self, lo: float, hi: float) -> None:
        """Widen bins and range until [lo, hi] and all seen before fit."""
        old_first, old_exponent = self._first, self._exponent
        self.lo, self.hi = min(self.lo, lo), max(self.hi, hi)
        largest = max(abs(self.lo), abs(self.hi))
        if largest > 0:
            self._exponent = max(self._exponent, math.frexp(largest)[1] - _INDEX_BITS)
        while True:
            first, last = (math.floor(math.ldexp(bound, -self._exponent)) for bound in (self.lo, self.hi))
            if last - first < self.max_bins:
                break
            self._exponent += 1
        counts = np.zeros(last - first + 1)
        if len(self._counts):
            bins = (old_first + np.arange(len(self._counts))) * math.ldexp(1.0, old_exponent - self._exponent)
            merged = np.floor(bins).astype(np.int64) - first
            np.add.at(counts, merged, self._counts)
        self._first, self._counts = first, counts


def _stride(size: int, period: int) -> int:
    """A step that leaves at most SAMPLED elements and visits every channel: coprime to the last axis."""
    stride = -(-size // SAMPLED)
    while math.gcd(stride, period) != 1:
        stride += 1
    return stride
