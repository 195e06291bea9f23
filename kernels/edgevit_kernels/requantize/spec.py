"""Normative meaning of dyadic requantization, in Python integers and Fractions.

A real ratio r > 0 of two scales becomes m / 2**e with an integer m of exactly 31 bits (I-ViT, arXiv 2207.01405,
section 3.2; `frexp` with the significand rounded half up):

    r = f * 2**x,  1/2 <= f < 1      m = floor(f * 2**31 + 1/2)      e = 31 - x
    out = clamp(z + floor((acc * m + 2**(e-1)) / 2**e), low, high)

Range: acc int32, m in [2**30, 2**31), e in [1, 62], so r in [2**-32 * (1 - 2**-32), 2**30 * (1 - 2**-32)).
Rounding: to nearest, ties towards plus infinity, once. Width: |acc * m| <= 2**31 * (2**31 - 1) and 2**(e-1) <= 2**61,
so the sum stays below 2**62 + 2**61 < 2**63; the quotient below 2**61, and z adds less than 2**31. Signed 64 bits hold
everything, and the clamped result fits the output type.

Error: |m / 2**e - r| <= 2**-31 r, hence |floor(...) - acc * r| <= 1/2 + 2**-31 |acc * r|.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit.errors import QuantError

Real = Fraction | float | int
Limits = tuple[int, int]

INT8: Limits = (-128, 127)
UINT8: Limits = (0, 255)
INT16: Limits = (-(2**15), 2**15 - 1)
INT32: Limits = (-(2**31), 2**31 - 1)

MIN_SHIFT, MAX_SHIFT = 1, 62


@dataclass(frozen=True)
class Dyadic:
    """The number multiplier / 2**shift: multiplier in [2**30, 2**31), shift in [1, 62]."""

    multiplier: int
    shift: int

    @property
    def value(self) -> Fraction:
        """The number itself."""
        return Fraction(self.multiplier, 2**self.shift)


@dataclass(frozen=True)
class Params:
    """One dyadic for all channels or one for each channel of the last axis, and the grid of the result."""

    dyadics: tuple[Dyadic, ...]
    output_scale: Fraction
    output_zero_point: int
    output_limits: Limits


def positive(real: Real, name: str) -> Fraction:
    """A scale or a ratio as an exact Fraction. Raises QuantError unless it is finite and > 0."""
    try:
        exact = Fraction(real)
    except (ValueError, OverflowError):
        exact = Fraction(0)
    if exact <= 0:
        raise QuantError(f"{name} is {real}, not a positive finite number", hint="calibrate the range again")
    return exact


def check_grid(zero_point: int, limits: Limits, name: str) -> None:
    """Raises QuantError unless low < high and low <= zero_point <= high, all in int32."""
    low, high = limits
    if not (INT32[0] <= low < high <= INT32[1] and low <= zero_point <= high):
        raise QuantError(
            f"{name} has the zero point {zero_point} and the limits {low} to {high}",
            hint="the zero point lies between the limits, and these fit 32 bits",
        )


def dyadic(ratio: Real) -> Dyadic:
    """m / 2**e nearest to ``ratio`` (relative error at most 2**-31); a Fraction gives what an equal float would.

    Raises QuantError for a ratio that needs a shift outside [1, 62].
    """
    exact = positive(ratio, "the ratio of input scale to output scale")
    exponent = exact.numerator.bit_length() - exact.denominator.bit_length()
    if exact >= Fraction(2) ** exponent:
        exponent += 1
    multiplier = (exact * Fraction(2) ** (31 - exponent) + Fraction(1, 2)).__floor__()
    if multiplier == 2**31:  # the same number, with a multiplier that fits int32
        multiplier, exponent = 2**30, exponent + 1
    shift = 31 - exponent
    if not MIN_SHIFT <= shift <= MAX_SHIFT:
        raise QuantError(
            f"the ratio {float(exact):.3g} of input scale to output scale needs a shift of {shift}, outside "
            f"{MIN_SHIFT} to {MAX_SHIFT}",
            hint="ratios lie between 2**-32 and 2**30: change the output scale, or remove a branch that is always zero",
        )
    return Dyadic(multiplier, shift)


def rescale(acc: int, factor: Dyadic) -> int:
    """acc * factor, rounded half up. acc int32; below 2**61 in magnitude."""
    return (acc * factor.multiplier + (1 << (factor.shift - 1))) >> factor.shift


def clamp(value: int, limits: Limits) -> int:
    """The nearest integer within the limits."""
    return max(limits[0], min(limits[1], value))


def prepare(
    input_scales: Real | Sequence[Real],
    output_scale: Real,
    output_zero_point: int = 0,
    output_limits: Limits = INT8,
) -> Params:
    """From accumulators of the given scale (or one scale a channel of the last axis) to an 8- or 16-bit grid.

    Accumulators are already free of their zero point. Raises QuantError for scales that are not positive, a ratio out
    of range or an impossible output grid.
    """
    out = positive(output_scale, "the output scale")
    check_grid(output_zero_point, output_limits, "the output")
    scales = [input_scales] if isinstance(input_scales, (Fraction, float, int)) else list(input_scales)
    if not scales:
        raise QuantError("requantization of no channels", hint="give one input scale, or one a channel")
    dyadics = tuple(dyadic(positive(scale, "an input scale") / out) for scale in scales)
    return Params(dyadics, out, output_zero_point, output_limits)


def apply(acc: Sequence[int], params: Params) -> list[int]:
    """Accumulators (C,) -> quantized values (C,). As many channels as dyadics where there is more than one dyadic."""
    factors = params.dyadics * len(acc) if len(params.dyadics) == 1 else params.dyadics
    return [
        clamp(params.output_zero_point + rescale(value, factor), params.output_limits)
        for value, factor in zip(acc, factors, strict=True)
    ]
