"""The ``tflite.*`` dialect: TFLite's int8 operators as typed ops whose meaning is TFLite's reference kernel, bit for
bit.

Versions are the ones that edgetpu_compiler 16 maps (``limits.py``). Shape operands (axes, permutations, paddings) are
attributes here and become int32 constants in the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from edgevit.ir.op import Op
from edgevit.ir.ops import broadcast_shapes, window_count
from edgevit.ir.types import TensorType

from .model import OptionValue

Extra = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class TfliteOp(Op):
    """Base of the dialect. ``BUILTIN`` and ``VERSION`` are those of the file."""

    BUILTIN: ClassVar[str] = ""
    VERSION: ClassVar[int] = 2

    def file_options(self) -> Mapping[str, OptionValue]:
        """The fields of the operator's options table."""
        return {}

    def shape_operands(self) -> tuple[Extra, ...]:
        """The int32 constants that follow the operands in the file."""
        return ()

    def file_operands(self) -> tuple[Op | None, ...]:
        """The operands in the file's order; None for an optional one that is absent."""
        return self.operands


def _elementwise(op: Op, *operands: Op) -> TensorType:
    shape: tuple[int, ...] | None = ()
    for operand in operands:
        shape = broadcast_shapes(shape, operand.shape) if shape is not None else None
    if shape is None:
        raise op.fail(f"{[list(operand.shape) for operand in operands]} do not broadcast")
    return TensorType(shape, operands[0].type.dtype)


