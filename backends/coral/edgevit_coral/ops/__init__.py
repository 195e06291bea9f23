"""The ``tflite.*`` dialect: TFLite's int8 operators as typed ops whose meaning is TFLite's reference kernel, bit for
bit.

Versions are the ones that edgetpu_compiler 16 maps (``limits.py``). Shape operands (axes, permutations, paddings) are
attributes here and become int32 constants in the file.
"""

from .base import TfliteOp
from .elementwise import (
    Add,
    Arithmetic,
    Comparison,
    L2Normalization,
    Logistic,
    Maximum,
    Minimum,
    Mul,
    Pointwise,
    Relu,
    Relu6,
    Requantize,
    Rsqrt,
    Softmax,
    SquaredDifference,
    Sub,
    Tanh,
)
from .layout import Concatenation, Pad, Reshape, Slice, StridedSlice, Transpose
from .linear import Conv2D, Convolution, DepthwiseConv2D, FullyConnected
from .reduction import AveragePool2D, MaxPool2D, Mean, Pool, ReduceMax, Reducer

__all__ = [
    "Add",
    "Arithmetic",
    "AveragePool2D",
    "Comparison",
    "Concatenation",
    "Conv2D",
    "Convolution",
    "DepthwiseConv2D",
    "FullyConnected",
    "L2Normalization",
    "Logistic",
    "MaxPool2D",
    "Maximum",
    "Mean",
    "Minimum",
    "Mul",
    "Pad",
    "Pointwise",
    "Pool",
    "ReduceMax",
    "Reducer",
    "Relu",
    "Relu6",
    "Requantize",
    "Reshape",
    "Rsqrt",
    "Slice",
    "Softmax",
    "SquaredDifference",
    "StridedSlice",
    "Sub",
    "Tanh",
    "TfliteOp",
    "Transpose",
]
