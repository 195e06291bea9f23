"""Operators that move numbers and never compute: operand and result lie on one grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgevit.ir.op import Op
from edgevit.ir.types import TensorType

from ..model import OptionValue
from .base import Extra, TfliteOp


@dataclass(frozen=True, eq=False)
class Reshape(TfliteOp):
    """The same elements in another shape."""

    NAME = "tflite.reshape"
    BUILTIN = "RESHAPE"
    VERSION = 1
    x: Op
    to: tuple[int, ...]

    def infer(self) -> TensorType:
        return TensorType(self.to, self.x.type.dtype)

    def shape_operands(self) -> tuple[Extra, ...]:
        return (np.array(self.to, np.int32),)

    def file_options(self) -> Mapping[str, OptionValue]:
        return {"new_shape": self.to}


@dataclass(frozen=True, eq=False)
class Transpose(TfliteOp):
    """Axes permuted."""

    NAME = "tflite.transpose"
    BUILTIN = "TRANSPOSE"
    x: Op
    perm: tuple[int, ...]

    def infer(self) -> TensorType:
        return TensorType(tuple(self.x.shape[p] for p in self.perm), self.x.type.dtype)

    def shape_operands(self) -> tuple[Extra, ...]:
        return (np.array(self.perm, np.int32),)


@dataclass(frozen=True, eq=False)
class Concatenation(TfliteOp):
    """Operands on one grid, joined along an axis."""

    NAME = "tflite.concatenation"
    BUILTIN = "CONCATENATION"
    xs: tuple[Op, ...]
    axis: int

    def infer(self) -> TensorType:
        shape = list(self.xs[0].shape)
        shape[self.axis] = sum(x.shape[self.axis] for x in self.xs)
        return TensorType(tuple(shape), self.xs[0].type.dtype)

    def file_options(self) -> Mapping[str, OptionValue]:
        return {"axis": self.axis, "fused_activation_function": "NONE"}


@dataclass(frozen=True, eq=False)
class StridedSlice(TfliteOp):
    """Elements begin:end:strides of every axis; the Edge TPU maps strides of 1 only."""

    NAME = "tflite.strided_slice"
    BUILTIN = "STRIDED_SLICE"
    x: Op
    begin: tuple[int, ...]
    end: tuple[int, ...]
    strides: tuple[int, ...]

    def infer(self) -> TensorType:
        shape = tuple(-(-(e - b) // s) for b, e, s in zip(self.begin, self.end, self.strides, strict=True))
        return TensorType(shape, self.x.type.dtype)

    def shape_operands(self) -> tuple[Extra, ...]:
        return tuple(np.array(v, np.int32) for v in (self.begin, self.end, self.strides))

    def file_options(self) -> Mapping[str, OptionValue]:
        return dict.fromkeys(("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"), 0)


@dataclass(frozen=True, eq=False)
class Slice(TfliteOp):
    """``size`` elements from ``begin`` on of every axis."""

    NAME = "tflite.slice"
    BUILTIN = "SLICE"
    x: Op
    begin: tuple[int, ...]
    size: tuple[int, ...]

    def infer(self) -> TensorType:
        return TensorType(self.size, self.x.type.dtype)

    def shape_operands(self) -> tuple[Extra, ...]:
        return np.array(self.begin, np.int32), np.array(self.size, np.int32)


@dataclass(frozen=True, eq=False)
class Pad(TfliteOp):
    """Zeros (the zero point) added around."""

    NAME = "tflite.pad"
    BUILTIN = "PAD"
    x: Op
    low: tuple[int, ...]
    high: tuple[int, ...]

    def infer(self) -> TensorType:
        return TensorType(
            tuple(a + n + b for a, n, b in zip(self.low, self.x.shape, self.high, strict=True)), self.x.type.dtype
        )

    def shape_operands(self) -> tuple[Extra, ...]:
        return (np.array([self.low, self.high], np.int32).T.copy(),)
