"""Exact scales: between the grids of IR types and the fractions that the kernels compute with."""

from __future__ import annotations

from fractions import Fraction

from edgevit.ir.types import DType, Dyadic, Quant, Scale, TensorType
from edgevit_kernels.requantize.spec import Limits
from edgevit_kernels.requantize.spec import dyadic as nearest_dyadic


def exact(scale: Scale) -> Fraction:
    """The scale as the rational number that it is."""
    return Fraction(scale.multiplier, 2**scale.shift) if isinstance(scale, Dyadic) else Fraction(scale)


def dyadic(scale: Fraction) -> Dyadic:
    """The scale as multiplier * 2**-shift: exact where it is such a number, as every float is, else to 31 bits."""
    if scale.denominator & (scale.denominator - 1) == 0:
        return Dyadic(scale.numerator, scale.denominator.bit_length() - 1)
    near = nearest_dyadic(scale)
    return Dyadic(near.multiplier, near.shift)


def dyadic_grid(quant: Quant) -> Quant:
    """The same grid with dyadic scales."""
    return Quant(tuple(dyadic(exact(scale)) for scale in quant.scale), quant.zero_point, quant.axis)


def grid(type: TensorType) -> Quant:
    """The grid of a quantized type."""
    assert type.quant is not None
    return type.quant


def scale_of(type: TensorType) -> Fraction:
    """The one scale of a per-tensor type."""
    return exact(grid(type).scale[0])


def zero_point_of(type: TensorType) -> int:
    """The zero point, the same for all channels."""
    return grid(type).zero_point[0]


def narrowest(limits: Limits) -> DType:
    """The narrowest element type that holds all integers within the limits; signed where two are equally narrow."""
    for dtype in (DType.I8, DType.U8, DType.I16):
        if dtype.limits[0] <= limits[0] and limits[1] <= dtype.limits[1]:
            return dtype
    return DType.I32
