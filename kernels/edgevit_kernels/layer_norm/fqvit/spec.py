"""LayerNorm of FQ-ViT: inputs with a power-of-two factor a channel, gain and offset with a multiplier of 8 bits.

Source: Lin et al., FQ-ViT, IJCAI 2022, section 3.2; the released code for M, N and B. Where that code leaves the
integers (it takes the root, the quotient and the logarithm in float32) the integers here are ours: root and
quotient to 31 bits.

    v = (q - z) 2**alpha_c, of scale S;  T = sum v;  D = max(C sum v**2 - T**2, 1) = C**2 var / S**2
    A_c = gamma_c C / (S_out sqrt D);  N = clamp(7 - floor(log2 |A|), 0, 31);  M = clamp(floor(|A| 2**N), 0, 255)
    B = round(2**N beta_c / S_out) - round(2**N |A| T / C) sgn(A)
    out = clamp(z_out + floor((sgn(A) M v + B) / 2**N + 1/2))

In integers, with g_c 2**-e_c the dyadic of |gamma_c| C / S_out and d = D 4**j in [2**60, 2**62):

    rho = floor(2**61 / floor(sqrt d));  a = floor(rho g_c / 2**31);  t = 30 + e_c - j, so that |A| ~ a 2**-t
    N = clamp(8 - bits(a) + t, 0, 31);  M = min(a >> (t - N), 255)
    round(2**N |A| T / C): floor(a T / C) shifted right by t - N, half up
    round(2**N beta / S_out): beta in steps of 2**-31 S_out, shifted right by 31 - N, half up

The scale S cancels. Published and kept: M is floored, so every gain is too small by up to 2**-7, by 2**-8.5 on
average, while B uses the unfloored A, so the output is off by up to 2**-7 |mean gamma / (sigma S_out)|; there is no
epsilon, and a constant row (undefined in the published code, D = 1 here) may saturate, as M is clamped and B is
not. gamma = 0 gives N = 31 and B of up to 46 bits, beyond the int32 of an integer kernel: B has 64 bits here.

Accepted: 8-bit inputs or narrower, alpha in 0..3, gains |gamma| C / S_out in [2**-31, 2**30) or 0, |beta| <= 2**14
S_out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit.errors import QuantError
from edgevit_kernels.layer_norm.affine import MAX_OFFSET, gains_and_biases
from edgevit_kernels.layer_norm.rows import check_rows
from edgevit_kernels.requantize.spec import INT8, UINT8, Dyadic, Limits, Real, check_grid, clamp, dyadic, positive
from edgevit_kernels.widths import Watch, Width, refuse_overflow, round_half_up, unwatched

MAX_ALPHA = 3
MANTISSA_BITS = 8
MAX_N = 31
ROOT_BITS = 62


@dataclass(frozen=True)
class Params:
    """Input grid with its factors, and a channel's sign of gamma, |gamma| C / S_out and beta in 2**-31 output steps."""

    input_limits: Limits
    input_zero_point: int
    alphas: tuple[int, ...]
    signs: tuple[int, ...]
    gains: tuple[Dyadic, ...]
    offsets: tuple[int, ...]
    output_scale: Fraction
    output_zero_point: int
    output_limits: Limits


