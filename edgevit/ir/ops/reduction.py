"""Ops that fold axes away, and pooling and resizing of images (channels last)."""

from __future__ import annotations

from dataclasses import dataclass

from edgevit.ir.op import Op
from edgevit.ir.ops.linear import check_window, window_count
from edgevit.ir.types import TensorType


@dataclass(frozen=True, eq=False)
class Reduce(Op):
    """Base of the reductions over ``axes``, which stay as size 1 when ``keepdims``."""

    x: Op
    axes: tuple[int, ...]
    keepdims: bool = False

    def infer(self) -> TensorType:
        if (
            not self.axes
            or len(set(self.axes)) != len(self.axes)
            or not all(0 <= a < self.x.type.rank for a in self.axes)
        ):
            raise self.fail(f"axes {list(self.axes)} of rank {self.x.type.rank}")
        kept = enumerate(self.x.shape)
        if self.keepdims:
            shape = tuple(1 if i in self.axes else n for i, n in kept)
        else:
            shape = tuple(n for i, n in kept if i not in self.axes)
        return TensorType(shape, self.x.type.dtype)


class ReduceSum(Reduce):
    """The sum."""

    NAME = "reduce_sum"


class ReduceMean(Reduce):
    """The arithmetic mean."""

    NAME = "reduce_mean"


class ReduceMax(Reduce):
    """The largest element."""

    NAME = "reduce_max"


class ReduceMin(Reduce):
    """The smallest element."""

    NAME = "reduce_min"


@dataclass(frozen=True, eq=False)
class Pool2d(Op):
    """Base of the poolings: x (N, H, W, C), ``padding`` is (top, bottom, left, right)."""

    x: Op
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def infer(self) -> TensorType:
        if self.x.type.rank != 4:
            raise self.fail(f"x {list(self.x.shape)} is to be (N, H, W, C)")
        batch, height, width, channels = self.x.shape
        check_window(self, self.stride, (1, 1), self.padding)
        rows = window_count(height, self.kernel[0], self.stride[0], 1, self.padding[:2])
        columns = window_count(width, self.kernel[1], self.stride[1], 1, self.padding[2:])
        if rows < 1 or columns < 1:
            raise self.fail(f"window {list(self.kernel)} is larger than the padded image")
        return TensorType((batch, rows, columns, channels), self.x.type.dtype)


@dataclass(frozen=True, eq=False)
class AvgPool2d(Pool2d):
    """The mean of each window; padding counts as zeros when ``count_padding``, else it is left out of the mean."""

    NAME = "avg_pool2d"
    count_padding: bool = False


class MaxPool2d(Pool2d):
    """The largest element of each window; padding never wins."""

    NAME = "max_pool2d"


@dataclass(frozen=True, eq=False)
class Resize(Op):
    """Resample x (N, H, W, C) to ``size`` (H', W'): ``nearest`` or ``bilinear``, with or without aligned corners."""

    NAME = "resize"
    x: Op
    size: tuple[int, int]
    mode: str = "bilinear"
    align_corners: bool = False

    def infer(self) -> TensorType:
        if self.x.type.rank != 4 or self.mode not in ("nearest", "bilinear") or min(self.size) < 1:
            raise self.fail(f"x {list(self.x.shape)} to {list(self.size)} by {self.mode!r}")
        return TensorType((self.x.shape[0], *self.size, self.x.shape[3]), self.x.type.dtype)
