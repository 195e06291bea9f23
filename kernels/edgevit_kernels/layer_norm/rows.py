"""What the rows of LayerNorm may hold, and the arithmetic on whole rows that several forms share."""

from __future__ import annotations

import math
from fractions import Fraction

from edgevit.errors import QuantError
from edgevit_kernels.requantize.spec import INT32, Limits

MAX_CHANNELS = 2**12


def check_rows(channels: int, limits: Limits) -> None:
    """Raises QuantError unless 1 <= C <= 4096 and the inputs span at most 16 bits within int32."""
    low, high = limits
    if not 1 <= channels <= MAX_CHANNELS:
        raise QuantError(f"LayerNorm over {channels} channels", hint=f"1 to {MAX_CHANNELS} are supported")
    if not (INT32[0] <= low < high <= INT32[1] and high - low < 2**16):
        raise QuantError(
            f"LayerNorm: inputs from {low} to {high}", hint="requantize the residual stream to 16 bits or 8"
        )


def sqrt(value: int) -> Fraction:
    """sqrt(value) rounded down to 128 fraction bits: the same on every platform."""
    return Fraction(math.isqrt(value << 256), 2**128)


def scaled_epsilon(epsilon: Fraction | float, input_scale: Fraction | float, factor: int) -> Fraction:
    """factor * epsilon / input_scale**2. Raises QuantError for a scale that is not positive or a negative epsilon."""
    try:
        scale, added = Fraction(input_scale), Fraction(epsilon)
    except (ValueError, OverflowError) as error:
        raise QuantError("LayerNorm: epsilon or the input scale is not finite") from error
    if scale <= 0 or added < 0:
        raise QuantError(f"LayerNorm: input scale {float(scale):.3g}, epsilon {float(added):.3g}")
    return factor * added / scale**2


def largest_deviation(channels: int, span: int) -> int:
    """The largest |x - mean| over rows of that span, for a rounded mean: C - 1 values apart from one."""
    return -(-span * (channels - 1) // channels)


def largest_square_sum(channels: int, span: int) -> int:
    """A bound of the sum of (x - mean)**2, the mean rounded to an integer: Popoviciu's C span**2 / 4, and C / 4."""
    return channels * (span * span + 1) // 4 + 1
