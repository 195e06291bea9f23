"""ShiftGELU as published: GELU(x) ~ x sigmoid(1.702 x), the sigmoid from ShiftExp over the row.

Source: Li and Gu, I-ViT, arXiv 2207.01405, section 3.4; the released PyTorch code for what the paper leaves open
(the factor 1.702 goes into the scale, the halved remainder is floored after the shift, n = 23, 8 bits of sigmoid).

With I = q - z of scale S, S' = 1.702 S and the maximum M of I over the last axis:

    ShiftExp(i):  i <- i + (i >> 1) - (i >> 4);  x0 = floor(-1 / S');  i <- max(i, n x0)
                  p = floor(i / x0);  r = i - x0 p;  exp = floor((r / 2 - x0) 2**(n - p))      of scale S' / 2**n
    e = ShiftExp(I - M);  e_M = ShiftExp(-M);  T = min(e + e_M, 2**31 - 1)
    sigma = floor(e floor((2**31 - 1) / T) / 2**24)                                            of scale 2**-7
    out = requantize(I sigma) from scale S / 2**7

Rounding: floors, and half up in the requantization. ShiftExp saturates at 2**31 - 1, which changes nothing in T.

Accepted: S' > 1 / 256, so that ShiftExp of a value <= 0, at most -x0 2**23, fits 32 bits; 8-bit limits or narrower
ones.

Known defects, all published (ivit_repaired has none of them): a row whose maximum is large puts every value of the
row to the lower clamp of ShiftExp, where sigma is 1/2 or more; a row without positive values has e_M beyond 32
bits; the integer reciprocal of T has few bits, so that sigma can be too small by up to one half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit.errors import QuantError
from edgevit_kernels.gelu.grid import GridParams, grids
from edgevit_kernels.requantize.spec import INT8, INT32, Dyadic, Limits, Real, clamp, dyadic, rescale
from edgevit_kernels.widths import Watch, Width, refuse_overflow, unwatched

N = 23
SIGMOID_SHIFT = 24  # 31 - 8 + 1: a sigmoid of 8 bits, scale 2**-7
MAX_SHIFT = 32
"""A left shift by more saturates whatever is shifted."""


@dataclass(frozen=True)
class Params(GridParams):
    """Grids, x0 = floor(-1 / S') in [-255, -1], and the ratio of the scales of the product and the output."""

    x0: int
    requant: Dyadic


def prepare(
    input_scale: Real,
    output_scale: Real,
    *,
    input_zero_point: int = 0,
    input_limits: Limits = INT8,
    output_zero_point: int = 0,
    output_limits: Limits = INT8,
) -> Params:
    """Parameters for GELU between two grids. Raises QuantError for scales at which ShiftExp leaves 32 bits."""
    both = grids(
        input_scale,
        output_scale,
        input_zero_point=input_zero_point,
        input_limits=input_limits,
        output_zero_point=output_zero_point,
        output_limits=output_limits,
    )
    x0 = math.floor(-1 / (both.input_scale * Fraction(1702, 1000)))
    params = Params(both, x0, dyadic(both.input_scale / 128 / both.output_scale))
    hint = "raise the input scale above 1/435 (8-bit inputs), or use the form ivit_repaired or table"
    if both.magnitude >= 2**15:
        raise QuantError("ShiftGELU: inputs beyond 15 bits and a sign", hint=hint)
    refuse_overflow(widths(params), "ShiftGELU", hint)
    return params


def widths(params: Params) -> list[Width]:
    """The interval of every intermediate value over all inputs within the limits."""
    span = params.grids.input_limits[1] - params.grids.input_limits[0]
    reach = max(span, params.grids.magnitude)
    return [
        Width("scaled by log2 e", -2 * reach, 2 * reach),
        Width("n x0", N * params.x0, 0),
        Width("exp of x - max", 0, -params.x0 << N),
        Width("exp of -max", 0, INT32[1]),
        Width("sum before the clamp", 0, (-params.x0 << N) + INT32[1], 33),
        Width("exp times the reciprocal", 0, INT32[1]),
        Width("sigmoid", 0, 2**7 - 1, 9),
        Width("product", -params.grids.magnitude * 2**7, params.grids.magnitude * 2**7),
    ]


def shift_exp(i: int, x0: int) -> int:
    """ShiftExp in units of S' / 2**23, saturated at 2**31 - 1. i of 18 bits."""
    i = max(i + (i >> 1) - (i >> 4), N * x0)
    quotient = i // x0
    remainder = i - x0 * quotient
    # min() only shortens shifts that saturate anyway: remainder - 2 x0 is at least 2.
    return min((remainder - 2 * x0 << min(N - quotient, MAX_SHIFT)) >> 1, INT32[1])


def apply(x: Sequence[int], params: Params, watch: Watch = unwatched) -> list[int]:
    """One row (C,) of inputs within the limits -> GELU on the output grid (C,). The whole row enters every output."""
    grid = params.grids
    centred = [q - grid.input_zero_point for q in x]
    maximum = max(centred)
    exp_of_max = shift_exp(-maximum, params.x0)
    watch("exp of -max", exp_of_max)
    out = []
    for i in centred:
        e = shift_exp(i - maximum, params.x0)
        watch("exp of x - max", e)
        watch("sum before the clamp", e + exp_of_max)
        scaled = e * (INT32[1] // min(e + exp_of_max, INT32[1]))
        watch("exp times the reciprocal", scaled)
        sigmoid = scaled >> SIGMOID_SHIFT
        watch("sigmoid", sigmoid)
        watch("product", i * sigmoid)
        out.append(clamp(grid.output_zero_point + rescale(i * sigmoid, params.requant), grid.output_limits))
    return out
