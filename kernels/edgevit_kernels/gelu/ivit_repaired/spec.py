"""ShiftGELU repaired: x sigmoid(1.702 x) with ShiftExp's approximations, each element by itself, within 32 bits.

Source: Li and Gu, I-ViT, arXiv 2207.01405, section 3.4, with these changes:

1. The larger of 0 and the element itself takes the place of the row maximum, so no exponent is positive, nothing
   saturates and an outlier spoils no other element.
2. The input is first scaled up by 2**p so that x0 has 18 bits; the remainder is shifted right by the quotient,
   instead of a small x0 being shifted left by n - quotient. No scale is too fine, and there is no lower clamp.
3. The sigmoid is one rounded division with 12 bits instead of a floored reciprocal with 8.

With I = q - z of scale S, x0 = -round(2**p / (1.702 S)) in (-2**18, -2**17]:

    exp(i):  i <- i 2**p;  i <- i + (i >> 1) - (i >> 4);  k = floor(i / x0)
             exp = (((i - x0 k) >> 1) - x0) >> min(k, 31)
    e = exp(min(I, 0));  T = e + exp(-max(I, 0));  sigma = floor((e 2**12 + floor(T / 2)) / T)
    out = requantize(I sigma) from scale S / 2**12

What stays of the published form are its three approximations: the logistic function for Phi, 1.4375 for log2 e, and
1 - t / 2 for 2**-t.

Accepted: |I| 2**p within 30 bits, that is |x| < 2400 or so, and |I| < 2**18. Rounding: floors in exp, half up in
the division and the requantization.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit.errors import QuantError
from edgevit_kernels.gelu.grid import GridParams, grids
from edgevit_kernels.requantize.spec import INT8, Dyadic, Limits, Real, clamp, dyadic, rescale
from edgevit_kernels.widths import Watch, Width, refuse_overflow, round_half_up, unwatched

X0_BITS = 18
SIGMOID_BITS = 12
MAX_QUOTIENT = 31
HINT = "the input grid is unusually coarse or fine: calibrate its range again, or use the form table"


@dataclass(frozen=True)
class Params(GridParams):
    """Grids, the left shift p >= 0 of the input, x0 in (-2**18, -2**17], and the ratio of product and output scale."""

    pre_shift: int
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
    """Parameters for GELU between two grids. Raises QuantError for an input range that leaves 32 bits."""
    both = grids(
        input_scale,
        output_scale,
        input_zero_point=input_zero_point,
        input_limits=input_limits,
        output_zero_point=output_zero_point,
        output_limits=output_limits,
    )
    unit = 1 / (both.input_scale * Fraction(1702, 1000))
    if unit >= 2 ** (X0_BITS - 1):
        raise QuantError(f"ShiftGELU: the input scale {float(both.input_scale):.3g} is below 2**-18", hint=HINT)
    pre_shift = 0
    while round_half_up(unit * 2 ** (pre_shift + 1)) < 2**X0_BITS:
        pre_shift += 1
    ratio = both.input_scale / 2**SIGMOID_BITS / both.output_scale
    params = Params(both, pre_shift, -round_half_up(unit * 2**pre_shift), dyadic(ratio))
    refuse_overflow(widths(params), "ShiftGELU (repaired)", HINT)
    return params


def widths(params: Params) -> list[Width]:
    """The interval of every intermediate value over all inputs within the limits."""
    reach = params.grids.magnitude << params.pre_shift
    return [
        Width("scaled input", -reach, 0),
        Width("scaled by log2 e", -(reach + (reach + 1) // 2), 0),  # i + (i >> 1), before the last term raises it again
        Width("exp", 0, -params.x0),
        Width("sum", -params.x0, -2 * params.x0),
        Width("numerator", 0, (-params.x0 << SIGMOID_BITS) - params.x0),
        Width("sigmoid", 0, 2**SIGMOID_BITS),
        Width("product", -params.grids.magnitude << SIGMOID_BITS, params.grids.magnitude << SIGMOID_BITS),
    ]


def shift_exp(i: int, params: Params, watch: Watch) -> int:
    """exp of i <= 0 in units of 1 / -x0."""
    i <<= params.pre_shift
    watch("scaled input", i)
    watch("scaled by log2 e", i + (i >> 1))
    i = i + (i >> 1) - (i >> 4)
    quotient = i // params.x0
    result = ((i - params.x0 * quotient >> 1) - params.x0) >> min(quotient, MAX_QUOTIENT)
    watch("exp", result)
    return result


def apply(x: Sequence[int], params: Params, watch: Watch = unwatched) -> list[int]:
    """Inputs (C,) within the limits -> GELU on the output grid (C,), element by element."""
    grid = params.grids
    out = []
    for q in x:
        i = q - grid.input_zero_point
        e = shift_exp(min(i, 0), params, watch)
        total = e + shift_exp(-max(i, 0), params, watch)
        watch("sum", total)
        watch("numerator", (e << SIGMOID_BITS) + (total >> 1))
        sigmoid = ((e << SIGMOID_BITS) + (total >> 1)) // total
        watch("sigmoid", sigmoid)
        watch("product", i * sigmoid)
        out.append(clamp(grid.output_zero_point + rescale(i * sigmoid, params.requant), grid.output_limits))
    return out
