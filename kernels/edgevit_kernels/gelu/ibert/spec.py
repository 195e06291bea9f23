"""i-GELU: GELU(x) = x / 2 (1 + erf(x / sqrt 2)), erf by a polynomial of degree 2.

Source: Kim et al., I-BERT, ICML 2021, section 3.4; the released code for the constants and the floor by 2**14.

    L(u) = sgn(u) [a (min(|u|, -b) + b)**2 + 1],  a = -0.2888, b = -1.769, u = x / 1.4142

With I = (q - z) 2**p of scale S and S_e = S / 1.4142:

    b' = floor(b / S_e);  c' = floor(1 / (a S_e**2));  y = sgn(I) ((min(|I|, -b') + b')**2 + c');  y <- y >> 14
    one = floor(1 / (a S_e**2 2**14));  out = requantize(-I (y + one)) from scale -a S S_e**2 2**14 / 2

The scale of y is negative, as a is; the sign is moved to the product.

The published form reads 32-bit accumulators (S near 1e-4). p brings an 8- or 16-bit input to such a scale; it
changes no value. It is the largest p for which everything fits 32 bits and the requantization its range, unless it
is given. With p = 0 at 8 bits the scale of y exceeds the value 1 that it has to express, and prepare refuses.

Rounding: floors, half up in the requantization. Accepted: -one >= 2**4, and the widths below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit.errors import QuantError
from edgevit_kernels.gelu.grid import GridParams, Grids, grids
from edgevit_kernels.requantize.spec import INT8, Dyadic, Limits, Real, clamp, dyadic, rescale
from edgevit_kernels.widths import Watch, Width, refuse_overflow, unwatched

A, B = Fraction(-2888, 10000), Fraction(-1769, 1000)
SQRT2 = Fraction(14142, 10000)
ERF_SHIFT = 14
MIN_RATIO = Fraction(1, 2**31)
"""Dyadic requantization ends at 2**-32."""

MIN_STEPS = 2**4
"""Fewer steps than this between erf = 0 and erf = 1 are no approximation of erf."""


@dataclass(frozen=True)
class Params(GridParams):
    """Grids, the left shift p of the input, the integer constants, and the ratio of product and output scale."""

    pre_shift: int
    b: int
    c: int
    one: int
    requant: Dyadic


def prepare(
    input_scale: Real,
    output_scale: Real,
    *,
    input_zero_point: int = 0,
    input_limits: Limits = INT8,
    output_zero_point: int = 0,
    output_limits: Limits = INT8,
    pre_shift: int | None = None,
) -> Params:
    """Parameters for GELU between two grids. Raises QuantError for scales at which a constant or a product misfits."""
    both = grids(
        input_scale,
        output_scale,
        input_zero_point=input_zero_point,
        input_limits=input_limits,
        output_zero_point=output_zero_point,
        output_limits=output_limits,
    )
    if pre_shift is None:
        pre_shift = 0
        while _ratio(both, pre_shift + 1) >= MIN_RATIO and all(w.fits for w in widths(_at(both, pre_shift + 1))):
            pre_shift += 1
    params = _at(both, pre_shift)
    refuse_overflow(widths(params), "i-GELU", "raise the input scale, narrow the input limits, or use the form table")
    if -params.one < MIN_STEPS:
        raise QuantError(
            f"i-GELU: at a scale of {float(both.input_scale / 2**pre_shift):.3g} erf has {-params.one} steps, under "
            f"{MIN_STEPS}",
            hint="leave pre_shift to prepare, narrow the input limits, or use the form table",
        )
    return params


def _step(both: Grids, pre_shift: int) -> Fraction:
    """The (negative) scale of erf."""
    step: Fraction = A * (both.input_scale / 2**pre_shift / SQRT2) ** 2 * 2**ERF_SHIFT
    return step


def _ratio(both: Grids, pre_shift: int) -> Fraction:
    """Scale of the product over that of the output."""
    ratio: Fraction = -_step(both, pre_shift) * both.input_scale / 2**pre_shift / 2 / both.output_scale
    return ratio


def _at(both: Grids, pre_shift: int) -> Params:
    erf_scale = both.input_scale / 2**pre_shift / SQRT2
    return Params(
        both,
        pre_shift,
        math.floor(B / erf_scale),
        math.floor(1 / (A * erf_scale**2)),
        math.floor(1 / _step(both, pre_shift)),
        dyadic(_ratio(both, pre_shift)),
    )


def widths(params: Params) -> list[Width]:
    """The interval of every intermediate value over all inputs within the limits."""
    reach = params.grids.magnitude << params.pre_shift
    square = params.b * params.b
    largest = max(abs(params.c), abs(square + params.c))
    erf = (largest >> ERF_SHIFT) + 1
    factor = erf - params.one
    return [
        Width("input", -reach, reach),
        Width("c", params.c, params.c),
        Width("square", 0, square),
        Width("polynomial", -largest, largest),
        Width("erf", -erf, erf),
        Width("erf plus one", -factor, factor),
        Width("product", -reach * factor, reach * factor),
    ]


def apply(x: Sequence[int], params: Params, watch: Watch = unwatched) -> list[int]:
    """Inputs (C,) within the limits -> GELU on the output grid (C,), element by element."""
    grid = params.grids
    out = []
    for q in x:
        i = (q - grid.input_zero_point) << params.pre_shift
        watch("input", i)
        square = (min(abs(i), -params.b) + params.b) ** 2
        watch("square", square)
        sign = (i > 0) - (i < 0)
        watch("polynomial", sign * (square + params.c))
        erf = sign * (square + params.c) >> ERF_SHIFT
        watch("erf", erf)
        watch("erf plus one", erf + params.one)
        product = -i * (erf + params.one)
        watch("product", product)
        out.append(clamp(grid.output_zero_point + rescale(product, params.requant), grid.output_limits))
    return out
