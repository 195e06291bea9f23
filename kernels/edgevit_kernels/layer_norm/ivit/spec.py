"""I-LayerNorm as published.

Source: Li and Gu, I-ViT, arXiv 2207.01405, section 3.5; the released PyTorch code for the start 2**16, the ten
steps, the variance that is not divided by C and the folded bias. Over the C channels of a row:

    mean = round(sum x / C), ties to even;  y = x - mean;  V = sum y**2
    k <- 2**16, then ten times k <- floor((k + floor(V / k)) / 2)
    F = floor((2**31 - 1) / k);  n = floor(y F / 2) + floor((beta_c / gamma_c) / u),  u = sqrt(C) / 2**30
    out = clamp(z + round_half_up(n gamma_c u / S_out))

The zero point of the input cancels but for ties of the mean. There is no epsilon.

Accepted: 16-bit inputs or narrower, gamma_c != 0, |beta_c / gamma_c| so that n fits 32 bits, and V within
``sum_bits`` bits: 64 as the float of the published code allows, or 32 for a kernel that has no more. k never falls
below floor(sqrt V) >= |y|, hence y F < 2**31.

Known defects, published (ivit_repaired has none): for V under about 2.8e4 ten steps from 2**16 do not converge, so
the output is too small (by 2.1 at V = 2**10, by 8 at V = 2**6); gamma = 0 is undefined; the bias may leave 32 bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit.errors import QuantError
from edgevit_kernels.layer_norm import affine
from edgevit_kernels.layer_norm.rows import check_rows, largest_deviation, largest_square_sum, sqrt
from edgevit_kernels.requantize.spec import INT8, INT32, Limits, Real
from edgevit_kernels.widths import Watch, Width, refuse_overflow, unwatched

START, STEPS = 2**16, 10


@dataclass(frozen=True)
class Params:
    """Input limits, the folded biases beta / gamma in steps of u, the affine step, and the bits of V."""

    input_limits: Limits
    biases: tuple[int, ...]
    affine: affine.Affine
    sum_bits: int

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
    sum_bits: int = 64,
) -> Params:
    """Parameters for C = len(gamma) channels. Raises QuantError for gamma = 0 or a bias beyond 32 bits."""
    gains, biases = affine.gains_and_biases(gamma, beta)
    check_rows(len(gains), input_limits)
    if 0 in gains:
        raise QuantError(
            f"I-LayerNorm: gamma of channel {gains.index(0)} is 0, and beta / gamma undefined",
            hint="use the form ivit_repaired or exact",
        )
    unit = sqrt(len(gains)) / 2**30
    step = affine.affine(gains, [0] * len(biases), unit, output_scale, output_zero_point, output_limits)
    folded = tuple(math.floor(b / g / unit) for g, b in zip(gains, biases, strict=True))
    params = Params(input_limits, folded, step, sum_bits)
    refuse_overflow(widths(params), "I-LayerNorm", "use the form ivit_repaired or exact")
    return params


def widths(params: Params) -> list[Width]:
    """The interval of every intermediate value over all rows within the limits."""
    channels, span = params.affine.channels, params.input_limits[1] - params.input_limits[0]
    squares = largest_square_sum(channels, span)
    sums = channels * max(map(abs, params.input_limits))
    low, high = min(params.biases), max(params.biases)
    return [
        Width("sum", -sums, sums),
        Width("deviation", -largest_deviation(channels, span), largest_deviation(channels, span)),
        Width("sum of squares", 0, squares, params.sum_bits),
        Width("square root", 1, (START + squares // START) // 2 + START),
        Width("product", -INT32[1], INT32[1]),
        Width("normalised", -(2**30) + min(low, 0), 2**30 + max(high, 0)),
    ]


def published_sqrt(value: int) -> int:
    """Ten Newton steps from 2**16. Below 2**62, positive for every value that a row can have."""
    k = START
    for _ in range(STEPS):
        k = (k + value // k) // 2
    return k


def apply(x: Sequence[int], params: Params, watch: Watch = unwatched) -> list[int]:
    """One row (C,) of inputs within the limits -> outputs (C,)."""
    watch("sum", sum(x))
    mean = round(Fraction(sum(x), len(x)))  # Python rounds ties to even
    y = [value - mean for value in x]
    squares = sum(value * value for value in y)
    watch("sum of squares", squares)
    root = published_sqrt(squares)
    watch("square root", root)
    factor = INT32[1] // root
    out = []
    for channel, (value, bias) in enumerate(zip(y, params.biases, strict=True)):
        watch("deviation", value)
        watch("product", value * factor)
        normalised = (value * factor >> 1) + bias
        watch("normalised", normalised)
        out.append(affine.apply(normalised, channel, params.affine))
    return out
