"""Enclosures of real functions between fractions, the same on every platform: no floating-point library takes part.

Each function takes a Fraction x and a number of decimal digits, and returns (low, high) with f(x) in the OPEN interval
low < f(x) < high, or low == high == f(x) where the value is rational. More digits narrow the interval.

The exponential is that of Python's ``decimal``, which is specified as correctly rounded, widened by a unit in the last
place on both sides; everything else is exact arithmetic on fractions or on integers rounded outwards.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from fractions import Fraction

Enclosure = tuple[Fraction, Fraction]
Function = Callable[[Fraction, int], Enclosure]

# Beyond it exp(-x) is enclosed by (0, exp(-FAR)), whatever the digits: 445 zeros, far below any output step.
FAR = 1024


def _exp_of_decimal(x: Fraction, digits: int, rounding: str) -> Fraction:
    """exp of x, x and the result both rounded towards minus (ROUND_FLOOR) or plus infinity (ROUND_CEILING)."""
    context = decimal.Context(
        prec=digits, rounding=rounding, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[decimal.InvalidOperation]
    )
    argument = context.divide(decimal.Decimal(x.numerator), decimal.Decimal(x.denominator))
    result = context.exp(argument)  # rounded half even, whatever the context says
    down = rounding == decimal.ROUND_FLOOR
    end = context.next_minus(result) if down else context.next_plus(result)
    return Fraction(*end.as_integer_ratio())


def exp(x: Fraction, digits: int) -> Enclosure:
    """e**x, for x <= 1024. Raises ValueError above."""
    if x == 0:
        return Fraction(1), Fraction(1)
    if x > FAR:
        raise ValueError(f"exp of {float(x):.6g}")
    if x < -FAR:
        return Fraction(0), exp(Fraction(-FAR), 20)[1]
    return _exp_of_decimal(x, digits, decimal.ROUND_FLOOR), _exp_of_decimal(x, digits, decimal.ROUND_CEILING)


def sigmoid(x: Fraction, digits: int) -> Enclosure:
    """1 / (1 + e**-x)."""
    low, high = exp(-abs(x), digits)
    if x >= 0:
        return 1 / (1 + high), 1 / (1 + low)
    return low / (1 + low), high / (1 + high)


def tanh(x: Fraction, digits: int) -> Enclosure:
    """(e**2x - 1) / (e**2x + 1) = 2 sigmoid(2x) - 1."""
    low, high = sigmoid(2 * x, digits)
    return 2 * low - 1, 2 * high - 1


def silu(x: Fraction, digits: int) -> Enclosure:
    """x sigmoid(x)."""
    low, high = sigmoid(x, digits)
    return (x * low, x * high) if x >= 0 else (x * high, x * low)


def hardswish(x: Fraction, digits: int) -> Enclosure:
    """x min(max(x + 3, 0), 6) / 6: rational, so exact."""
    value = x * min(max(x + 3, Fraction(0)), Fraction(6)) / 6
    return value, value


def _arctan_of_inverse(n: int, unit: int) -> tuple[int, int]:
    """arctan(1 / n) * unit between integers: the alternating series, of which k floors are off by less than k."""
    power, total, k = unit // n, 0, 0
    while power:
        total += -(power // (2 * k + 1)) if k % 2 else power // (2 * k + 1)
        power, k = power // (n * n), k + 1
    return total - 2 * k - 1, total + 2 * k + 1


def pi(digits: int) -> Enclosure:
    """Machin's formula: pi = 16 arctan(1/5) - 4 arctan(1/239)."""
    unit = 10 ** (digits + 10)
    five, other = _arctan_of_inverse(5, unit), _arctan_of_inverse(239, unit)
    return Fraction(16 * five[0] - 4 * other[1], unit), Fraction(16 * five[1] - 4 * other[0], unit)


def _normal_density(x: Fraction, digits: int) -> Enclosure:
    """exp(-x**2 / 2) / sqrt(2 pi)."""
    unit = 10 ** (digits + 5)
    low_pi, high_pi = pi(digits)
    low_root = Fraction(math.isqrt(int(2 * low_pi * unit * unit)), unit)
    high_root = Fraction(math.isqrt(int(2 * high_pi * unit * unit) + 1) + 1, unit)
    low, high = exp(-x * x / 2, digits)
    return low / high_root, high / low_root


def normal_cdf(x: Fraction, digits: int) -> Enclosure:
    """Phi(x) = 1/2 + phi(x) sum over n of x**(2n+1) / (1 3 5 ... (2n+1)), all terms of the sign of x.

    Beyond |x| = 16 by Chernoff's bound 0 < Phi(-|x|) < exp(-x**2 / 2) / 2 alone, which is below 10**-55.
    """
    magnitude = abs(x)
    if x == 0:
        return Fraction(1, 2), Fraction(1, 2)
    if magnitude > 16:
        tail = Fraction(0), exp(-x * x / 2, digits)[1] / 2
        return tail if x < 0 else (1 - tail[1], 1 - tail[0])
    unit = 10 ** (digits + 5)
    square = x * x
    low = low_sum = (magnitude * unit).__floor__()
    high = high_sum = (magnitude * unit).__ceil__()
    n = 0
    # Once a term is at most half of the one before it, all that follow it together are at most that term.
    while high > 1 or square > (2 * n + 3) / Fraction(2):
        n += 1
        low = low * square.numerator // (square.denominator * (2 * n + 1))
        high = -(-high * square.numerator // (square.denominator * (2 * n + 1)))
        low_sum, high_sum = low_sum + low, high_sum + high
    high_sum += high + 1
    low_density, high_density = _normal_density(x, digits)
    above = low_density * low_sum / unit, high_density * high_sum / unit
    half = Fraction(1, 2)
    return (half + above[0], half + above[1]) if x > 0 else (half - above[1], half - above[0])


def gelu(x: Fraction, digits: int) -> Enclosure:
    """x Phi(x), the exact form with the error function."""
    low, high = normal_cdf(x, digits)
    return (x * low, x * high) if x >= 0 else (x * high, x * low)


FUNCTIONS: dict[str, Function] = {
    "exp": exp,
    "gelu": gelu,
    "hardswish": hardswish,
    "sigmoid": sigmoid,
    "silu": silu,
    "tanh": tanh,
}
