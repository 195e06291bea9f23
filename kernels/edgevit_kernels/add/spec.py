"""Normative meaning of the residual addition a + b of two quantized tensors, in Python integers and Fractions.

With the scales s and zero points z of both operands and of the result, r_a = s_a / s and r_b = s_b / s, there are two
forms; `round` goes to nearest, ties towards plus infinity.

``separate`` (I-ViT, arXiv 2207.01405, section 3.2): each branch is requantized, then summed, then clamped.

    out = clamp(z + round((a - z_a) m_a / 2**e_a) + round((b - z_b) m_b / 2**e_b))

Roundings: two, so the error is at most 1 step of the output (more by 2**-31 of the sum, from the dyadics). Width: each
product as in ``requantize``, signed 64 bits.

``common`` (ours): both branches go to one finer scale 2**-e, where they are summed; the sum is rounded once.

    n_a = floor(r_a 2**e + 1/2), n_b likewise
    out = clamp(z + floor(((a - z_a) n_a + (b - z_b) n_b + 2**(e-1)) / 2**e))

Roundings: one, so the error is at most 1/2 + (max|a - z_a| + max|b - z_b|) / 2**(e+1) steps. e is the largest for which
n_a, n_b < 2**31 and the worst sum fits the accumulator, which has 32 or 64 bits:

    max|a - z_a| n_a + max|b - z_b| n_b + 2**(e-1) <= 2**(bits-1) - 1

Range of both: operands within the limits that ``prepare`` was given, at most int32 after the zero point is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from edgevit.errors import QuantError
from edgevit_kernels.requantize.spec import (
    INT8,
    INT32,
    Dyadic,
    Limits,
    Real,
    check_grid,
    clamp,
    dyadic,
    positive,
    rescale,
)

MAX_EXCESS = Fraction(1, 16)


@dataclass(frozen=True)
class Operand:
    """A quantized operand: real value = scale * (q - zero_point), q within limits."""

    scale: Real
    zero_point: int = 0
    limits: Limits = INT8

    @property
    def reach(self) -> int:
        """Largest |q - zero_point|."""
        return max(self.limits[1] - self.zero_point, self.zero_point - self.limits[0])


@dataclass(frozen=True)
class SeparateParams:
    """A dyadic for each branch, and the grids."""

    zero_points: tuple[int, int]
    dyadics: tuple[Dyadic, Dyadic]
    output_scale: Fraction
    output_zero_point: int
    output_limits: Limits


@dataclass(frozen=True)
class CommonParams:
    """Multipliers over one power of two, the width of the sum in bits, and the grids.

    ``max_sum`` is the largest magnitude in the accumulator, ``max_error`` the bound on the error in output steps.
    """

    zero_points: tuple[int, int]
    multipliers: tuple[int, int]
    shift: int
    bits: int
    max_sum: int
    max_error: Fraction
    output_scale: Fraction
    output_zero_point: int
    output_limits: Limits


def _check(a: Operand, b: Operand, output: Operand) -> None:
    for operand, name in ((a, "the first operand"), (b, "the second operand"), (output, "the output")):
        check_grid(operand.zero_point, operand.limits, name)
        if operand is not output and operand.reach > -INT32[0]:
            raise QuantError(
                f"{name} less its zero point reaches {operand.reach}", hint="requantize it to 16 bits or fewer first"
            )


def prepare_separate(a: Operand, b: Operand, output: Operand) -> SeparateParams:
    """Raises QuantError for impossible grids and for a ratio of scales that no dyadic has (see ``requantize``)."""
    _check(a, b, output)
    scale = positive(output.scale, "the output scale")
    factors = [dyadic(positive(operand.scale, "an operand's scale") / scale) for operand in (a, b)]
    return SeparateParams(
        (a.zero_point, b.zero_point), (factors[0], factors[1]), scale, output.zero_point, output.limits
    )


def apply_separate(a: int, b: int, params: SeparateParams) -> int:
    """One element of each operand -> one of the sum."""
    left = rescale(a - params.zero_points[0], params.dyadics[0])
    right = rescale(b - params.zero_points[1], params.dyadics[1])
    return clamp(params.output_zero_point + left + right, params.output_limits)


def prepare_common(
    a: Operand, b: Operand, output: Operand, *, bits: int = 64, max_excess: Fraction = MAX_EXCESS
) -> CommonParams:
    """``bits`` is the width of the accumulator, 32 or 64.

    Raises QuantError for impossible grids, and where the error could exceed 1/2 + ``max_excess`` output steps.
    """
    if bits not in (32, 64):
        raise QuantError(f"an accumulator of {bits} bits", hint="use 32 or 64")
    _check(a, b, output)
    scale = positive(output.scale, "the output scale")
    ratios = [positive(operand.scale, "an operand's scale") / scale for operand in (a, b)]
    reaches = (a.reach, b.reach)
    for shift in range(62, 0, -1):
        multipliers = [int(ratio * 2**shift + Fraction(1, 2)) for ratio in ratios]
        total = sum(reach * multiplier for reach, multiplier in zip(reaches, multipliers, strict=True))
        total += 2 ** (shift - 1)
        if max(multipliers) < 2**31 and total < 2 ** (bits - 1):
            break
    else:
        raise QuantError(
            f"operands up to {float(max(r * s for r, s in zip(reaches, ratios, strict=True))):.3g} output steps",
            hint="calibrate the output scale again: the sum does not fit its grid",
        )
    excess = Fraction(sum(reaches), 2 ** (shift + 1))
    if excess > max_excess:
        raise QuantError(
            f"the sum in {bits} bits leaves {shift} fraction bits, an error of up to 1/2 + {float(excess):.3g} steps, "
            f"above 1/2 + {float(max_excess):.3g}",
            hint="use a 64-bit accumulator" if bits == 32 else "lower the ratio of operand scale to output scale",
        )
    return CommonParams(
        (a.zero_point, b.zero_point),
        (multipliers[0], multipliers[1]),
        shift,
        bits,
        total,
        Fraction(1, 2) + excess,
        scale,
        output.zero_point,
        output.limits,
    )


def apply_common(a: int, b: int, params: CommonParams) -> int:
    """One element of each operand -> one of the sum."""
    left = (a - params.zero_points[0]) * params.multipliers[0]
    right = (b - params.zero_points[1]) * params.multipliers[1]
    rounded = (left + right + 2 ** (params.shift - 1)) >> params.shift
    return clamp(params.output_zero_point + rounded, params.output_limits)
