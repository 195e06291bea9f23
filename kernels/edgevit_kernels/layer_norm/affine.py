"""The last step of LayerNorm: gamma, beta and the output scale in one dyadic a channel, with one rounding.

    out = clamp(z + ((n m_c + b_c + 2**(e_c - 1)) >> e_c))
    m_c / 2**e_c ~ gamma_c unit / S_out;  b_c / 2**e_c ~ beta_c / S_out

n is the normalised value in steps of ``unit``. m_c is negative where gamma is, and 0 where gamma is; e_c is at most
46, so that beta up to 2**14 output steps fits (a gain below 2**-16 then has fewer than 31 bits, and an absolute
error below 2**-16 output steps). Everything fits 64 bits: |n m_c| < 2**62 with |n| <= 2**31, |b_c| <= 2**60.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit.errors import QuantError
from edgevit_kernels.requantize.spec import Limits, Real, check_grid, clamp, positive
from edgevit_kernels.widths import round_half_up

MAX_SHIFT = 46
MAX_OFFSET = 2**14
"""Output steps that beta may reach."""


@dataclass(frozen=True)
class Affine:
    """Per channel the multiplier, the offset and the shift, and the output grid."""

    multipliers: tuple[int, ...]
    offsets: tuple[int, ...]
    shifts: tuple[int, ...]
    output_scale: Fraction
    output_zero_point: int
    output_limits: Limits

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return len(self.multipliers)


def exact(values: Sequence[Real], name: str) -> tuple[Fraction, ...]:
    """Real numbers as Fractions. Raises QuantError for one that is not finite, and for none at all."""
    if len(values) == 0:
        raise QuantError(f"LayerNorm: {name} has no channels")
    try:
        return tuple(Fraction(float(v)) if not isinstance(v, (Fraction, int)) else Fraction(v) for v in values)
    except (ValueError, OverflowError) as error:
        raise QuantError(f"LayerNorm: {name} is not finite", hint="check the weights of the model") from error


def gains_and_biases(gamma: Sequence[Real], beta: Sequence[Real]) -> tuple[tuple[Fraction, ...], tuple[Fraction, ...]]:
    """gamma and beta as Fractions. Raises QuantError for unequal lengths, no channels, or what is not finite."""
    gains, biases = exact(gamma, "gamma"), exact(beta, "beta")
    if len(gains) != len(biases):
        raise QuantError(f"LayerNorm: {len(gains)} values of gamma, {len(biases)} of beta")
    return gains, biases


def affine(
    gamma: Sequence[Real],
    beta: Sequence[Real],
    unit: Fraction,
    output_scale: Real,
    output_zero_point: int,
    output_limits: Limits,
) -> Affine:
    """Gain and offset of every channel. Raises QuantError for a gain or an offset out of range, or unequal lengths."""
    gains, biases = gains_and_biases(gamma, beta)
    out = positive(output_scale, "the output scale of LayerNorm")
    check_grid(output_zero_point, output_limits, "the output of LayerNorm")
    multipliers, offsets, shifts = [], [], []
    for gain, bias in zip(gains, biases, strict=True):
        ratio = gain * unit / out
        shift = min(MAX_SHIFT, _shift(abs(ratio)))
        if shift < 1:
            raise QuantError(
                f"LayerNorm: gamma {float(gain):.3g} at the output scale {float(out):.3g} is a gain beyond 2**30",
                hint="raise the output scale",
            )
        if abs(bias) > MAX_OFFSET * out:
            raise QuantError(
                f"LayerNorm: beta {float(bias):.3g} is more than {MAX_OFFSET} output steps",
                hint="raise the output scale",
            )
        multipliers.append(round_half_up(ratio * 2**shift))
        offsets.append(round_half_up(bias / out * 2**shift))
        shifts.append(shift)
    return Affine(tuple(multipliers), tuple(offsets), tuple(shifts), out, output_zero_point, output_limits)


def _shift(ratio: Fraction) -> int:
    """The shift that brings the ratio into [2**30, 2**31), rounding included; MAX_SHIFT for 0."""
    if ratio == 0:
        return MAX_SHIFT
    shift = 31 - (ratio.numerator.bit_length() - ratio.denominator.bit_length())
    while round_half_up(ratio * Fraction(2) ** shift) >= 2**31:
        shift -= 1
    return shift


def apply(n: int, channel: int, params: Affine) -> int:
    """The output of one channel. |n| <= 2**31."""
    shift = params.shifts[channel]
    acc = n * params.multipliers[channel] + params.offsets[channel] + (1 << (shift - 1))
    return clamp(params.output_zero_point + (acc >> shift), params.output_limits)
