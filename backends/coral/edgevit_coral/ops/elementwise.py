"""Operators that treat each element, or each row, on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgevit.ir.op import Op
from edgevit.ir.types import TensorType

from ..model import OptionValue
from .base import TfliteOp, broadcast_type


@dataclass(frozen=True, eq=False)
class Arithmetic(TfliteOp):
    """Base of add, sub and mul: broadcasting, with a fused activation."""

    lhs: Op
    rhs: Op
    activation: str = "NONE"

    def infer(self) -> TensorType:
        return broadcast_type(self, self.lhs, self.rhs)

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
        return broadcast_type(self, self.lhs, self.rhs)


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
        return broadcast_type(self, self.x)


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
