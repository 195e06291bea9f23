"""Signal-to-noise ratios."""

from __future__ import annotations

import math


def decibel(signal: float, noise: float) -> float:
    """10 log10(signal / noise) of two powers: infinite without noise, minus infinity for noise without signal."""
    if noise <= 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf
