"""Normative meaning of the integer convolution, in Python integers and Fractions (Jacob et al., arXiv 1712.05877,
applied to windows; requantization as I-ViT, arXiv 2207.01405).

x (N, H, W, C), weights (O, KH, KW, C / groups), bias (O,) int32 at the scale s_x s_w[o]. Cross-correlation:

    acc[n, i, j, o] = bias[o] + sum over u, v, c of
        (x[n, i S_h + u D_h - top, j S_w + v D_w - left, g C / groups + c] - z_x) (w[o, u, v, c] - z_w)
    out = requantize(acc), the dyadic of s_x s_w[o] / s_out         g = floor(o groups / O)

Positions outside the image hold z_x: padding with real zero, whose term is 0. A depthwise convolution has C groups.

Width: as the matrix product of depth K = KH KW C / groups; the weights are known, so for each output o all partial
sums, in any order, lie within |bias[o]| + max|x - z_x| sum over u, v, c of |w[o, u, v, c] - z_w|. ``prepare`` refuses
more than 2**31 - 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from edgevit.errors import QuantError
from edgevit_kernels.matmul.spec import Operand, bound, check_operands
from edgevit_kernels.requantize import spec as requantize
from edgevit_kernels.requantize.spec import INT8, Limits, Real

Pair = tuple[int, int]
Image = list[list[list[int]]]
Weights = Sequence[Sequence[Sequence[Sequence[int]]]]


@dataclass(frozen=True)
class Window:
    """Geometry: (height, width) pairs, padding (top, bottom, left, right), number of groups."""

    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    def outputs(self, size: Pair, kernel: Pair) -> Pair:
        """Rows and columns of the result. Raises QuantError where no window fits."""
        pads = (self.padding[0] + self.padding[1], self.padding[2] + self.padding[3])
        rows, columns = (
            (size[i] + pads[i] - self.dilation[i] * (kernel[i] - 1) - 1) // self.stride[i] + 1 for i in range(2)
        )
        if min(rows, columns) < 1:
            raise QuantError(
                f"a kernel of {kernel[0]}x{kernel[1]} on an image of {size[0]}x{size[1]}", hint="pad the image"
            )
        return rows, columns


@dataclass(frozen=True)
class Params:
    """Geometry, zero points, bias, the bound on accumulators, their scales, and how they are requantized."""

    window: Window
    zero_points: tuple[int, int]
    bias: tuple[int, ...] | None
    max_accumulator: int
    accumulator_scales: tuple[Fraction, ...]
    requantize: requantize.Params

    @property
    def output_scale(self) -> Fraction:
        """Scale of the result."""
        return self.requantize.output_scale

    @property
    def output_zero_point(self) -> int:
        """Zero point of the result."""
        return self.requantize.output_zero_point

    @property
    def output_limits(self) -> Limits:
        """Smallest and largest result."""
        return self.requantize.output_limits


def prepare(
    x: Operand,
    w: Operand,
    output_scale: Real,
    output_zero_point: int = 0,
    output_limits: Limits = INT8,
    *,
    weights: Weights,
    bias: Sequence[int] | None = None,
    window: Window | None = None,
) -> Params:
    """``weights`` (O, KH, KW, C / groups) as nested sequences of integers.

    Raises QuantError for an impossible geometry, operands out of range, accumulators above 32 bits, and ratios of
    scales that no dyadic has.
    """
    check_operands(x, w)
    shape = window if window is not None else Window()
    if min(*shape.stride, *shape.dilation, shape.groups) < 1 or min(shape.padding) < 0:
        raise QuantError(f"a window of {shape}", hint="stride, dilation and groups are positive, padding not negative")
    if not weights or len(weights) % shape.groups:
        raise QuantError(
            f"{len(weights)} output channels in {shape.groups} groups", hint="groups divide the output channels"
        )
    flat = [[value for row in kernel for place in row for value in place] for kernel in weights]
    if len(w.scales) not in (1, len(flat)) or (bias is not None and len(bias) != len(flat)):
        raise QuantError(
            f"{len(flat)} output channels with {len(w.scales)} scales and {len(bias or ())} biases",
            hint="one scale and one bias a channel",
        )
    largest = bound(x, w, len(flat[0]), flat, bias)
    scales = tuple(x.scales[0] * scale for scale in w.scales)
    rescale = requantize.prepare(scales, output_scale, output_zero_point, output_limits)
    kept = None if bias is None else tuple(int(value) for value in bias)
    return Params(shape, (x.zero_point, w.zero_point), kept, largest, scales, rescale)


def accumulate(x: Image, weights: Weights, params: Params) -> Image:
    """One image (H, W, C) and weights (O, KH, KW, C / groups) -> accumulators (H', W', O)."""
    window, (zero_x, zero_w) = params.window, params.zero_points
    size, kernel = (len(x), len(x[0])), (len(weights[0]), len(weights[0][0]))
    depth, per_group = len(weights[0][0][0]), len(weights) // window.groups
    if depth * window.groups != len(x[0][0]):
        raise QuantError(
            f"{len(x[0][0])} channels in {window.groups} groups of {depth}", hint="groups x depth is the channels"
        )
    rows, columns = window.outputs(size, kernel)

    def one(i: int, j: int, output: int) -> int:
        total = params.bias[output] if params.bias is not None else 0
        first = output // per_group * depth
        for u in range(kernel[0]):
            for v in range(kernel[1]):
                row = i * window.stride[0] + u * window.dilation[0] - window.padding[0]
                column = j * window.stride[1] + v * window.dilation[1] - window.padding[2]
                inside = 0 <= row < size[0] and 0 <= column < size[1]
                for c in range(depth):
                    value = x[row][column][first + c] if inside else zero_x
                    total += (value - zero_x) * (weights[output][u][v][c] - zero_w)
        return total

    return [[[one(i, j, o) for o in range(len(weights))] for j in range(columns)] for i in range(rows)]


def apply(x: Image, weights: Weights, params: Params) -> Image:
    """One image (H, W, C) and weights (O, KH, KW, C / groups) -> quantized (H', W', O)."""
    return [[requantize.apply(place, params.requantize) for place in row] for row in accumulate(x, weights, params)]
