"""Confidence interval of a share that was counted on a sample (E. B. Wilson, 1927, the score interval)."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z_95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Interval:
    """Bounds of a share, both in 0..1."""

    low: float
    high: float


def wilson(share: float, trials: int, z: float = Z_95) -> Interval:
    """Interval for a share (0..1) of ``trials``. Unlike the normal one it stays in 0..1 and has a width at 0 and 1.

    Raises ValueError for a share outside 0..1 or without trials.
    """
    if not 0.0 <= share <= 1.0 or trials < 1:
        raise ValueError(f"share {share} of {trials} trials: needs a share in 0..1 and at least one trial")
    weight = z * z / trials
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / trials + weight / (4 * trials))
    return Interval(max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))
