"""Normative meaning of a function of one 8-bit tensor as a table, in Python integers and Fractions.

    entry[q - low] = clamp(z_out + floor(f(s_in (q - z_in)) / s_out + 1/2), low_out, high_out)   for q in low ... high
    out = entry[x - low]

f is a real function, so the entry is its correctly rounded value (ties towards plus infinity): the error is at most
1/2 step wherever the result is not clamped. `functions` encloses f between fractions; the number of digits doubles
until both ends round to the same integer (Ziv's strategy, ACM TOMS 17(3), 1991). That ends, because at a rational x
other than 0 the functions with an exponential are transcendental (Lindemann), so never at a tie, and where the value is
rational it is exact at once; for the error function, of which no such theorem is known, it ends at MAX_DIGITS with an
error. No floating point takes part, so the table is the same on every platform.

Range: x of at most 8 bits; the result of any limits within int32. Width: none beyond the entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit.errors import QuantError
from edgevit_kernels.requantize.spec import INT8, Limits, Real, check_grid, clamp, positive

from .functions import FUNCTIONS, Function

FIRST_DIGITS, MAX_DIGITS = 30, 2000


@dataclass(frozen=True)
class Params:
    """The entries from the smallest operand on, and the grid of the result."""

    entries: tuple[int, ...]
    input_limits: Limits
    output_scale: Fraction
    output_zero_point: int
    output_limits: Limits


def round_half_up(function: Function, x: Fraction, output_scale: Fraction) -> int:
    """floor(f(x) / output_scale + 1/2), exact. Raises QuantError where MAX_DIGITS digits do not settle it."""
    digits, half = FIRST_DIGITS, Fraction(1, 2)
    while digits <= MAX_DIGITS:
        low, high = (end / output_scale + half for end in function(x, digits))
        # The interval is open, so a value below an integer `high` has the floor high - 1.
        if low == high or low.__floor__() == high.__ceil__() - 1:
            return low.__floor__()
        digits *= 2
    raise QuantError(
        f"the function at {float(x):.9g} is within 10**-{MAX_DIGITS} of a tie", hint="change a scale by one part in 1e9"
    )


def prepare(
    function: str,
    input_scale: Real,
    output_scale: Real,
    *,
    input_zero_point: int = 0,
    input_limits: Limits = INT8,
    output_zero_point: int = 0,
    output_limits: Limits = INT8,
) -> Params:
    """``function`` is a name of ``functions.FUNCTIONS``.

    Raises QuantError for an unknown function, operands of more than 8 bits, impossible grids, and exp above 1024.
    """
    if function not in FUNCTIONS:
        raise QuantError(f"no table of the function {function!r}", hint=f"use one of {', '.join(FUNCTIONS)}")
    check_grid(input_zero_point, input_limits, "the input")
    check_grid(output_zero_point, output_limits, "the output")
    low, high = input_limits
    if high - low > 255:
        raise QuantError(f"a table of {high - low + 1} entries", hint="requantize the operand to 8 bits first")
    step, out = positive(input_scale, "the input scale"), positive(output_scale, "the output scale")
    entries = []
    for q in range(low, high + 1):
        try:
            value = round_half_up(FUNCTIONS[function], step * (q - input_zero_point), out)
        except ValueError as error:
            hint = "the operand of exp is at most 1024: subtract its maximum"
            raise QuantError(f"a table of {error}", hint=hint) from error
        entries.append(clamp(output_zero_point + value, output_limits))
    return Params(tuple(entries), input_limits, out, output_zero_point, output_limits)


def apply(x: Sequence[int], params: Params) -> list[int]:
    """Quantized values (C,) -> the function of each (C,)."""
    return [params.entries[value - params.input_limits[0]] for value in x]
