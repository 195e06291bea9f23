"""The type of a value: shape, element type, and what is known of its numbers.

A value's numbers are described by at most one of two things: the ``range`` that calibration saw (calibrated form), or
the ``quant`` grid that they lie on (quantized form and later).
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgevit.errors import IRError

Array = NDArray[np.generic]
FloatArray = NDArray[np.float32] | NDArray[np.float64]


class DType(enum.Enum):
    """Element types. The value is the spelling in the text form."""

    F32 = "f32"
    I8 = "i8"
    U8 = "u8"
    I16 = "i16"
    I32 = "i32"
    I64 = "i64"
    BOOL = "bool"

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The numpy type that holds such elements."""
        return _NUMPY[self]

    @property
    def is_integer(self) -> bool:
        return self not in (DType.F32, DType.BOOL)

    @property
    def bits(self) -> int:
        return self.numpy.itemsize * 8

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest integer of an integer type."""
        if not self.is_integer:
            raise IRError(f"{self.value} has no integer limits")
        unsigned = self is DType.U8
        return (0, 2**self.bits - 1) if unsigned else (-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1)


_NUMPY: dict[DType, np.dtype[np.generic]] = {
    DType.F32: np.dtype(np.float32),
    DType.I8: np.dtype(np.int8),
    DType.U8: np.dtype(np.uint8),
    DType.I16: np.dtype(np.int16),
    DType.I32: np.dtype(np.int32),
    DType.I64: np.dtype(np.int64),
    DType.BOOL: np.dtype(np.bool_),
}


def dtype_of(array: Array) -> DType:
    """The element type of a numpy array.

    Raises IRError for a type that the IR does not have (float64, complex, object ...).
    """
    for dtype, numpy in _NUMPY.items():
        if array.dtype == numpy:
            return dtype
    raise IRError(f"no IR element type for numpy {array.dtype}", hint="convert the array to float32 or an integer type")


@dataclass(frozen=True)
class Dyadic:
    """The exact scale ``multiplier * 2**-shift`` of the integer form."""

    multiplier: int
    shift: int

    def __float__(self) -> float:
        return math.ldexp(self.multiplier, -self.shift)


Scale = float | Dyadic


@dataclass(frozen=True)
class Quant:
    """An affine grid: real = scale * (q - zero_point).

    Per tensor when ``axis`` is None (one scale, one zero point), else one of each along ``axis``. Scales are floats up
    to the quantized form and may be dyadic numbers in the integer form.
    """

    scale: tuple[Scale, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None

    def __post_init__(self) -> None:
        if len(self.scale) != len(self.zero_point):
            raise IRError(f"{len(self.scale)} scales but {len(self.zero_point)} zero points")
        if self.axis is None and len(self.scale) != 1:
            raise IRError(f"a per-tensor grid has one scale, got {len(self.scale)}", hint="name the axis")
        if any(not (float(s) > 0 and math.isfinite(float(s))) for s in self.scale):
            raise IRError("a scale must be positive and finite", hint="look for a constant or non-finite activation")

    @staticmethod
    def per_tensor(scale: Scale, zero_point: int = 0) -> Quant:
        return Quant((scale,), (zero_point,))

    def broadcast(self, rank: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Scale and zero point as arrays that broadcast against ``rank`` dimensions and any leading ones."""
        scale = np.array([float(s) for s in self.scale], np.float64)
        zero_point = np.array(self.zero_point, np.int64)
        if self.axis is None:
            return scale.reshape(()), zero_point.reshape(())
        shape = [1] * rank
        shape[self.axis] = len(self.scale)
        return scale.reshape(shape), zero_point.reshape(shape)


@dataclass(frozen=True)
class TensorType:
    """Shape, element type, and the calibrated range or the quantization grid."""

    shape: tuple[int, ...]
    dtype: DType = DType.F32
    quant: Quant | None = None
    range: tuple[float, float] | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.numpy.itemsize

    def with_shape(self, shape: tuple[int, ...]) -> TensorType:
        return replace(self, shape=shape)

    def with_range(self, lo: float, hi: float) -> TensorType:
        return replace(self, range=(lo, hi))


def quantize_array(array: FloatArray, type: TensorType) -> Array:
    """Round real numbers onto the grid of ``type``: half to even in double precision, clamped to the element type's
    limits.

    ``array`` has the shape of ``type``, with any number of leading axes.
    """
    assert type.quant is not None
    scale, zero_point = type.quant.broadcast(type.rank)
    lo, hi = type.dtype.limits
    q = np.rint(array.astype(np.float64) / scale) + zero_point
    result: Array = np.clip(q, lo, hi).astype(type.dtype.numpy)
    return result


def dequantize_array(array: Array, type: TensorType) -> NDArray[np.float64]:
    """The real numbers that integers on the grid of ``type`` stand for."""
    assert type.quant is not None
    scale, zero_point = type.quant.broadcast(type.rank)
    return (array.astype(np.int64) - zero_point).astype(np.float64) * scale
