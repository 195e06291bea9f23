"""Observers: they see the batches of one value and say which range its grid is to have.

    minmax           the extremes
    moving-average   exponential moving average of the batches' extremes, momentum 0.95 (Jacob et al. 2018; I-ViT)
    percentile       cuts off the rarest values on both sides (RepQ-ViT, FQ-ViT)
    mse              the clipping that rounds with the least mean squared error
    entropy          the clipping whose rounded distribution is nearest in the Kullback-Leibler sense (Migacz,
    TensorRT, 2017)

All take arrays with a leading sample axis, in any number of updates and in bounded memory, and include zero in their
range. They raise QuantError for numbers that are not finite and when asked before they saw any.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from edgevit.errors import QuantError, UsageError
from edgevit.quant.arrays import Numbers
from edgevit.quant.clipping import best_entropy_clip, best_mse_clip
from edgevit.quant.grids import GridSpec, settle_range
from edgevit.quant.histogram import Histogram

MOMENTUM = 0.95
PERCENTILE = 99.99
CHANNEL_BINS = 512


class Observer(Protocol):
    """What calibration asks of an observer."""

    def update(self, array: Numbers) -> None:
        """Take in one batch, an array with a leading sample axis."""

    def range(self) -> tuple[float, float]:
        """(lo, hi), lo <= 0 <= hi, lo < hi."""


class Extremes:
    """Base of the observers: checks what comes in and keeps the exact extremes ``lo`` and ``hi``."""

    def __init__(self) -> None:
        self.lo = math.inf
        self.hi = -math.inf

    def update(self, array: Numbers) -> None:
        if array.size == 0:
            return
        lo, hi = float(array.min()), float(array.max())
        if not (math.isfinite(lo) and math.isfinite(hi)):
            kind = "NaN" if math.isnan(lo) or math.isnan(hi) else "infinite numbers"
            raise QuantError(
                f"the calibration images give {kind} here", hint="check the weights and the normalization of the input"
            )
        self.lo, self.hi = min(self.lo, lo), max(self.hi, hi)
        self._take(array, lo, hi)

    def _take(self, array: Numbers, lo: float, hi: float) -> None:
        """What a subclass keeps of a batch whose extremes are ``lo`` and ``hi``."""

    def range(self) -> tuple[float, float]:
        """(lo, hi) with zero included, lo <= 0 <= hi, lo < hi."""
        return settle_range(*self.bounds())

    def bounds(self) -> tuple[float, float]:
        """(lo, hi) as chosen, lo <= hi, with or without zero."""
        if self.lo > self.hi:
            raise QuantError("a value was never observed", hint="calibrate with at least one image")
        return self._bounds()

    def _bounds(self) -> tuple[float, float]:
        return self.lo, self.hi

    @property
    def constant(self) -> bool:
        """Whether every number seen was the same."""
        return self.lo == self.hi


class MinMax(Extremes):
    """The smallest and the largest number seen."""


class MovingAverage(Extremes):
    """lo <- m * lo + (1 - m) * min(batch), hi likewise; the first batch sets them. Depends on the batch size."""

    def __init__(self, momentum: float = MOMENTUM) -> None:
        super().__init__()
        self.momentum = momentum
        self._average: tuple[float, float] | None = None

    def _take(self, array: Numbers, lo: float, hi: float) -> None:
        if self._average is None:
            self._average = lo, hi
        else:
            keep, new = self.momentum, 1 - self.momentum
            self._average = keep * self._average[0] + new * lo, keep * self._average[1] + new * hi

    def _bounds(self) -> tuple[float, float]:
        assert self._average is not None
        return self._average


class _Counting(Extremes):
    """Base of the observers that look at the distribution."""

    def __init__(self, bins: int | None = None) -> None:
        super().__init__()
        self.histogram = Histogram() if bins is None else Histogram(bins)

    def _take(self, array: Numbers, lo: float, hi: float) -> None:
        self.histogram.update(array)


class Percentile(_Counting):
    """The range from the (100 - p)-th to the p-th percentile, 50 < p <= 100."""

    def __init__(self, percentile: float = PERCENTILE, bins: int | None = None) -> None:
        super().__init__(bins)
        if not 50 < percentile <= 100:
            raise UsageError(f"percentile {percentile}", hint="give a number above 50 and up to 100, such as 99.99")
        self.percentile = percentile

    def _bounds(self) -> tuple[float, float]:
        return self.histogram.percentile(100 - self.percentile), self.histogram.percentile(self.percentile)


class Mse(_Counting):
    """The clipping of the extremes that gives the least mean squared error on ``spec``'s grid, by the histogram."""

    def __init__(self, spec: GridSpec) -> None:
        super().__init__()
        self.spec = spec

    def _bounds(self) -> tuple[float, float]:
        return best_mse_clip(self.histogram, self.spec)


class Entropy(_Counting):
    """The clipping with the least Kullback-Leibler divergence between the distribution and its rounded self."""

    def __init__(self, spec: GridSpec) -> None:
        super().__init__()
        self.spec = spec

    def _bounds(self) -> tuple[float, float]:
        return best_entropy_clip(self.histogram, self.spec)


class PerChannel:
    """One observer for each index of ``axis``: the channel ranges that RepQ-ViT's equalization starts from."""

    FACTORIES: ClassVar[dict[str, Callable[[float], Extremes]]] = {
        "minmax": lambda _: MinMax(),
        "percentile": lambda percentile: Percentile(percentile, CHANNEL_BINS),
    }

    def __init__(self, name: str = "minmax", *, percentile: float = PERCENTILE, axis: int = -1) -> None:
        if name not in self.FACTORIES:
            raise UsageError(f"no observer {name!r} for channels", hint=f"one of {', '.join(self.FACTORIES)}")
        self._factory = self.FACTORIES[name]
        self._percentile = percentile
        self._axis = axis
        self._channels: list[Extremes] = []

    def update(self, array: Numbers) -> None:
        """Take in one batch; ``axis`` has the same size in all."""
        rows = np.moveaxis(array, self._axis, 0)
        if not self._channels:
            self._channels = [self._factory(self._percentile) for _ in rows]
        for observer, row in zip(self._channels, rows, strict=True):
            observer.update(row)

    def ranges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(lo, hi), float64 arrays of one number a channel, lo <= hi, with or without zero."""
        if not self._channels:
            raise QuantError("a value was never observed", hint="calibrate with at least one image")
        bounds = np.array([observer.bounds() for observer in self._channels])
        return bounds[:, 0], bounds[:, 1]


OBSERVERS: dict[str, Callable[[GridSpec, float, float], Extremes]] = {
    "minmax": lambda spec, percentile, momentum: MinMax(),
    "moving-average": lambda spec, percentile, momentum: MovingAverage(momentum),
    "percentile": lambda spec, percentile, momentum: Percentile(percentile),
    "mse": lambda spec, percentile, momentum: Mse(spec),
    "entropy": lambda spec, percentile, momentum: Entropy(spec),
}
"""Per-tensor observers by the name that a configuration gives them."""


def make_observer(name: str, spec: GridSpec, *, percentile: float = PERCENTILE, momentum: float = MOMENTUM) -> Extremes:
    """The observer called ``name``, for values on a grid of ``spec``. Raises UsageError for an unknown name."""
    if name not in OBSERVERS:
        raise UsageError(f"no observer {name!r}", hint=f"one of {', '.join(OBSERVERS)}")
    return OBSERVERS[name](spec, percentile, momentum)
