"""The primitives of ``spec``, vectorised over numpy arrays; equal to it bit for bit within the input ranges stated
there.

All arrays are int64: the widest intermediate value of the specification is 63 bits including the sign, so nothing
wraps. Inputs outside the stated ranges are not checked here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]

INT32_MIN = -(2**31)
INT32_MAX = 2**31 - 1


def _int64(value: ArrayLike) -> Ints:
    return np.asarray(value, dtype=np.int64)


def saturating_rounding_doubling_high_mul(a: ArrayLike, b: ArrayLike) -> Ints:
    """High half of 2 a b, ties towards plus infinity, saturated. Shapes broadcast; a, b int32."""
    # An arithmetic shift is a floor division, so this is the specification term by term.
    return np.minimum((_int64(a) * _int64(b) + 2**30) >> 31, INT32_MAX)


def rounding_divide_by_pot(x: ArrayLike, exponent: ArrayLike) -> Ints:
    """x / 2**exponent, ties away from zero. Shapes broadcast; x of at most 33 bits, exponent in [0, 31]."""
    x, exponent = _int64(x), _int64(exponent)
    half = (np.int64(1) << exponent) >> 1
    # Ties away from zero are ties upwards, less one unit of the numerator where x is negative and there is something
    # to round.
    return (x + half - ((x < 0) & (exponent > 0))) >> exponent


def saturating_rounding_multiply_by_pot(x: ArrayLike, exponent: int) -> Ints:
    """x * 2**exponent, saturated to int32 when it grows, rounded (ties away from zero) when it shrinks. x int32."""
    if exponent < 0:
        return rounding_divide_by_pot(x, -exponent)
    return np.clip(_int64(x) << exponent, INT32_MIN, INT32_MAX)


def quantize_multiplier(real: ArrayLike) -> tuple[Ints, Ints]:
    """Multiplier and shift of finite doubles >= 0; two int64 arrays of the shape of ``real``."""
    significand, exponent = np.frexp(np.asarray(real, dtype=np.float64))
    # significand * 2**31 has at most 22 fraction bits, so the sum with one half is exact or rounds to the same floor.
    scaled = significand * 2.0**31
    whole = np.floor(scaled)
    multiplier = whole.astype(np.int64) + (scaled - whole >= 0.5)
    shift = exponent.astype(np.int64)
    carry = multiplier == 2**31
    multiplier = np.where(carry, 2**30, multiplier)
    shift = np.where(carry, shift + 1, shift)
    zero = (multiplier == 0) | (shift < -31)
    return np.where(zero, 0, multiplier), np.where(zero, 0, shift)


def multiply_by_quantized_multiplier(x: ArrayLike, multiplier: ArrayLike, shift: ArrayLike) -> Ints:
    """x * multiplier * 2**(shift - 31), double rounding. Shapes broadcast; x * 2**max(shift, 0) must fit int32."""
    shift = _int64(shift)
    high = saturating_rounding_doubling_high_mul(_int64(x) << np.maximum(shift, 0), multiplier)
    return rounding_divide_by_pot(high, np.maximum(-shift, 0))


def _bit_length(x: Ints) -> Ints:
    # frexp of an integer below 2**53 is exact, and its exponent is the bit length (0 for 0).
    return np.frexp(x.astype(np.float64))[1].astype(np.int64)


def inverse_sqrt_multiplier(value: ArrayLike) -> tuple[Ints, Ints]:
    """Multiplier and shift (<= 0) of 1 / sqrt(value), element by element. value in [0, 2**31)."""
    value = _int64(value)
    scaled = np.maximum(value, 2)
    # One division by four brings anything below 2**31 under 2**29.
    large = scaled >= 2**29
    scaled = np.where(large, scaled // 4, scaled)
    pairs = (31 - _bit_length(scaled)) // 2 - 1
    scaled = scaled << (2 * pairs)
    shift = 11 + large - pairs
    mul, rescale = saturating_rounding_doubling_high_mul, saturating_rounding_multiply_by_pot
    half_input = rounding_divide_by_pot(scaled >> 1, 1)
    x = np.full_like(scaled, 2**28)
    for _ in range(5):
        cube = rescale(mul(mul(x, x), x), 6)
        x = rescale(mul(2**28 + 2**27, x) - mul(half_input, cube), 3)
    x = mul(x, 1518500250) << np.maximum(-shift, 0)
    small = value <= 1
    return np.where(small, INT32_MAX, x), np.where(small, 0, np.minimum(-shift, 0))


def exp_on_negative(a: ArrayLike) -> Ints:
    """exp of Q5.26 numbers <= 0, in Q0.31. a in [-2**31, 0]."""
    a = _int64(a)
    mul = saturating_rounding_doubling_high_mul
    quarter = 2**24
    fraction = (a & (quarter - 1)) - quarter
    x = saturating_rounding_multiply_by_pot(fraction, 5) + 2**28
    x2 = mul(x, x)
    x3, x4 = mul(x2, x), mul(x2, x2)
    tail = rounding_divide_by_pot(mul(rounding_divide_by_pot(x4, 2) + x3, 715827883) + x2, 1)
    result = 1895147668 + mul(1895147668, x + tail)
    remainder = fraction - a
    for bit, factor in enumerate((1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)):
        result = np.where(remainder >> (24 + bit) & 1, mul(result, factor), result)
    return np.where(a == 0, INT32_MAX, result)


def one_over_one_plus_x(a: ArrayLike) -> Ints:
    """1 / (1 + a) of Q0.31 numbers in [0, 1), in Q0.31."""
    mul = saturating_rounding_doubling_high_mul
    half_denominator = rounding_divide_by_pot(_int64(a) + INT32_MAX, 1)
    x = 1515870810 + mul(half_denominator, -1010580540)
    for _ in range(3):
        error = 2**29 - mul(half_denominator, x)
        x = x + saturating_rounding_multiply_by_pot(mul(x, error), 2)
    return saturating_rounding_multiply_by_pot(x, 1)


def reciprocal(x: ArrayLike, integer_bits: int) -> tuple[Ints, Ints]:
    """(r, n): 1 / x = r * 2**-n with r in Q0.31, for x with ``integer_bits`` integer bits, in [1, 2**31)."""
    x = _int64(x)
    headroom = 32 - _bit_length(x)
    return one_over_one_plus_x((x << headroom) - 2**31), integer_bits - headroom
