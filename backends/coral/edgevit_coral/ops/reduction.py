"""Reductions over axes and poolings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgevit.ir.op import Op
from edgevit.ir.ops import window_count
from edgevit.ir.types import TensorType

from ..model import OptionValue
from .base import Extra, TfliteOp


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
