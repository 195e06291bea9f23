"""Lowerings of convolutions, poolings and resampling: NCHW in torch, NHWC in the IR, so a transpose on each side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgevit.frontend.lower_layout import sliced
from edgevit.frontend.registry import Node, lowers, pair
from edgevit.ir.op import Op
from edgevit.ir.ops import (
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    MaxPool2d,
    Pad,
    ReduceMean,
    Reshape,
    Resize,
    Transpose,
    window_count,
)

TO_CHANNELS_LAST = (0, 2, 3, 1)
TO_CHANNELS_FIRST = (0, 3, 1, 2)
Sizes = int | Sequence[int]


@lowers("conv2d.default")
def conv2d(
    node: Node, x: Any, weight: Any, bias: Any, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Op:
    """A convolution with symmetric padding."""
    vertical, horizontal = pair(padding)
    return _convolution(node, x, weight, bias, stride, (vertical, vertical, horizontal, horizontal), dilation, groups)


@lowers("conv2d.padding")
def conv2d_named_padding(
    node: Node, x: Any, weight: Any, bias: Any, stride: Sizes, padding: str, dilation: Sizes, groups: int
) -> Op:
    """``same`` adds the odd element below and to the right; ``valid`` adds none."""
    total = [d * (n - 1) if padding == "same" else 0 for n, d in zip(weight.shape[2:], pair(dilation), strict=True)]
    sides = (total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2)
    return _convolution(node, x, weight, bias, stride, sides, dilation, groups)


@lowers("convolution.default")
def convolution(
    node: Node,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transpose: bool,
    output_padding: Sizes,
    groups: int,
) -> Op:
    """The general operator; only its forward 1-d and 2-d forms are lowered."""
    if transpose:
        raise node.cannot("a transposed convolution")
    if node.op(x).type.rank == 3:
        return conv1d(node, x, weight, bias, stride, padding, dilation, groups)
    return conv2d(node, x, weight, bias, stride, padding, dilation, groups)


@lowers("conv1d.default")
def conv1d(
    node: Node, x: Any, weight: Any, bias: Any, stride: Sizes, padding: Sizes, dilation: Sizes, groups: int
) -> Op:
    """A convolution over (N, C, L), as one over an image of one row."""
    kernel = node.array(weight, "weight").transpose(0, 2, 1)
    step, pad, spread = (pair(value)[0] for value in (stride, padding, dilation))
    operand = node.op(x)
    if operand.type.rank != 3:
        raise node.cannot(f"a 1-d convolution of an operand of shape {list(operand.shape)}")
    batch, channels, length = operand.shape
    row = Reshape(operand, (batch, channels, 1, length), loc=node.loc)
    last = Transpose(row, TO_CHANNELS_LAST, loc=node.loc)
    filters = node.const(kernel[:, None])
    result = Conv2d(last, filters, node.optional(bias), (1, step), (0, 0, pad, pad), (1, spread), groups, loc=node.loc)
    first = Transpose(result, TO_CHANNELS_FIRST, loc=node.loc)
    return Reshape(first, (batch, first.shape[1], first.shape[3]), loc=node.loc)


def _convolution(
    node: Node,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Sizes,
    padding: tuple[int, int, int, int],
    dilation: Sizes,
    groups: int,
) -> Op:
    kernel = node.array(weight, "weight")
    last = channels_last(node, x)
    filters = node.const(kernel.transpose(0, 2, 3, 1))
    result = Conv2d(last, filters, node.optional(bias), pair(stride), padding, pair(dilation), groups, loc=node.loc)
    return Transpose(result, TO_CHANNELS_FIRST, loc=node.loc)


@lowers("avg_pool2d.default")
def avg_pool2d(
    node: Node,
    x: Any,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool,
    count_padding: bool,
    divisor: int | None,
) -> Op:
    """The mean of each window."""
    last, step = channels_last(node, x), stride or kernel
    sides = _pool_sides(node, last, kernel, step, padding, ceil_mode)
    vertical, horizontal = pair(padding)
    if divisor is not None or (count_padding and sides != (vertical, vertical, horizontal, horizontal)):
        raise node.cannot("avg_pool2d with divisor_override, or whose last window reaches beyond counted padding")
    result = AvgPool2d(last, pair(kernel), pair(step), sides, count_padding=count_padding, loc=node.loc)
    return Transpose(result, TO_CHANNELS_FIRST, loc=node.loc)


@lowers("max_pool2d.default")
def max_pool2d(
    node: Node, x: Any, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> Op:
    """The largest element of each window."""
    if pair(dilation) != (1, 1):
        raise node.cannot("max_pool2d with dilation")
    last, step = channels_last(node, x), stride or kernel
    sides = _pool_sides(node, last, kernel, step, padding, ceil_mode)
    result = MaxPool2d(last, pair(kernel), pair(step), sides, loc=node.loc)
    return Transpose(result, TO_CHANNELS_FIRST, loc=node.loc)


@lowers("max_pool2d_with_indices.default")
def max_pool2d_with_indices(
    node: Node, x: Any, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> tuple[Op, None]:
    """As max_pool2d; the positions are not computed."""
    return max_pool2d(node, x, kernel, stride, padding, dilation, ceil_mode), None


@lowers("adaptive_avg_pool2d.default", "_adaptive_avg_pool2d.default")
def adaptive_avg_pool2d(node: Node, x: Any, size: Sizes) -> Op:
    """Means over windows that share the image out evenly: one reduction, one pooling, or a slice a window."""
    operand = node.op(x)
    height, width = operand.shape[-2:]
    rows, columns = pair(size)
    if (rows, columns) == (1, 1):
        return ReduceMean(operand, (operand.type.rank - 2, operand.type.rank - 1), keepdims=True, loc=node.loc)
    last = channels_last(node, x)
    if height % rows == 0 and width % columns == 0:
        window = (height // rows, width // columns)
        return Transpose(AvgPool2d(last, window, window, loc=node.loc), TO_CHANNELS_FIRST, loc=node.loc)
    result = _uneven_means(_uneven_means(last, 1, rows, node.loc), 2, columns, node.loc)
    return Transpose(result, TO_CHANNELS_FIRST, loc=node.loc)


@lowers("upsample_nearest2d.vec", "upsample_nearest2d.default")
def upsample_nearest2d(node: Node, x: Any, *_: Any) -> Op:
    """Each element repeated; the target size is that of the result."""
    return _resize(node, x, "nearest", False)


@lowers("upsample_bilinear2d.vec", "upsample_bilinear2d.default")
def upsample_bilinear2d(node: Node, x: Any, size: Any, align_corners: bool, *_: Any) -> Op:
    """Linear interpolation; the target size is that of the result."""
    return _resize(node, x, "bilinear", align_corners)


@lowers("col2im.default")
def col2im(node: Node, x: Any, size: Sizes, kernel: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes) -> Op:
    """The sum of overlapping windows (torch's fold): each position in them is spread by the stride and shifted."""
    columns, window, spread, pad, step = node.op(x), pair(kernel), pair(dilation), pair(padding), pair(stride)
    if columns.type.rank != 3:
        raise node.cannot(f"an operand of shape {list(columns.shape)}, which is no batch of columns")
    canvas = [n + 2 * p for n, p in zip(pair(size), pad, strict=True)]
    rows, cols = (window_count(canvas[i], window[i], step[i], spread[i], (0, 0)) for i in range(2))
    batch, channels = columns.shape[0], columns.shape[1] // (window[0] * window[1])
    split = Reshape(columns, (batch, channels * window[0] * window[1], rows, cols), loc=node.loc)
    loose = Reshape(split, (batch, split.shape[1], rows, 1, cols, 1), loc=node.loc)
    spaced = Pad(loose, (0,) * 6, (0, 0, 0, step[0] - 1, 0, step[1] - 1), loc=node.loc)
    flat: Op = Reshape(spaced, (batch, channels, window[0] * window[1], rows * step[0], cols * step[1]), loc=node.loc)
    used = [(rows - 1) * step[0] + 1, (cols - 1) * step[1] + 1]
    flat = sliced(sliced(flat, 3, 0, used[0], 1, node.loc), 4, 0, used[1], 1, node.loc)
    total: Op | None = None
    for k in range(window[0] * window[1]):
        low = (k // window[1] * spread[0], k % window[1] * spread[1])
        part = Reshape(sliced(flat, 2, k, k + 1, 1, node.loc), (batch, channels, *used), loc=node.loc)
        high = (canvas[0] - low[0] - used[0], canvas[1] - low[1] - used[1])
        placed = Pad(part, (0, 0, *low), (0, 0, *high), loc=node.loc)
        total = placed if total is None else Add(total, placed, loc=node.loc)
    assert total is not None
    for axis in range(2):
        total = sliced(total, 2 + axis, pad[axis], canvas[axis] - pad[axis], 1, node.loc)
    return total


def channels_last(node: Node, x: Any) -> Op:
    """A torch image (N, C, H, W) as (N, H, W, C)."""
    operand = node.op(x)
    if operand.type.rank != 4:
        raise node.cannot(f"an operand of shape {list(operand.shape)}, which is no batch of images")
    return Transpose(operand, TO_CHANNELS_LAST, loc=node.loc)


def _resize(node: Node, x: Any, mode: str, align_corners: bool) -> Op:
    last = channels_last(node, x)
    rows, columns = node.shape[2:]
    return Transpose(Resize(last, (rows, columns), mode, align_corners, loc=node.loc), TO_CHANNELS_FIRST, loc=node.loc)


def _pool_sides(
    node: Node, x: Op, kernel: Sizes, stride: Sizes, padding: Sizes, ceil_mode: bool
) -> tuple[int, int, int, int]:
    """Padding as (top, bottom, left, right); with ``ceil_mode`` the far sides grow until the last window fits."""
    sides: list[int] = []
    for size, window, step, pad, wanted in zip(
        x.shape[1:3], pair(kernel), pair(stride), pair(padding), node.shape[2:], strict=True
    ):
        missing = (wanted - 1) * step + window - (size + 2 * pad) if ceil_mode else 0
        sides += [pad, pad + max(missing, 0)]
        if window_count(size, window, step, 1, tuple(sides[-2:])) != wanted:
            raise node.cannot(f"a pooling of {size} elements in windows of {window}, which gives {wanted}")
    return sides[0], sides[1], sides[2], sides[3]


def _uneven_means(x: Op, axis: int, count: int, loc: str) -> Op:
    """Window i of ``count`` covers floor(i * n / count) up to ceil((i + 1) * n / count), as in torch."""
    size = x.shape[axis]
    if size == count:
        return x
    bounds = [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
    means = tuple(ReduceMean(sliced(x, axis, a, b, 1, loc), (axis,), keepdims=True, loc=loc) for a, b in bounds)
    return Concat(means, axis, loc=loc)
