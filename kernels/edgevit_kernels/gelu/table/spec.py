"""GELU from a table: exact to half a step at 8 bits, piecewise linear above.

Ours. Knot j is GELU at the input low + j 2**k, in units of 2**-g output steps, correctly rounded (half up) from
enclosures between fractions (``table/functions.py``), so it has the same bits on every platform. With d = q - low:

    j = d >> k;  f = d mod 2**k;  acc = knot[j] 2**k + (knot[j + 1] - knot[j]) f
    out = clamp(z_out + (acc + 2**(k + g - 1) >> k + g))

Up to 9 bits of input span k = g = 0: one look-up, no arithmetic but z_out, which is within 1/2 step of GELU by
construction (as is the clamped result of the clamped GELU). For 16-bit inputs k = 7: 512 segments, 513 knots of 32
bits; the error is 1/2 step plus the interpolation h**2 / 8 max|GELU''| / S_out, with h = 2**k S and max|GELU''| =
GELU''(0) = sqrt(2 / pi), plus 2**-(g+1) for the knots.

Accepted: every grid whose knots leave g >= 1 when k > 0. Rounding: half up, once after the table's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit.errors import QuantError
from edgevit_kernels.gelu.grid import GridParams, grids
from edgevit_kernels.requantize.spec import INT8, Limits, Real, clamp
from edgevit_kernels.table.functions import gelu
from edgevit_kernels.table.spec import round_half_up
from edgevit_kernels.widths import Watch, Width, refuse_overflow, unwatched

INDEX_BITS = 9
CURVATURE = Fraction(798, 1000)
"""GELU''(0) = sqrt(2 / pi) = 0.79788, the largest second derivative."""


@dataclass(frozen=True)
class Params(GridParams):
    """Grids, the knots (32-bit), log2 k of the segment length and the fraction bits g of the knots."""

    knots: tuple[int, ...]
    segment_bits: int
    fraction_bits: int

    @property
    def error_bound(self) -> Fraction:
        """Largest distance to the clamped real function, in output steps."""
        if self.segment_bits == 0:
            return Fraction(1, 2)
        length = self.grids.input_scale * 2**self.segment_bits
        bound: Fraction = (
            Fraction(1, 2)
            + length**2 / 8 * CURVATURE / self.grids.output_scale  # interpolation
            + Fraction(1, 2) / 2**self.fraction_bits  # rounding of the knots
        )
        return bound


def prepare(
    input_scale: Real,
    output_scale: Real,
    *,
    input_zero_point: int = 0,
    input_limits: Limits = INT8,
    output_zero_point: int = 0,
    output_limits: Limits = INT8,
) -> Params:
    """The table for GELU between two grids. Raises QuantError where the interpolation leaves 32 bits."""
    both = grids(
        input_scale,
        output_scale,
        input_zero_point=input_zero_point,
        input_limits=input_limits,
        output_zero_point=output_zero_point,
        output_limits=output_limits,
    )
    low, high = input_limits
    segment_bits = max(0, (high - low).bit_length() - INDEX_BITS)
    count = ((high - low) >> segment_bits) + (2 if segment_bits else 1)
    first = low - input_zero_point
    fraction_bits = 0
    if segment_bits:
        # |GELU(x)| <= |x|, so this many bits hold every knot.
        largest = math.ceil(both.input_scale * (both.magnitude + 2**segment_bits) / both.output_scale)
        fraction_bits = 30 - segment_bits - largest.bit_length()
        if fraction_bits < 1:
            raise QuantError(
                f"GELU table: the input reaches {largest} output steps, too many to interpolate in 32 bits",
                hint="raise the output scale, or narrow the input limits",
            )
    unit = both.output_scale / 2**fraction_bits
    knots = tuple(round_half_up(gelu, both.input_scale * (first + (j << segment_bits)), unit) for j in range(count))
    params = Params(both, knots, segment_bits, fraction_bits)
    refuse_overflow(widths(params), "GELU table", "raise the output scale, or narrow the input limits")
    return params


def widths(params: Params) -> list[Width]:
    """The interval of every intermediate value over all inputs within the limits."""
    k = params.segment_bits
    steps = [after - before for before, after in zip(params.knots, params.knots[1:], strict=False)] if k else [0]
    half = 1 << (k + params.fraction_bits) >> 1
    rise = (2**k - 1) * max(map(abs, steps))
    # Interpolation stays between the two knots of its segment.
    return [
        Width("knot", min(params.knots), max(params.knots)),
        Width("rise", -rise, rise),
        Width("accumulator", min(params.knots) << k, (max(params.knots) << k) + half),
    ]


def apply(x: Sequence[int], params: Params, watch: Watch = unwatched) -> list[int]:
    """Inputs (C,) within the limits -> GELU on the output grid (C,), element by element."""
    grid, k = params.grids, params.segment_bits
    shift = k + params.fraction_bits
    out = []
    for q in x:
        index, fraction = divmod(q - grid.input_limits[0], 2**k)
        watch("knot", params.knots[index])
        rise = (params.knots[index + 1] - params.knots[index]) * fraction if k else 0
        watch("rise", rise)
        accumulator = (params.knots[index] << k) + rise + (1 << shift >> 1)
        watch("accumulator", accumulator)
        out.append(clamp(grid.output_zero_point + (accumulator >> shift), grid.output_limits))
    return out
