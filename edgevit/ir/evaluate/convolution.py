"""Evaluators of convolution, pooling and resizing on images with channels last."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgevit.errors import IRError
from edgevit.ir import ops
from edgevit.ir.interp import evaluates

Floats = NDArray[Any]


def windows(
    x: Floats,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
    fill: float,
) -> Floats:
    """All windows of images (..., H, W, C) as a view (..., H', W', C, kh, kw); borders are filled with ``fill``."""
    top, bottom, left, right = padding
    widths = [(0, 0)] * (x.ndim - 3) + [(top, bottom), (left, right), (0, 0)]
    padded = np.pad(x, widths, constant_values=fill) if any(padding) else x
    span = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    view: Floats = sliding_window_view(padded, span, axis=(-3, -2))  # type: ignore[call-overload]
    return view[..., :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]


@evaluates(ops.Conv2d)
def conv2d(op: ops.Conv2d, operands: list[Floats]) -> Floats:
    """Cross-correlation by windows. Raises IRError where weights or bias are computed."""
    x, weight = operands[:2]
    if weight.ndim != 4 or any(bias.ndim != 1 for bias in operands[2:]):
        raise IRError("conv2d with computed weights", where=op.loc, hint="only constant weights are supported")
    out, kh, kw, per_group = op.weight.shape
    view = windows(x, (kh, kw), op.stride, op.dilation, op.padding, 0)
    if per_group == 1 and op.groups == out:
        result: Floats = np.einsum("...chw,chw->...c", view, weight[..., 0], optimize=True)
    else:
        split = view.reshape((*view.shape[:-3], op.groups, per_group, kh, kw))
        columns = np.ascontiguousarray(np.moveaxis(split, -4, -6 + 1))
        flat = columns.reshape((*columns.shape[:-3], per_group * kh * kw))
        kernels = weight.reshape(op.groups, out // op.groups, kh, kw, per_group).transpose(0, 4, 2, 3, 1)
        kernels = kernels.reshape(op.groups, per_group * kh * kw, out // op.groups)
        # flat is (..., H', groups, W', K): one matrix product a group and image row.
        product: Floats = flat @ kernels
        result = np.moveaxis(product, -3, -2).reshape((*x.shape[:-3], *op.type.shape[1:]))
    return result + operands[2] if op.bias is not None else result


@evaluates(ops.AvgPool2d)
def avg_pool2d(op: ops.AvgPool2d, operands: list[Floats]) -> Floats:
    """The mean of each window, with or without its padding."""
    (x,) = operands
    total = windows(x, op.kernel, op.stride, (1, 1), op.padding, 0).sum(axis=(-2, -1))
    if op.count_padding or not any(op.padding):
        result: Floats = total / x.dtype.type(op.kernel[0] * op.kernel[1])
        return result
    ones = np.ones((*op.x.shape[1:3], 1), x.dtype)
    result = total / windows(ones, op.kernel, op.stride, (1, 1), op.padding, 0).sum(axis=(-2, -1))
    return result


@evaluates(ops.MaxPool2d)
def max_pool2d(op: ops.MaxPool2d, operands: list[Floats]) -> Floats:
    """The largest element of each window."""
    (x,) = operands
    result: Floats = windows(x, op.kernel, op.stride, (1, 1), op.padding, -np.inf).max(axis=(-2, -1))
    return result


@evaluates(ops.Resize)
def resize(op: ops.Resize, operands: list[Floats]) -> Floats:
    """Rows, then columns, resampled."""
    (x,) = operands
    result = x
    for axis, size in ((-3, op.size[0]), (-2, op.size[1])):
        result = _resample(result, axis, size, op.mode, op.align_corners)
    return result


def _resample(x: Floats, axis: int, size: int, mode: str, align_corners: bool) -> Floats:
    """Resample one axis; coordinates follow torch.nn.functional.interpolate."""
    old = x.shape[axis]
    index = np.arange(size, dtype=np.float64)
    if mode == "nearest":
        # In single precision, as torch: for some sizes (26 to 22) the product lies just below an integer there.
        return np.take(
            x, np.minimum((index.astype(np.float32) * np.float32(old / size)).astype(np.int64), old - 1), axis=axis
        )
    if align_corners:
        place = index * ((old - 1) / (size - 1)) if size > 1 else np.zeros(1)
    else:
        place = np.maximum((index + 0.5) * old / size - 0.5, 0)
    low = np.minimum(np.floor(place).astype(np.int64), old - 1)
    high = np.minimum(low + 1, old - 1)
    weight = (place - low).astype(x.dtype).reshape((-1,) + (1,) * (-axis - 1))
    result: Floats = np.take(x, low, axis=axis) * (1 - weight) + np.take(x, high, axis=axis) * weight
    return result
