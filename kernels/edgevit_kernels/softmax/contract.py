"""What every form of the integer softmax shares: its parameters, its arguments' ranges, and the widths of its stages.

The operand of a form is a row of scores, signed integers of ``score_bits`` bits at the real scale S, one zero point for
all (it cancels in the difference to the largest). The result is a row of integers at ``output_scale``.

``trace`` of a specification returns every stage of a row by name, ``bounds`` the interval of the same stages over all
rows that the parameters admit, by interval arithmetic, with the machine type that has to hold it. ``prepare`` refuses
parameters with a bound outside its type: what it accepts cannot overflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit.errors import QuantError
from edgevit_kernels.widths import round_half_up

TYPES: Mapping[str, tuple[int, int]] = {
    "s8": (-(2**7), 2**7 - 1),
    "u8": (0, 2**8 - 1),
    "s16": (-(2**15), 2**15 - 1),
    "u16": (0, 2**16 - 1),
    "s32": (-(2**31), 2**31 - 1),
    "u32": (0, 2**32 - 1),
    "s64": (-(2**63), 2**63 - 1),
}

SMALLEST_SCALE, LARGEST_SCALE = Fraction(1, 2**14), Fraction(1)
LONGEST_ROW = 2**14


@dataclass(frozen=True)
class SoftmaxParams:
    """Parameters of every form. The result stands for ``output_scale * (q - output_zero_point)``."""

    length: int
    """Most elements of a row."""
    score_bits: int
    """Width of a score, signed."""
    output_scale: Fraction
    output_zero_point: int
    output_limits: tuple[int, int]
    """Smallest and largest result, both included."""

    @property
    def span(self) -> int:
        """Largest difference of two scores."""
        return (1 << self.score_bits) - 1


@dataclass(frozen=True)
class Bound:
    """Interval of a stage, both ends included, and the machine type that is to hold it."""

    low: int
    high: int
    type: str

    @property
    def fits(self) -> bool:
        """Whether the type holds every value of the interval."""
        low, high = TYPES[self.type]
        return low <= self.low <= self.high <= high


Trace = dict[str, list[int]]
Bounds = dict[str, Bound]


def checked_scale(form: str, scale: float | Fraction, length: int, score_bits: int) -> Fraction:
    """The scale as an exact fraction; QuantError for a scale, a length or a width outside the accepted range."""
    where = f"softmax form {form!r}"
    try:
        exact = Fraction(scale)
    except (ValueError, OverflowError) as error:  # nan and the infinities
        raise QuantError(f"scale {scale} is not a number", where=where, hint="calibrate the scores again") from error
    if not SMALLEST_SCALE <= exact <= LARGEST_SCALE:
        raise QuantError(
            f"score scale {float(exact):.6g} lies outside [2**-14, 1]",
            where=where,
            hint="requantize the scores: 16 bits at 2**-14 span only 4 nats, and a step above 1 resolves nothing",
        )
    if not 1 <= length <= LONGEST_ROW:
        raise QuantError(f"row of {length} elements, from 1 to {LONGEST_ROW} are accepted", where=where)
    if not 2 <= score_bits <= 16:
        raise QuantError(
            f"scores of {score_bits} bits, from 2 to 16 are accepted",
            where=where,
            hint="requantize the accumulators of the scores to 8 or 16 bits first",
        )
    return exact


def check_unit(form: str, unit: int) -> None:
    """QuantError unless the integer that stands for probability 1 is in [15, 32767]."""
    if not 15 <= unit <= 32767:
        raise QuantError(
            f"unit {unit} lies outside [15, 32767]",
            where=f"softmax form {form!r}",
            hint="use 255 (u8), 127 (s8) or 32767 (s16)",
        )


def require_fit(form: str, scale: Fraction, bounds: Bounds, hint: str) -> None:
    """QuantError that names the first stage whose interval leaves its type."""
    for stage, bound in bounds.items():
        if not bound.fits:
            low, high = TYPES[bound.type]
            raise QuantError(
                f"{stage} reaches [{bound.low:.3g}, {bound.high:.3g}] at score scale {float(scale):.6g}, outside "
                f"{bound.type} [{low}, {high}]",
                where=f"softmax form {form!r}",
                hint=hint,
            )


def dyadic(ratio: Fraction) -> tuple[int, int]:
    """(m, s) with ratio = m / 2**s up to half a unit of m, m in [2**30, 2**31). ratio > 0."""
    shift = 31 - ratio.numerator.bit_length() + ratio.denominator.bit_length()
    multiplier = round_half_up(ratio * Fraction(2) ** shift)
    while multiplier >= 2**31:
        shift -= 1
        multiplier = round_half_up(ratio * Fraction(2) ** shift)
    return multiplier, shift


def check_row(x: Sequence[int], params: SoftmaxParams) -> None:
    """ValueError for a row that the parameters do not admit."""
    half = 2 ** (params.score_bits - 1)
    if not 1 <= len(x) <= params.length or not all(-half <= score < half for score in x):
        raise ValueError(f"a row takes 1 to {params.length} scores in [{-half}, {half - 1}]")
