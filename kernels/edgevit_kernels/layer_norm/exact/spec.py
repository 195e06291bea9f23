"""LayerNorm with exact sums, one rounding to the output and a proven error. Ours.

No mean is rounded: everything is multiplied by C. With S = sum x (the zero point of the input cancels):

    y = C x - S;  Q = C sum x**2 - S**2 = C**2 var
    (x - mean) / sqrt(var + epsilon) = y / sqrt(Q + epsilon C**2 / S_in**2)
    W = max(Q 2**f + E, 2**f),  E = round(2**f epsilon C**2 / S_in**2), f even
    w = W 4**j in [2**60, 2**62);  k = sqrt(w) to the nearest integer;  rho = floor((2**61 + floor(k / 2)) / k)
    n = floor((y rho + 2**(h - 1)) / 2**h),  h = 61 - f / 2 - j - u;  out = affine(n), steps of n: 2**-u

(max() only matters for constant rows, where y = 0 and the output is beta.) u = 30 - ceil(log2(C) / 2), so that n,
at most sqrt(C - 1), has 30 bits and a sign; h >= 30 - u.

Error of n: relative 2**-31 from k (at least 2**30, off by at most 1/2), 2**-31 from rho, and half of that of W,
which is 2**-(f+1) / (C - 1), because Q is 0 or at least C - 1; and absolute 2**-(u+1). With the error of the affine
dyadics, ``Params.error_bound`` is a bound of |out - LayerNorm| in output steps, 1/2 of it being the final rounding.

Width: S and y 32 bits signed, Q, W and the two products 64 bits signed, rho and k 32 bits unsigned. Accepted:
16-bit inputs or narrower, C <= 4096, W below 2**62 with f >= 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit.errors import QuantError
from edgevit_kernels.layer_norm import affine
from edgevit_kernels.layer_norm.rows import check_rows, scaled_epsilon, sqrt
from edgevit_kernels.requantize.spec import INT8, Limits, Real
from edgevit_kernels.widths import Watch, Width, refuse_overflow, round_half_up, unwatched

SUM_BITS = 62
HINT = "raise the input scale (a residual stream of fewer bits), or lower epsilon"


@dataclass(frozen=True)
class Params:
    """Input limits, f and E of W, u of n, the affine step, and the error bound in output steps."""

    input_limits: Limits
    fraction_bits: int
    epsilon: int
    unit_bits: int
    affine: affine.Affine
    error_bound: Fraction

    @property
    def output_scale(self) -> Fraction:
        """Real value of one output step."""
        return self.affine.output_scale

    @property
    def output_zero_point(self) -> int:
        """The output integer of real zero."""
        return self.affine.output_zero_point

    @property
    def output_limits(self) -> Limits:
        """Smallest and largest output."""
        return self.affine.output_limits


def prepare(
    gamma: Sequence[Real],
    beta: Sequence[Real],
    output_scale: Real,
    *,
    input_scale: Real,
    epsilon: Real = 0,
    input_limits: Limits = INT8,
    output_zero_point: int = 0,
    output_limits: Limits = INT8,
) -> Params:
    """Parameters for C = len(gamma) channels. Raises QuantError for parameters out of range."""
    channels = len(gamma)
    check_rows(channels, input_limits)
    added = scaled_epsilon(epsilon, input_scale, channels**2)
    largest = _largest_q(channels, input_limits) + math.ceil(added)
    fraction_bits = (SUM_BITS - 1 - largest.bit_length()) // 2 * 2
    if fraction_bits < 0:
        raise QuantError(f"LayerNorm: epsilon is {float(added):.3g} in units of C**2 S_in**2, beyond 2**60", hint=HINT)
    unit_bits = 30 - ((channels - 1).bit_length() + 1) // 2
    step = affine.affine(gamma, beta, Fraction(1, 2**unit_bits), output_scale, output_zero_point, output_limits)
    bound = _error_bound(affine.exact(gamma, "gamma"), fraction_bits, unit_bits, step)
    params = Params(input_limits, fraction_bits, round_half_up(added * 2**fraction_bits), unit_bits, step, bound)
    refuse_overflow(widths(params), "LayerNorm", HINT)
    return params


def _largest_q(channels: int, limits: Limits) -> int:
    """C**2 var is at most C**2 span**2 / 4 (Popoviciu)."""
    return channels**2 * (limits[1] - limits[0]) ** 2 // 4


def _error_bound(gains: Sequence[Fraction], fraction_bits: int, unit_bits: int, step: affine.Affine) -> Fraction:
    channels = step.channels
    reach = sqrt(channels) + Fraction(1, 2**20)  # of n
    root = Fraction(1, 2 ** (fraction_bits + 1)) / max(channels - 1, 1) / 2
    # Second-order terms of the three relative errors stay below a hundredth of their sum.
    normalised = reach * (Fraction(2, 2**31) + root) * Fraction(101, 100) + Fraction(1, 2 ** (unit_bits + 1))
    worst = Fraction(0)
    for gain, multiplier, shift in zip(gains, step.multipliers, step.shifts, strict=True):
        ratio = gain / step.output_scale
        dyadic = abs(Fraction(multiplier, 2**shift) * 2**unit_bits - ratio)
        worst = max(worst, abs(ratio) * normalised + dyadic * reach + Fraction(1, 2 ** (shift + 1)))
    return Fraction(1, 2) + worst


def widths(params: Params) -> list[Width]:
    """The interval of every intermediate value over all rows within the limits."""
    channels, (low, high) = params.affine.channels, params.input_limits
    sums = channels * max(abs(low), abs(high))
    deviation = (channels - 1) * (high - low)
    weighted = (_largest_q(channels, params.input_limits) << params.fraction_bits) + params.epsilon
    scaled = deviation << 31
    return [
        Width("sum", -sums, sums),
        Width("deviation", -deviation, deviation),
        Width("C times the sum of squares", 0, sums * sums, 64),
        Width("W", 2**params.fraction_bits, max(weighted, 2**params.fraction_bits), SUM_BITS + 1),
        Width("square root", 2**30, 2**31, 33),
        Width("reciprocal", 2**30, 2**31, 33),
        Width("product", -scaled - 2**61, scaled + 2**61, 64),
        Width("normalised", -(2**30) - 8, 2**30 + 8),
    ]


def apply(x: Sequence[int], params: Params, watch: Watch = unwatched) -> list[int]:
    """One row (C,) of inputs within the limits -> outputs (C,)."""
    channels, total = len(x), sum(x)
    squares = channels * sum(value * value for value in x)
    watch("sum", total)
    watch("C times the sum of squares", squares)
    floor = 2**params.fraction_bits
    weighted = max((squares - total * total) * floor + params.epsilon, floor)
    watch("W", weighted)
    pairs = (SUM_BITS - weighted.bit_length()) // 2
    scaled = weighted << 2 * pairs
    root = math.isqrt(scaled)
    root += scaled - root * root > root
    watch("square root", root)
    reciprocal = (2**61 + root // 2) // root
    watch("reciprocal", reciprocal)
    shift = 61 - params.fraction_bits // 2 - pairs - params.unit_bits
    out = []
    for channel, value in enumerate(x):
        y = channels * value - total
        watch("deviation", y)
        product = y * reciprocal + (1 << (shift - 1))
        watch("product", product)
        watch("normalised", product >> shift)
        out.append(affine.apply(product >> shift, channel, params.affine))
    return out
