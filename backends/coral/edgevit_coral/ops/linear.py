"""FULLY_CONNECTED and the convolutions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgevit.ir.op import Op
from edgevit.ir.ops import window_count
from edgevit.ir.types import TensorType

from ..model import OptionValue
from .base import TfliteOp


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
