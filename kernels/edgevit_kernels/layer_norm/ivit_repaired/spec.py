"""I-LayerNorm repaired: the square root converges, gamma may be 0, epsilon counts, the bias is added after the gain.

Source: Li and Gu, I-ViT, arXiv 2207.01405, section 3.5, with these changes:

1. Newton's iteration starts at 2**ceil(bits(V) / 2) >= sqrt(V) (the paper's own idea; its code starts at 2**16) and
   stops when it no longer falls: then it is floor(sqrt V), for every V.
2. epsilon enters V, and V = 0 (a constant row) takes k = 1, so the row gives beta.
3. gamma and beta enter by one dyadic a channel (``layer_norm/affine.py``), so nothing is divided by gamma.
4. The mean is rounded half up, which needs no test for even numbers.

    mean = floor((2 sum x + C) / (2 C));  y = x - mean
    V = sum y**2 + round(C epsilon / S_in**2);  k = max(floor(sqrt V), 1)
    F = floor((2**31 - 1) / k);  n = floor(y F / 2);  out = affine(n), steps of n: sqrt(C) / 2**30

What stays of the published form is the rounding of the mean and of the root to integers, at 8 bits its largest
error.

Accepted: 16-bit inputs or narrower, V below 2**62. As k >= floor(sqrt V) >= |y|, y F < 2**31.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit_kernels.layer_norm import affine
from edgevit_kernels.layer_norm.rows import (
    check_rows,
    largest_deviation,
    largest_square_sum,
    scaled_epsilon,
    sqrt,
)
from edgevit_kernels.requantize.spec import INT8, INT32, Limits, Real
from edgevit_kernels.widths import Watch, Width, refuse_overflow, round_half_up, unwatched


@dataclass(frozen=True)
class Params:
    """Input limits, epsilon in units of V, and the affine step."""

    input_limits: Limits
    epsilon: int
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
    input_scale: Real,
    epsilon: Real = 0,
    input_limits: Limits = INT8,
    output_zero_point: int = 0,
    output_limits: Limits = INT8,
) -> Params:
    """Parameters for C = len(gamma) channels. Raises QuantError for parameters out of range."""
    check_rows(len(gamma), input_limits)
    unit = sqrt(len(gamma)) / 2**30
    step = affine.affine(gamma, beta, unit, output_scale, output_zero_point, output_limits)
    params = Params(input_limits, round_half_up(scaled_epsilon(epsilon, input_scale, len(gamma))), step)
    refuse_overflow(widths(params), "I-LayerNorm (repaired)", "raise the input scale, or leave epsilon out")
    return params


def widths(params: Params) -> list[Width]:
    """The interval of every intermediate value over all rows within the limits."""
    channels, span = params.affine.channels, params.input_limits[1] - params.input_limits[0]
    squares = largest_square_sum(channels, span) + params.epsilon
    sums = channels * max(map(abs, params.input_limits))
    return [
        Width("sum", -sums, sums),
        Width("deviation", -largest_deviation(channels, span), largest_deviation(channels, span)),
        Width("sum of squares", params.epsilon, squares, 63),
        Width("square root", 1, 1 << (squares.bit_length() + 1) // 2),
        Width("product", -INT32[1], INT32[1]),
        Width("normalised", -(2**30), 2**30),
    ]


def newton_sqrt(value: int) -> int:
    """floor(sqrt(value)) by Newton's iteration from 2**ceil(bits / 2), until it no longer falls."""
    if value == 0:
        return 0
    k = 1 << (value.bit_length() + 1) // 2
    while (following := (k + value // k) // 2) < k:
        k = following
    return k


def apply(x: Sequence[int], params: Params, watch: Watch = unwatched) -> list[int]:
    """One row (C,) of inputs within the limits -> outputs (C,)."""
    channels = len(x)
    watch("sum", sum(x))
    mean = (2 * sum(x) + channels) // (2 * channels)
    y = [value - mean for value in x]
    squares = sum(value * value for value in y) + params.epsilon
    watch("sum of squares", squares)
    root = max(newton_sqrt(squares), 1)
    watch("square root", root)
    factor = INT32[1] // root
    out = []
    for channel, value in enumerate(y):
        watch("deviation", value)
        watch("product", value * factor)
        watch("normalised", value * factor >> 1)
        out.append(affine.apply(value * factor >> 1, channel, params.affine))
    return out
