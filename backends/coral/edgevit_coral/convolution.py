"""Lowering of convolutions, pooling and per-channel linear layers to CONV_2D, DEPTHWISE_CONV_2D and the poolings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgevit.ir import ops as core
from edgevit.ir.op import Op
from edgevit.ir.types import DType, Quant, TensorType

from . import ops as tfl
from .emit import float32_quant

if TYPE_CHECKING:
    from .lower import Lowerer


def pointwise_convolution(
    low: Lowerer, x: Op, weight: Op, bias: Op | None, type: TensorType, activation: str, loc: str
) -> Op:
    """x (rows, in) by weight (out, in) with a grid an output channel, as a 1x1 CONV_2D on a (1, 1, rows, in) image ->
    (rows, out).
    """
    out, features = weight.shape
    image = low.shaped(x, (1, 1, type.shape[0], features))
    kernel = _reshaped_constant(weight, (out, 1, 1, features))
    result = tfl.Conv2D(
        image,
        kernel,
        bias or zero_bias(x, weight),
        activation=activation,
        type=type.with_shape((1, 1, *type.shape)),
        loc=loc,
    )
    return low.shaped(result, type.shape)


def lower_conv2d(low: Lowerer, op: core.Conv2d, operands: list[Op], activation: str) -> Op:
    """CONV_2D or DEPTHWISE_CONV_2D; padding that SAME does not describe becomes a PAD before it."""
    x, weight = operands[:2]
    bias = operands[2] if op.bias is not None else zero_bias(x, weight)
    kernel = (op.weight.shape[1], op.weight.shape[2])
    needed = trimmed_padding(op.x.shape[1:3], op.shape[1:3], kernel, op.stride, op.dilation, op.padding)
    padding = _padding_name(needed, same_padding(op.x.shape[1:3], op.shape[1:3], kernel, op.stride, op.dilation))
    if padding is None:
        x, padding = padded(x, needed, op.loc), "VALID"
    depthwise = op.groups > 1
    if depthwise:
        weight = _depthwise_constant(weight)
    cls = tfl.DepthwiseConv2D if depthwise else tfl.Conv2D
    quant = op.type.quant
    assert quant is not None
    type = TensorType(op.shape, op.type.dtype, float32_quant(quant))
    return cls(x, weight, bias, op.stride, op.dilation, padding, activation, type=type, loc=op.loc)


def lower_pool(low: Lowerer, op: core.Pool2d, x: Op) -> Op:
    """AVERAGE_POOL_2D or MAX_POOL_2D. Both stay on the grid of their operand; QUANTIZE takes them to another."""
    padding = pool_padding(op)
    assert padding is not None, "problems() refuses such a pooling"
    cls = tfl.AveragePool2D if isinstance(op, core.AvgPool2d) else tfl.MaxPool2D
    assert op.type.quant is not None
    pooled = cls(x, op.kernel, op.stride, padding, type=x.type.with_shape(op.shape), loc=op.loc)
    return low.on_grid(pooled, float32_quant(op.type.quant))


def pool_padding(op: core.Pool2d) -> str | None:
    """VALID or SAME, whichever pads as this pooling does, or None."""
    size, result = op.x.shape[1:3], op.shape[1:3]
    needed = trimmed_padding(size, result, op.kernel, op.stride, (1, 1), op.padding)
    return _padding_name(needed, same_padding(size, result, op.kernel, op.stride, (1, 1)))


def _padding_name(needed: tuple[int, ...], same: tuple[int, ...] | None) -> str | None:
    """VALID where nothing is padded (also where SAME would pad nothing: VALID says so to whoever reads it)."""
    if not any(needed):
        return "VALID"
    return "SAME" if needed == same else None


def trimmed_padding(
    size: tuple[int, ...],
    result: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
) -> tuple[int, int, int, int]:
    """The part of the padding that a window reaches: (top, bottom, left, right); a negative bottom or right stays 0."""
    found = []
    for axis in (0, 1):
        extent = (result[axis] - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1
        before = padding[2 * axis]
        found += [before, max(extent - size[axis] - before, 0)]
    return found[0], found[1], found[2], found[3]


def same_padding(
    size: tuple[int, ...],
    result: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int, int, int] | None:
    """TFLite's SAME padding (top, bottom, left, right), or None when SAME gives another result size."""
    found = []
    for axis in (0, 1):
        if result[axis] != -(-size[axis] // stride[axis]):
            return None
        total = max((result[axis] - 1) * stride[axis] + dilation[axis] * (kernel[axis] - 1) + 1 - size[axis], 0)
        found += [total // 2, total - total // 2]
    return found[0], found[1], found[2], found[3]


def padded(x: Op, padding: tuple[int, int, int, int], loc: str) -> Op:
    """An image with ``padding`` (top, bottom, left, right) zeros around it."""
    top, bottom, left, right = padding
    if not any(padding):
        return x
    low, high = (0, top, left, 0), (0, bottom, right, 0)
    shape = tuple(a + n + b for a, n, b in zip(low, x.shape, high, strict=True))
    return tfl.Pad(x, low, high, type=x.type.with_shape(shape), loc=loc)


def zero_bias(x: Op, weight: Op) -> core.Const:
    """A bias of zeros on the accumulator's grid, for operators that demand a bias."""
    assert x.type.quant is not None
    assert weight.type.quant is not None
    scale = tuple(float(np.float32(float(x.type.quant.scale[0]) * float(s))) for s in weight.type.quant.scale)
    quant = Quant(scale, (0,) * len(scale), None if weight.type.quant.axis is None else 0)
    out = weight.shape[0]
    return core.Const(np.zeros(out, np.int32), type=TensorType((out,), DType.I32, quant), loc=weight.loc)


def _reshaped_constant(op: Op, shape: tuple[int, ...]) -> core.Const:
    assert isinstance(op, core.Const)
    return core.Const(op.data.reshape(shape), type=op.type.with_shape(shape), loc=op.loc)


def _depthwise_constant(op: Op) -> core.Const:
    """(C * multiplier, kh, kw, 1) -> (1, kh, kw, C * multiplier), its grid along the last axis."""
    assert isinstance(op, core.Const)
    quant = op.type.quant
    assert quant is not None
    data = np.ascontiguousarray(op.data.transpose(3, 1, 2, 0))
    moved = Quant(quant.scale, quant.zero_point, None if quant.axis is None else 3)
    return core.Const(data, type=TensorType(tuple(data.shape), op.type.dtype, moved), loc=op.loc)