def prepare(
    gamma: Sequence[Real],
    beta: Sequence[Real],
    output_scale: Real,
    *,
    alphas: Sequence[int],
    input_zero_point: int = 0,
    input_limits: Limits = UINT8,
    output_zero_point: int = 0,
    output_limits: Limits = INT8,
) -> Params:
    """Parameters for C = len(gamma) channels. Raises QuantError for parameters out of range."""
    weights, biases = gains_and_biases(gamma, beta)
    channels = len(weights)
    check_rows(channels, input_limits)
    if input_limits[1] - input_limits[0] > 255:
        raise QuantError("FQ-ViT LayerNorm: inputs of more than 8 bits", hint="quantize its input with factors first")
    if len(alphas) != channels:
        raise QuantError(f"FQ-ViT LayerNorm: {channels} channels, {len(alphas)} factors")
    if not all(0 <= alpha <= MAX_ALPHA for alpha in alphas):
        raise QuantError(f"FQ-ViT LayerNorm: factors from {min(alphas)} to {max(alphas)}", hint="0 to 3 are allowed")
    check_grid(input_zero_point, input_limits, "the input of LayerNorm")
    check_grid(output_zero_point, output_limits, "the output of LayerNorm")
    out = positive(output_scale, "the output scale of LayerNorm")
    if any(abs(bias) > MAX_OFFSET * out for bias in biases):
        raise QuantError(f"LayerNorm: beta beyond {MAX_OFFSET} output steps", hint="raise the output scale")
    params = Params(
        input_limits,
        input_zero_point,
        tuple(alphas),
        tuple((weight > 0) - (weight < 0) for weight in weights),
        # The sign 0 takes the place of a gain of 0; the dyadic is then that of the smallest gain.
        tuple(dyadic(max(abs(weight) * channels / out, Fraction(1, 2**31))) for weight in weights),
        tuple(round_half_up(bias / out * 2**MAX_N) for bias in biases),
        out,
        output_zero_point,
        output_limits,
    )
    refuse_overflow(widths(params), "FQ-ViT LayerNorm", "raise the output scale")
    return params


def reach(params: Params) -> int:
    """The largest |v|."""
    low, high = (limit - params.input_zero_point for limit in params.input_limits)
    return max(abs(low), abs(high)) << max(params.alphas)


def widths(params: Params) -> list[Width]:
    """The interval of every intermediate value over all rows within the limits."""
    channels, value = len(params.alphas), reach(params)
    term = 2**31 * value + 1  # a T / C
    # 2**N |A| < 2**8 unless N is clamped at 0, where |A| is at most the largest gain.
    gain = max(2**MANTISSA_BITS, max(math.ceil(dyadic.value) for dyadic in params.gains))
    offset = max(map(abs, params.offsets)) + 1 + gain * value + 1
    total = offset + 255 * value + 2 ** (MAX_N - 1)
    return [
        Width("input", -value, value),
        Width("sum", -channels * value, channels * value),
        Width("C times the sum of squares", 0, (channels * value) ** 2, 63),
        Width("reciprocal", 2**30, 2**31, 33),
        Width("gain", 2**29, 2**31, 33),
        Width("gain times sum", -channels * term, channels * term, 64),
        Width("offset", -offset, offset, 64),
        Width("scaled", -total, total, 64),
    ]


def half_up(value: int, shift: int) -> int:
    """value / 2**shift, rounded half up; shift >= 0."""
    return (value + (1 << shift >> 1)) >> shift


def apply(x: Sequence[int], params: Params, watch: Watch = unwatched) -> list[int]:
    """One row (C,) of inputs within the limits -> outputs (C,)."""
    channels = len(x)
    v = [(q - params.input_zero_point) << alpha for q, alpha in zip(x, params.alphas, strict=True)]
    total = sum(v)
    squares = channels * sum(value * value for value in v)
    watch("sum", total)
    watch("C times the sum of squares", squares)
    deviation = max(squares - total * total, 1)
    pairs = (ROOT_BITS - deviation.bit_length()) // 2
    reciprocal = 2**61 // math.isqrt(deviation << 2 * pairs)
    watch("reciprocal", reciprocal)
    out = []
    for value, sign, factor, bias in zip(v, params.signs, params.gains, params.offsets, strict=True):
        gain = reciprocal * factor.multiplier >> 31
        shift = 30 + factor.shift - pairs
        n = clamp(MANTISSA_BITS - gain.bit_length() + shift, (0, MAX_N))
        mantissa = min(gain >> min(shift - n, 62), 2**MANTISSA_BITS - 1)
        mean = half_up(gain * total // channels, min(shift - n, 62))
        offset = half_up(bias, MAX_N - n) - sign * mean
        scaled = sign * mantissa * value + offset + (1 << n >> 1)
        for name, seen in (
            ("input", value),
            ("gain", gain),
            ("gain times sum", gain * total),
            ("offset", offset),
            ("scaled", scaled),
        ):
            watch(name, seen)
        out.append(clamp(params.output_zero_point + (scaled >> n), params.output_limits))
    return out
