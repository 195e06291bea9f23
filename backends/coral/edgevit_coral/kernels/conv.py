"""CONV_2D (also grouped) and DEPTHWISE_CONV_2D in int8, NHWC, per-channel weights. Padding is real zero."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgevit.errors import QuantError

from .grid import Grid, activation_limits, require_int8
from .matmul import affine_product, product_scale
from .rescale import FixedRescale, rescale_all

Array = NDArray[Any]
Pair = tuple[int, int]


def output_extent(size: int, kernel: int, stride: int, dilation: int, padding: str) -> tuple[int, int]:
    """(outputs, padding before) along one axis. SAME puts the odd row after. Raises QuantError for what cannot fit."""
    if min(kernel, stride, dilation) < 1:
        raise QuantError(f"a window of {kernel} by {stride}, dilation {dilation}", hint="all three are at least 1")
    reach = (kernel - 1) * dilation + 1
    if padding == "SAME":
        outputs = -(-size // stride)
        return outputs, max((outputs - 1) * stride + reach - size, 0) // 2
    if padding != "VALID":
        raise QuantError(f"padding {padding}", hint="use SAME or VALID")
    if size < reach:
        raise QuantError(f"a window of {reach} on an axis of {size}", hint="use SAME padding or a smaller kernel")
    return (size - reach) // stride + 1, 0


def windows(x: Array, kernel: Pair, stride: Pair, dilation: Pair, padding: str, fill: int) -> Array:
    """All windows of x (S, N, H, W, C) as a view (S, N, OH, OW, C, KH, KW) of the padded array."""
    extents = [output_extent(x.shape[2 + i], kernel[i], stride[i], dilation[i], padding) for i in range(2)]
    pads = []
    for i, (outputs, before) in enumerate(extents):
        reach = (kernel[i] - 1) * dilation[i] + 1
        pads.append((before, max((outputs - 1) * stride[i] + reach - x.shape[2 + i] - before, 0)))
    if any(any(pad) for pad in pads):
        x = np.pad(x, ((0, 0), (0, 0), *pads, (0, 0)), constant_values=fill)
    reaches = tuple((kernel[i] - 1) * dilation[i] + 1 for i in range(2))
    dense = sliding_window_view(x, reaches, (2, 3))  # type: ignore[call-overload]  # the stub has no tuple of axes
    view: Array = dense[:, :, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
    return view[:, :, : extents[0][0], : extents[1][0]]


def _check(weights_q: Grid, x_q: Grid, out_q: Grid) -> None:
    require_int8(x_q, weights_q, out_q)
    if any(weights_q.zero_point):
        raise QuantError("convolution weights with a zero point", hint="convolution weights are symmetric")


def _rescale(x_q: Grid, weights_q: Grid, out_q: Grid, activation: str) -> FixedRescale:
    scale, limits = product_scale(x_q, weights_q, out_q), activation_limits(activation, out_q)
    return FixedRescale.of(scale, out_q.scalar()[1], limits, out_q.dtype)


def conv_2d(
    x: Array,
    weights: Array,
    bias: Array | None,
    *,
    x_q: Grid,
    weights_q: Grid,
    out_q: Grid,
    activation: str = "NONE",
    padding: str = "VALID",
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
) -> Array:
    """x (S, N, H, W, Cin), weights (Cout, KH, KW, Cin / groups), bias (Cout,) int32 -> (S, N, OH, OW, Cout).

    ``stride`` and ``dilation`` are (height, width). Raises QuantError for grids that TFLite refuses and overflowing
    accumulators.
    """
    _check(weights_q, x_q, out_q)
    outputs, kernel_h, kernel_w, depth = weights.shape
    groups = x.shape[-1] // depth
    if groups * depth != x.shape[-1] or outputs % groups:
        raise QuantError(f"{x.shape[-1]} channels by weights of {depth} to {outputs}", hint="groups must divide both")
    rescale = _rescale(x_q, weights_q, out_q, activation)
    _, x_zero = x_q.scalar()
    view = windows(x, (kernel_h, kernel_w), stride, dilation, padding, x_zero)
    addend = np.zeros(outputs, dtype=np.int64) if bias is None else bias.astype(np.int64)
    per_group = outputs // groups
    parts = []
    for group in range(groups):
        channels = slice(group * per_group, (group + 1) * per_group)
        rows = view[..., group * depth : (group + 1) * depth, :, :].transpose(0, 1, 2, 3, 5, 6, 4)
        columns = weights[channels].reshape(per_group, -1).astype(np.int64)
        constant = addend[channels] - x_zero * columns.sum(axis=1)
        part = affine_product(rows.reshape(-1, columns.shape[1]), columns, constant, rescale.channels(channels))
        parts.append(part.reshape(*view.shape[:4], per_group))
    return parts[0] if groups == 1 else np.concatenate(parts, axis=-1)


def depthwise_conv_2d(
    x: Array,
    weights: Array,
    bias: Array | None,
    *,
    x_q: Grid,
    weights_q: Grid,
    out_q: Grid,
    activation: str = "NONE",
    padding: str = "VALID",
    stride: Pair = (1, 1),
    dilation: Pair = (1, 1),
) -> Array:
    """x (S, N, H, W, C), weights (1, KH, KW, C * multiplier), bias (C * multiplier,) int32 -> (S, N, OH, OW, C *
    multiplier).

    Output channel c reads input channel c // multiplier. Raises QuantError as conv_2d.
    """
    _check(weights_q, x_q, out_q)
    _, kernel_h, kernel_w, outputs = weights.shape
    if outputs % x.shape[-1]:
        raise QuantError(
            f"{outputs} outputs of {x.shape[-1]} channels", hint="the outputs are a multiple of the channels"
        )
    rescale = _rescale(x_q, weights_q, out_q, activation)
    _, x_zero = x_q.scalar()
    view = windows(x, (kernel_h, kernel_w), stride, dilation, padding, x_zero)
    taps = weights[0].astype(np.int64)
    addend = np.zeros(outputs, dtype=np.int64) if bias is None else bias.astype(np.int64)
    constant = addend - x_zero * taps.sum(axis=(0, 1))
    bound = float((128 * np.abs(taps).sum(axis=(0, 1)) + np.abs(constant)).max(initial=0))
    if bound >= 2**53:
        raise QuantError(f"accumulators up to {bound:.3g}", hint="TFLite accumulates in 32 bits")
    # Integers below 2**53 in float64: exact in any order.
    acc = np.empty((*view.shape[:4], outputs), dtype=np.float64)
    acc[...] = constant
    repeat = outputs // x.shape[-1]
    for row in range(kernel_h):
        for column in range(kernel_w):
            plane = view[..., row, column].astype(np.float64)
            acc += (np.repeat(plane, repeat, axis=-1) if repeat > 1 else plane) * taps[row, column]
    return rescale_all(acc, rescale, bound)
