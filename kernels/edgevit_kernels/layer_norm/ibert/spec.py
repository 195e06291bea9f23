"""LayerNorm of I-BERT: i-sqrt, and a right shift that keeps the sum of squares in 32 bits.

Source: Kim et al., I-BERT, ICML 2021, section 3.5 and algorithm 4; the released code for the shift and the
constants.

    mean = round(sum x / C), ties to even;  y = x - mean
    V = min(sum (y >> s)**2, 2**32 - 1);  k = max(floor(sqrt V), 1) 2**s
    F = floor(2**31 / k);  n = floor(y F / 2) + floor((beta_c / gamma_c) / u),  u = sqrt(C) / 2**30
    out = clamp(z + round_half_up(n gamma_c u / S_out))

s is set by data: the smallest for which C times the square of ``variance_peak`` (the largest root mean square of y
in calibration, in input steps) stays below 2**32; without it, for the worst row within the limits, where V never
saturates. floor(sqrt V) is i-sqrt: Newton's iteration from 2**ceil(bits / 2) until it no longer falls.

Two values are pinned that the published code leaves undefined: V = 0 gives k = 2**s (there 2**31 / 0), and V
saturates. There is no epsilon, and gamma = 0 is refused, as beta / gamma is undefined.

Width: V and 2**31 / k are unsigned 32 bits. y F needs 64 bits, because the floor of y >> s lets |y| exceed k by up
to 2**s, and with a saturated V by more; n is refused beyond 33 bits by the bound of 64 bits on its product with the
gain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit.errors import QuantError
from edgevit_kernels.layer_norm import affine
from edgevit_kernels.layer_norm.ivit_repaired.spec import newton_sqrt
from edgevit_kernels.layer_norm.rows import check_rows, largest_deviation, largest_square_sum, sqrt
from edgevit_kernels.requantize.spec import INT8, Limits, Real
from edgevit_kernels.widths import Watch, Width, refuse_overflow, unwatched

UINT32_MAX = 2**32 - 1


@dataclass(frozen=True)
class Params:
    """Input limits, the right shift s of the variance, the folded biases in steps of u, and the affine step."""

    input_limits: Limits
    variance_shift: int
    biases: tuple[int, ...]
    affine: affine.Affine

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
    input_limits: Limits = INT8,
    output_zero_point: int = 0,
    output_limits: Limits = INT8,
    variance_peak: Real | None = None,
) -> Params:
    """Parameters for C = len(gamma) channels. Raises QuantError for gamma = 0 or a bias out of range."""
    gains, biases = affine.gains_and_biases(gamma, beta)
    channels = len(gains)
    check_rows(channels, input_limits)
    if 0 in gains:
        raise QuantError(
            f"I-BERT LayerNorm: gamma of channel {gains.index(0)} is 0, and beta / gamma undefined",
            hint="use the form ivit_repaired or exact",
        )
    span = input_limits[1] - input_limits[0]
    peak = Fraction(largest_square_sum(channels, span))
    if variance_peak is not None:
        peak = min(peak, channels * Fraction(variance_peak) ** 2)
    shift = 0
    # A floored y >> s of a negative y is larger than y / 2**s by less than 1.
    while (sqrt(math.ceil(peak)) / 2**shift + (sqrt(channels) if shift else 0)) ** 2 > UINT32_MAX:
        shift += 1
    unit = sqrt(channels) / 2**30
    step = affine.affine(gains, [0] * channels, unit, output_scale, output_zero_point, output_limits)
    folded = tuple(math.floor(b / g / unit) for g, b in zip(gains, biases, strict=True))
    params = Params(input_limits, shift, folded, step)
    refuse_overflow(widths(params), "I-BERT LayerNorm", "use the form ivit_repaired or exact")
    return params


def widths(params: Params) -> list[Width]:
    """The interval of every intermediate value over all rows within the limits."""
    channels, span = params.affine.channels, params.input_limits[1] - params.input_limits[0]
    sums = channels * max(map(abs, params.input_limits))
    deviation = largest_deviation(channels, span)
    # |y| < (floor(sqrt V) + 1) 2**s while V is not saturated, and k = 2**16 2**s - 1 when it is.
    ratio = max(Fraction(2), Fraction(deviation, (2**16 - 1) << params.variance_shift))
    if params.variance_shift == 0:
        ratio = max(Fraction(1), Fraction(deviation, 2**16 - 1))
    product = math.ceil(2**31 * ratio)
    low = -(product // 2) - 1 + min(0, min(params.biases))
    high = product // 2 + 1 + max(0, max(params.biases))
    gain = max(map(abs, params.affine.multipliers))
    rounding = 1 << (max(params.affine.shifts) - 1)
    return [
        Width("sum", -sums, sums),
        Width("deviation", -deviation, deviation),
        Width("sum of squares", 0, UINT32_MAX, 33),
        Width("square root", 1, (2**16 - 1) << params.variance_shift),
        Width("factor", 0, 2**31, 33),
        Width("product", -product, product, 64),
        Width("normalised", low, high, 34),
        Width("scaled", -max(-low, high) * gain, max(-low, high) * gain + rounding, 64),
    ]


def apply(x: Sequence[int], params: Params, watch: Watch = unwatched) -> list[int]:
    """One row (C,) of inputs within the limits -> outputs (C,)."""
    watch("sum", sum(x))
    mean = round(Fraction(sum(x), len(x)))  # Python rounds ties to even
    y = [value - mean for value in x]
    squares = min(sum((value >> params.variance_shift) ** 2 for value in y), UINT32_MAX)
    watch("sum of squares", squares)
    root = max(newton_sqrt(squares), 1) << params.variance_shift
    watch("square root", root)
    factor = 2**31 // root
    watch("factor", factor)
    out = []
    for channel, (value, bias) in enumerate(zip(y, params.biases, strict=True)):
        watch("deviation", value)
        watch("product", value * factor)
        normalised = (value * factor >> 1) + bias
        watch("normalised", normalised)
        watch("scaled", normalised * params.affine.multipliers[channel])
        out.append(affine.apply(normalised, channel, params.affine))
    return out