@dataclass(frozen=True, eq=False)
class FullyConnected(TfliteOp):
    """x (..., in) by weights (out, in), constant or an activation, with an int32 bias -> (rows, out)."""

    NAME = "tflite.fully_connected"
    BUILTIN = "FULLY_CONNECTED"
    VERSION = 4
    x: Op
    weights: Op
    bias: Op | None = None
    activation: str = "NONE"

    def infer(self) -> TensorType:
        if self.weights.type.rank != 2 or self.x.shape[-1] != self.weights.shape[1]:
            raise self.fail(f"x {list(self.x.shape)} does not fit weights {list(self.weights.shape)}")
        return TensorType((self.x.type.size // self.weights.shape[1], self.weights.shape[0]), self.x.type.dtype)

    def file_operands(self) -> tuple[Op | None, ...]:
        return self.x, self.weights, self.bias

    def file_options(self) -> Mapping[str, OptionValue]:
        return {"fused_activation_function": self.activation, "keep_num_dims": False, "weights_format": "DEFAULT"}


@dataclass(frozen=True, eq=False)
class Convolution(TfliteOp):
    """Base of the convolutions: x (N, H, W, C), padding SAME or VALID."""

    VERSION = 3
    x: Op
    filter: Op
    bias: Op
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: str = "VALID"
    activation: str = "NONE"

    def infer(self) -> TensorType:
        spatial = []
        for axis in (0, 1):
            size, kernel = self.x.shape[1 + axis], self.filter.shape[1 + axis]
            if self.padding == "SAME":
                spatial.append(-(-size // self.stride[axis]))
            else:
                spatial.append(window_count(size, kernel, self.stride[axis], self.dilation[axis], (0, 0)))
        return TensorType((self.x.shape[0], *spatial, self.out_channels()), self.x.type.dtype)

    def out_channels(self) -> int:
        """Number of channels of the result."""
        return self.filter.shape[0]

    def file_options(self) -> Mapping[str, OptionValue]:
        return {
            "padding": self.padding,
            "stride_h": self.stride[0],
            "stride_w": self.stride[1],
            "dilation_h_factor": self.dilation[0],
            "dilation_w_factor": self.dilation[1],
            "fused_activation_function": self.activation,
        }


class Conv2D(Convolution):
    """Filter (out, kh, kw, C)."""

    NAME = "tflite.conv_2d"
    BUILTIN = "CONV_2D"


class DepthwiseConv2D(Convolution):
    """Filter (1, kh, kw, C * multiplier)."""

    NAME = "tflite.depthwise_conv_2d"
    BUILTIN = "DEPTHWISE_CONV_2D"

    def out_channels(self) -> int:
        return self.filter.shape[3]

    def file_options(self) -> Mapping[str, OptionValue]:
        return {**super().file_options(), "depth_multiplier": self.filter.shape[3] // self.x.shape[3]}


@dataclass(frozen=True, eq=False)
class Arithmetic(TfliteOp):
    """Base of add, sub and mul: broadcasting, with a fused activation."""

    lhs: Op
    rhs: Op
    activation: str = "NONE"

    def infer(self) -> TensorType:
        return _elementwise(self, self.lhs, self.rhs)

    def file_options(self) -> Mapping[str, OptionValue]:
        return {"fused_activation_function": self.activation}


class Add(Arithmetic):
    """lhs + rhs."""

    NAME = "tflite.add"
    BUILTIN = "ADD"


class Sub(Arithmetic):
    """lhs - rhs."""

    NAME = "tflite.sub"
    BUILTIN = "SUB"


class Mul(Arithmetic):
    """lhs * rhs."""

    NAME = "tflite.mul"
    BUILTIN = "MUL"


@dataclass(frozen=True, eq=False)
class Comparison(TfliteOp):
    """Base of the binary ops without options; maximum and minimum keep one grid."""

    lhs: Op
    rhs: Op

    def infer(self) -> TensorType:
        return _elementwise(self, self.lhs, self.rhs)


class Maximum(Comparison):
    """The larger of both."""

    NAME = "tflite.maximum"
    BUILTIN = "MAXIMUM"


class Minimum(Comparison):
    """The smaller of both."""

    NAME = "tflite.minimum"
    BUILTIN = "MINIMUM"


class SquaredDifference(Comparison):
    """(lhs - rhs) ** 2."""

    NAME = "tflite.squared_difference"
    BUILTIN = "SQUARED_DIFFERENCE"


@dataclass(frozen=True, eq=False)
class Pointwise(TfliteOp):
    """Base of the unary ops that keep the shape."""

    x: Op

    def infer(self) -> TensorType:
        return _elementwise(self, self.x)


class Rsqrt(Pointwise):
    """1 / sqrt(x)."""

    NAME = "tflite.rsqrt"
    BUILTIN = "RSQRT"


class Logistic(Pointwise):
    """The sigmoid; its output grid is fixed to 1/256, -128."""

    NAME = "tflite.logistic"
    BUILTIN = "LOGISTIC"


class Tanh(Pointwise):
    """The hyperbolic tangent; its output grid is fixed to 1/128, 0."""

    NAME = "tflite.tanh"
    BUILTIN = "TANH"


class Relu(Pointwise):
    """max(x, 0)."""

    NAME = "tflite.relu"
    BUILTIN = "RELU"


class Relu6(Pointwise):
    """min(max(x, 0), 6)."""

    NAME = "tflite.relu6"
    BUILTIN = "RELU6"


class Requantize(Pointwise):
    """The same real number on another grid, or from uint8 to int8 and back."""

    NAME = "tflite.quantize"
    BUILTIN = "QUANTIZE"


class Softmax(Pointwise):
    """Softmax over the last axis; its output grid is fixed to 1/256, -128."""

    NAME = "tflite.softmax"
    BUILTIN = "SOFTMAX"

    def file_options(self) -> Mapping[str, OptionValue]:
        return {"beta": 1.0}


class L2Normalization(Pointwise):
    """x / ||x||_2 over the last axis; its output grid is fixed to 1/128, 0."""

    NAME = "tflite.l2_normalization"
    BUILTIN = "L2_NORMALIZATION"

    def file_options(self) -> Mapping[str, OptionValue]:
        return {"fused_activation_function": "NONE"}


@dataclass(frozen=True, eq=False)
class Reducer(TfliteOp):
    """Base of the reductions over ``axes``, which stay as size 1 when ``keep_dims``."""

    x: Op
    axes: tuple[int, ...]
    keep_dims: bool

    def infer(self) -> TensorType:
        shape = tuple(
            1 if i in self.axes else n for i, n in enumerate(self.x.shape) if self.keep_dims or i not in self.axes
        )
        return TensorType(shape, self.x.type.dtype)

    def shape_operands(self) -> tuple[Extra, ...]:
        return (np.array(self.axes, np.int32),)

    def file_options(self) -> Mapping[str, OptionValue]:
        return {"keep_dims": self.keep_dims}


class Mean(Reducer):
    """The arithmetic mean."""

    NAME = "tflite.mean"
    BUILTIN = "MEAN"


class Sum(Reducer):
    """The sum."""

    NAME = "tflite.sum"
    BUILTIN = "SUM"


class ReduceMax(Reducer):
    """The largest element."""

    NAME = "tflite.reduce_max"
    BUILTIN = "REDUCE_MAX"


@dataclass(frozen=True, eq=False)
class Pool(TfliteOp):
    """Base of the poolings: x (N, H, W, C), padding SAME or VALID."""

    x: Op
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: str = "VALID"

    def infer(self) -> TensorType:
        spatial = [
            -(-size // step) if self.padding == "SAME" else window_count(size, kernel, step, 1, (0, 0))
            for size, kernel, step in zip(self.x.shape[1:3], self.kernel, self.stride, strict=True)
        ]
        return TensorType((self.x.shape[0], *spatial, self.x.shape[3]), self.x.type.dtype)

    def file_options(self) -> Mapping[str, OptionValue]:
        return {
            "padding": self.padding,
            "stride_h": self.stride[0],
            "stride_w": self.stride[1],
            "filter_height": self.kernel[0],
            "filter_width": self.kernel[1],
            "fused_activation_function": "NONE",
        }


class AveragePool2D(Pool):
    """The mean of each window without its padding."""

    NAME = "tflite.average_pool_2d"
    BUILTIN = "AVERAGE_POOL_2D"


class MaxPool2D(Pool):
    """The largest element of each window."""

    NAME = "tflite.max_pool_2d"
    BUILTIN = "MAX_POOL_2D"


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
