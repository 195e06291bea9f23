"""Integer convolution over numpy arrays, bit for bit as ``spec``.

Products run through floating point: every partial sum is an integer of magnitude at most the bound of ``spec``, exact
in the type that ``exact_float`` picks. Operands outside the limits given to ``prepare`` are not checked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from edgevit.errors import QuantError
from edgevit_kernels.matmul.ref import Operand, exact_float
from edgevit_kernels.requantize import ref as requantize
from edgevit_kernels.requantize.ref import Ints
from edgevit_kernels.requantize.spec import INT8, Limits, Real

from . import spec
from .spec import Params, Window

__all__ = ["Operand", "Params", "Window", "accumulate", "apply", "prepare"]

# Elements of the matrix of windows that are held at a time.
BLOCK = 2**22


def prepare(
    x: Operand,
    w: Operand,
    output_scale: Real,
    output_zero_point: int = 0,
    output_limits: Limits = INT8,
    *,
    weights: ArrayLike,
    bias: Sequence[int] | None = None,
    window: Window | None = None,
) -> Params:
    """As ``spec.prepare``, with ``weights`` (O, KH, KW, C / groups) as an array."""
    nested = np.asarray(weights).tolist()
    return spec.prepare(x, w, output_scale, output_zero_point, output_limits, weights=nested, bias=bias, window=window)


def _windows(x: NDArray[Any], kernel: tuple[int, int], window: Window) -> NDArray[Any]:
    """x (N, H, W, C), centred -> all windows (N, H', W', C, KH, KW), borders 0."""
    window.outputs((x.shape[1], x.shape[2]), kernel)
    top, bottom, left, right = window.padding
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    reach = tuple(d * (k - 1) + 1 for d, k in zip(window.dilation, kernel, strict=True))
    view: NDArray[Any] = sliding_window_view(padded, reach, axis=(1, 2))  # type: ignore[call-overload]
    return view[:, :: window.stride[0], :: window.stride[1], :, :: window.dilation[0], :: window.dilation[1]]


def accumulate(x: ArrayLike, weights: ArrayLike, params: Params) -> Ints:
    """x (N, H, W, C), weights (O, KH, KW, C / groups) -> accumulators (N, H', W', O), int64.

    Raises QuantError where the channels do not fit the groups or no window fits the image.
    """
    kind, groups = exact_float(params.max_accumulator), params.window.groups
    centred: NDArray[Any] = np.asarray(x).astype(kind) - kind.type(params.zero_points[0])
    kernels: NDArray[Any] = np.asarray(weights).astype(kind) - kind.type(params.zero_points[1])
    outputs, kh, kw, depth = kernels.shape
    if depth * groups != centred.shape[-1]:
        raise QuantError(
            f"{centred.shape[-1]} channels in {groups} groups of {depth}", hint="groups x depth is the channels"
        )
    view = _windows(centred, (kh, kw), params.window)
    images, rows, columns = view.shape[:3]
    result = np.empty((images, rows, columns, outputs), dtype=np.int64)
    if depth == 1:  # depthwise: a sum of planes, as a matrix product of depth KH KW would have one column a group
        sums = np.zeros(result.shape, dtype=kind)
        for u in range(kh):
            for v in range(kw):
                sums += np.repeat(view[..., u, v], outputs // groups, axis=-1) * kernels[:, u, v, 0]
        result[...] = sums
    else:
        step = max(1, BLOCK // (rows * columns * depth * kh * kw))
        for group in range(groups):
            taken = slice(group * outputs // groups, (group + 1) * outputs // groups)
            matrix = kernels[taken].transpose(1, 2, 3, 0).reshape(kh * kw * depth, -1)
            for start in range(0, images, step):
                part = view[start : start + step, :, :, group * depth : (group + 1) * depth]
                flat = part.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kh * kw * depth)
                result[start : start + step, :, :, taken] = (flat @ matrix).reshape(-1, rows, columns, matrix.shape[1])
    if params.bias is not None:
        result += np.array(params.bias, dtype=np.int64)
    return result


def apply(x: ArrayLike, weights: ArrayLike, params: Params) -> Ints:
    """x (N, H, W, C), weights (O, KH, KW, C / groups) -> quantized (N, H', W', O), int64."""
    return requantize.apply(accumulate(x, weights, params), params.requantize)
