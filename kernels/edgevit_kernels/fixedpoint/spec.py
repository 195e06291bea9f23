"""Normative meaning of the fixed-point primitives that TFLite's integer kernels are made of, in Python integers.

Notation: Qm.n is a signed 32-bit integer with m integer bits and n = 31 - m fraction bits; ``F_m(r)`` = r / 2**(31 -
m). Every function states its formula, the range of its inputs, its rounding and the widest intermediate value.
TFLite builds with *double rounding* (TFLITE_SINGLE_ROUNDING is off on desktop builds): the high multiplication rounds
once and the right shift that follows it rounds a second time, in a different manner.

Source of the facts: gemmlowp fixedpoint/fixedpoint.h; TFLite
kernels/internal/{common.h,common.cc,quantization_util.cc}.
"""

from __future__ import annotations

import math
from fractions import Fraction

INT32_MIN = -(2**31)
INT32_MAX = 2**31 - 1


def saturate_int32(value: int) -> int:
    """Clamp to [-2**31, 2**31 - 1]. Any input."""
    return max(INT32_MIN, min(INT32_MAX, value))


def saturating_rounding_doubling_high_mul(a: int, b: int) -> int:
    """floor((2 a b + 2**31) / 2**32), saturated: the product of two Q0.31 numbers.

    Inputs: int32. Rounding: to nearest, ties towards plus infinity. Widest value: |a b| <= 2**62. The one case that
    saturates is a = b = -2**31.
    """
    return saturate_int32((a * b + 2**30) // 2**31)


def rounding_divide_by_pot(x: int, exponent: int) -> int:
    """x / 2**exponent. Inputs: int32, exponent in [0, 31]. Rounding: to nearest, ties away from zero. 32 bits."""
    magnitude = (abs(x) + (1 << exponent >> 1)) >> exponent
    return magnitude if x >= 0 else -magnitude


def saturating_rounding_multiply_by_pot(x: int, exponent: int) -> int:
    """x * 2**exponent, saturated. Inputs: int32, exponent in [-31, 31]. Rounding: as rounding_divide_by_pot."""
    return saturate_int32(x * 2**exponent) if exponent >= 0 else rounding_divide_by_pot(x, -exponent)


def rounding_half_sum(a: int, b: int) -> int:
    """(a + b) / 2. Inputs: int32. Rounding: to nearest, ties away from zero. Widest value: 33 bits."""
    return rounding_divide_by_pot(a + b, 1)


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(m, s) with real = m * 2**(s - 31) up to rounding, m in {0} or [2**30, 2**31).

    Input: a finite double >= 0. Rounding: m to nearest, ties away from zero; a real below about 2**-32 gives (0, 0).
    """
    if real == 0.0:
        return 0, 0
    significand, shift = math.frexp(real)
    m = math.floor(Fraction(significand) * 2**31 + Fraction(1, 2))
    if m == 2**31:
        m, shift = 2**30, shift + 1
    return (0, 0) if shift < -31 else (m, shift)


def multiply_by_quantized_multiplier(x: int, multiplier: int, shift: int) -> int:
    """x * multiplier * 2**(shift - 31), with double rounding.

    Inputs: x int32 with x * 2**max(shift, 0) in int32 (C++ leaves it undefined beyond), multiplier in [0, 2**31),
    shift in [-31, 30]. Rounding: ties upwards in the multiplication, then ties away from zero in the division by
    2**max(-shift, 0). Widest value: 63 bits.
    """
    high = saturating_rounding_doubling_high_mul(x * 2 ** max(shift, 0), multiplier)
    return rounding_divide_by_pot(high, max(-shift, 0))


def inverse_sqrt_multiplier(value: int) -> tuple[int, int]:
    """(m, s) with 1 / sqrt(value) close to m * 2**(s - 31), s <= 0: five Newton steps from x = 1 in Q3.28.

    Input: value in [0, 2**31). 0 and 1 both give (2**31 - 1, 0). The value is first scaled by an even power of two into
    [2**27, 2**29), read as Q3.28 in [0.5, 2). The relative error is below 2**-19. Widest value: 62 bits.
    """
    if value <= 1:
        return INT32_MAX, 0
    shift = 11
    while value >= 2**29:
        value, shift = value // 4, shift + 1
    # The leading one moves to bit 27 or 28 by an even shift; a value in [2**27, 2**29) stays (shift of pairs 0).
    pairs = (31 - value.bit_length()) // 2 - 1
    value, shift = value * 4**pairs, shift - pairs
    mul = saturating_rounding_doubling_high_mul
    half_input = rounding_divide_by_pot(value // 2, 1)  # Q3.28
    half_three = 2**28 + 2**27  # 1.5 in Q3.28
    x = 2**28  # 1 in Q3.28
    for _ in range(5):
        cube = saturating_rounding_multiply_by_pot(mul(mul(x, x), x), 6)  # Q9.22 -> Q3.28
        x = saturating_rounding_multiply_by_pot(mul(half_three, x) - mul(half_input, cube), 3)  # Q6.25 -> Q3.28
    x = mul(x, 1518500250)  # sqrt(2) / 2 in Q0.31
    return (x * 2**-shift, 0) if shift < 0 else (x, -shift)


def exp_on_negative(a: int) -> int:
    """exp(F_5(a)) in Q0.31 for F_5(a) <= 0 (Q5.26, a in [-2**31, 0]); exp(0) is 2**31 - 1.

    The part of a in [-1/4, 0) goes through a Taylor polynomial of degree 4 around -1/8, each set bit of the rest
    multiplies by exp(-2**k), k = -2 ... 4. Each product rounds as saturating_rounding_doubling_high_mul. Error below
    2**-21.
    """
    if a == 0:
        return INT32_MAX
    mul = saturating_rounding_doubling_high_mul
    quarter = 2**24
    fraction = a % quarter - quarter  # in [-1/4, 0), Q5.26
    x = saturating_rounding_multiply_by_pot(fraction, 5) + 2**28  # + 1/8 in Q0.31
    x2 = mul(x, x)
    x3, x4 = mul(x2, x), mul(x2, x2)
    tail = rounding_divide_by_pot(mul(rounding_divide_by_pot(x4, 2) + x3, 715827883) + x2, 1)
    result = 1895147668 + mul(1895147668, x + tail)  # exp(-1/8) (1 + x + x**2/2 + x**3/6 + x**4/24)
    remainder = fraction - a
    for bit, factor in enumerate((1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)):
        if remainder >> (24 + bit) & 1:  # bit 24 stands for 1/4
            result = mul(result, factor)
    return result


def one_over_one_plus_x(a: int) -> int:
    """1 / (1 + F_0(a)) in Q0.31, for a in [0, 2**31): three Newton steps from 48/17 - 32/17 d, d = (1 + F_0(a)) / 2.

    Widest value: 62 bits. The intermediate values are Q2.29. Error below 2**-27.
    """
    mul = saturating_rounding_doubling_high_mul
    half_denominator = rounding_half_sum(a, INT32_MAX)
    x = 1515870810 + mul(half_denominator, -1010580540)
    for _ in range(3):
        error = 2**29 - mul(half_denominator, x)
        x += saturating_rounding_multiply_by_pot(mul(x, error), 2)  # Q4.27 -> Q2.29
    return saturating_rounding_multiply_by_pot(x, 1)  # x / 2, Q1.30 -> Q0.31


def reciprocal(x: int, integer_bits: int) -> tuple[int, int]:
    """(r, n) with 1 / F_m(x) = F_0(r) * 2**-n, m = integer_bits, F_0(r) in (1/2, 1].

    Input: x in [1, 2**31), integer_bits in [0, 31]. n is the number of bits of x above one.
    """
    headroom = 32 - x.bit_length()
    return one_over_one_plus_x(x * 2**headroom - 2**31), integer_bits - headroom
