"""The affine quantization of a tensor as TFLite reads it: float32 scales, integer zero points."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgevit.errors import QuantError

from ..model import TensorSpec

_LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "int32": (-(2**31), 2**31 - 1)}


@dataclass(frozen=True)
class Grid:
    """real = scale * (q - zero_point), per tensor (length 1) or per channel along ``axis`` of the file shape.

    Every scale is positive, finite and exactly a float32. Raises QuantError otherwise.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    dtype: str = "int8"
    axis: int = 0

    def __post_init__(self) -> None:
        if self.dtype not in _LIMITS:
            raise QuantError(f"{self.dtype} is no quantized type", hint=f"use one of {', '.join(_LIMITS)}")
        if not self.scale or len(self.scale) != len(self.zero_point):
            raise QuantError(
                f"{len(self.scale)} scales and {len(self.zero_point)} zero points", hint="give one of each a channel"
            )
        for scale in self.scale:
            if not (math.isfinite(scale) and scale > 0 and float(np.float32(scale)) == scale):
                raise QuantError(
                    f"scale {scale!r} is not a positive float32", hint="round scales with numpy.float32 first"
                )
        low, high = _LIMITS[self.dtype]
        if not all(low <= zero_point <= high for zero_point in self.zero_point):
            raise QuantError(
                f"a zero point outside [{low}, {high}]", hint=f"zero points of {self.dtype} lie on its grid"
            )

    @classmethod
    def of(cls, tensor: TensorSpec) -> Grid:
        """The grid of a tensor of the file. Raises QuantError for a tensor without quantization."""
        if not tensor.scale:
            raise QuantError(
                "the tensor has no scale", where=tensor.name, hint="quantize it before running integer kernels"
            )
        try:
            return cls(tensor.scale, tensor.zero_point, tensor.dtype, tensor.axis)
        except QuantError as error:
            raise QuantError(error.what, where=tensor.name, hint=error.hint) from error

    @property
    def limits(self) -> tuple[int, int]:
        """Least and greatest stored integer."""
        return _LIMITS[self.dtype]

    def scalar(self) -> tuple[np.float32, int]:
        """Scale and zero point of a per-tensor grid. Raises QuantError for a per-channel one."""
        if len(self.scale) != 1:
            raise QuantError(f"{len(self.scale)} scales where one is expected", hint="quantize this tensor per tensor")
        return np.float32(self.scale[0]), self.zero_point[0]


def activation_limits(activation: str, out_q: Grid) -> tuple[int, int]:
    """The stored range of an output after a fused activation (NONE, RELU, RELU6, RELU_N1_TO_1).

    TFLite quantizes the bound with a float32 division and rounds ties away from zero. Raises QuantError for another
    activation, or a scale so small that the bound leaves int32.
    """
    low, high = out_q.limits
    if activation == "NONE":
        return low, high
    bounds = {"RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}
    if activation not in bounds:
        raise QuantError(f"fused activation {activation}", hint=f"integer kernels fuse NONE, {', '.join(bounds)}")
    least, greatest = bounds[activation]
    low = max(low, quantize_bound(least, out_q))
    return low, high if greatest is None else min(high, quantize_bound(greatest, out_q))


def quantize_bound(real: float, grid: Grid) -> int:
    """zero_point + round(real / scale), in float32, ties away from zero. Raises QuantError beyond int32."""
    scale, zero_point = grid.scalar()
    with np.errstate(over="ignore"):
        quotient = float(np.float32(real) / scale)
    if abs(quotient) >= 2**31 - 256:
        raise QuantError(
            f"{real} / {float(scale)} is beyond int32", hint="the output scale is too small for its activation"
        )
    return zero_point + int(math.copysign(math.floor(abs(quotient) + 0.5), quotient))


def require_int8(*grids: Grid) -> None:
    """Raise QuantError unless every grid is int8: the kernels of 8-bit unsigned tensors round in other ways."""
    for grid in grids:
        if grid.dtype != "int8":
            raise QuantError(f"a {grid.dtype} tensor", hint="convert it to int8 with a QUANTIZE op first")
