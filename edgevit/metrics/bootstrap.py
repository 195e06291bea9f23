"""Uncertainty from raw samples: percentile intervals by the bootstrap (B. Efron, 1979).

Samples are drawn as if they were independent. Those of a device that heats up are not, so that an interval says how
far the statistic of this run is settled, not what another day would give.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevit.metrics.eer import METRICS, Figure, Figures, Statistic

RESAMPLES = 2000
LEVEL = 0.95
MIN_SAMPLES = 2
CHUNK_ELEMENTS = 1 << 22
"""Drawn samples that are held at once."""


@dataclass(frozen=True)
class Bounds:
    """Ends of an interval, in the unit of what it is of."""

    low: float
    high: float


def statistic_of(samples: NDArray[np.float64], statistic: Statistic) -> NDArray[np.float64]:
    """The statistic over the last axis."""
    if statistic == "mean":
        return np.asarray(samples.mean(axis=-1), np.float64)
    return np.asarray(np.quantile(samples, {"p50": 0.5, "p90": 0.9}[statistic], axis=-1), np.float64)


def resample(
    samples: NDArray[np.float64], statistic: Statistic, generator: np.random.Generator, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """The statistic (resamples,) of samples (n,) that are drawn n at a time, with replacement."""
    rows = max(1, CHUNK_ELEMENTS // len(samples))
    drawn = []
    for start in range(0, resamples, rows):
        shape = (min(rows, resamples - start), len(samples))
        drawn.append(statistic_of(samples[generator.integers(0, len(samples), shape)], statistic))
    return np.concatenate(drawn)


def interval(samples: NDArray[np.float64], statistic: Statistic, *, seed: int = 0, level: float = LEVEL) -> Bounds:
    """The interval of a statistic of at least MIN_SAMPLES samples (n,)."""
    return _bounds(resample(samples, statistic, np.random.default_rng(seed)), level)


def eer_interval(
    figures: Figures, reference: Figures, weights: Mapping[str, float], *, seed: int = 0, level: float = LEVEL
) -> Bounds | None:
    """The interval of the normalized rate, from all figures with raw samples, on both sides; None without any.

    The metrics of ``weights`` are in both; `edgevit.metrics.eer.efficient_error_rate` checks them.
    """
    generator = np.random.default_rng(seed)
    sampled = False
    total = np.zeros(RESAMPLES)
    for metric, weight in weights.items():
        sides = []
        for figure in (figures[metric], reference[metric]):
            sampled = sampled or len(figure.samples) >= MIN_SAMPLES
            sides.append(_values(figure, METRICS[metric].statistic, generator))
        total += weight * sides[0] / sides[1]
    return _bounds(total, level) if sampled else None


def _values(figure: Figure, statistic: Statistic, generator: np.random.Generator) -> NDArray[np.float64]:
    if len(figure.samples) < MIN_SAMPLES:
        return np.full(RESAMPLES, figure.value)
    return resample(np.array(figure.samples, np.float64), statistic, generator)


def _bounds(values: NDArray[np.float64], level: float) -> Bounds:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Bounds(float(low), float(high))
