"""Operators that only move stored values. Shapes, axes and paddings are those of the file, without the sample axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit.errors import QuantError

Array = NDArray[Any]


def reshape(x: Array, shape: Sequence[int]) -> Array:
    """RESHAPE, SQUEEZE and EXPAND_DIMS: x to (S, *shape). Raises QuantError where the sizes differ."""
    if x[0].size != int(np.prod(shape, dtype=np.int64)):
        raise QuantError(f"{x.shape[1:]} cannot become {tuple(shape)}", hint="the element counts differ")
    return x.reshape(x.shape[0], *shape)


def transpose(x: Array, permutation: Sequence[int]) -> Array:
    """TRANSPOSE: output axis i is input axis permutation[i]."""
    rank = x.ndim - 1
    return np.ascontiguousarray(x.transpose(0, *(axis % rank + 1 for axis in permutation)))


def _one_batch(arrays: Sequence[Array]) -> list[Array]:
    samples = max(array.shape[0] for array in arrays)
    return [np.broadcast_to(array, (samples, *array.shape[1:])) for array in arrays]


def concatenation(arrays: Sequence[Array], axis: int) -> Array:
    """CONCATENATION along ``axis``; constants (S = 1) are repeated for every sample. All grids are equal."""
    rank = arrays[0].ndim - 1
    return np.concatenate(_one_batch(arrays), axis=axis % rank + 1)


def pack(arrays: Sequence[Array], axis: int) -> Array:
    """PACK: a new axis ``axis`` of the output."""
    rank = arrays[0].ndim
    return np.stack(_one_batch(arrays), axis=axis % rank + 1)


def slice_(x: Array, begin: Sequence[int], size: Sequence[int]) -> Array:
    """SLICE: ``size`` -1 reaches to the end. Raises QuantError beyond the tensor."""
    stops = [x.shape[i + 1] if n == -1 else b + n for i, (b, n) in enumerate(zip(begin, size, strict=True))]
    for i, (start, stop) in enumerate(zip(begin, stops, strict=True)):
        if not 0 <= start <= stop <= x.shape[i + 1]:
            raise QuantError(f"SLICE [{start}, {stop}) of an axis of {x.shape[i + 1]}", hint="slices lie in the tensor")
    index = (slice(None), *(slice(start, stop) for start, stop in zip(begin, stops, strict=True)))
    return np.ascontiguousarray(x[index])


def strided_slice(
    x: Array,
    begin: Sequence[int],
    end: Sequence[int],
    strides: Sequence[int],
    *,
    begin_mask: int = 0,
    end_mask: int = 0,
    shrink_axis_mask: int = 0,
) -> Array:
    """STRIDED_SLICE with numpy's meaning of negative and out-of-range bounds; bit i of a mask is about axis i.

    A shrunk axis takes the one element at ``begin``. Raises QuantError for a zero stride or an element that is not
    there.
    """
    index: list[slice | int] = [slice(None)]
    for i, (start, stop, stride) in enumerate(zip(begin, end, strides, strict=True)):
        size = x.shape[i + 1]
        if shrink_axis_mask >> i & 1:
            position = 0 if begin_mask >> i & 1 else start
            if not -size <= position < size:
                raise QuantError(
                    f"STRIDED_SLICE at {position} of an axis of {size}", hint="take an element that exists"
                )
            index.append(position)
            continue
        if stride == 0:
            raise QuantError("STRIDED_SLICE with a stride of 0", hint="strides are not zero")
        index.append(slice(None if begin_mask >> i & 1 else start, None if end_mask >> i & 1 else stop, stride))
    return np.ascontiguousarray(x[tuple(index)])


def pad(x: Array, paddings: Array, zero_point: int) -> Array:
    """PAD with real zero, the output's zero point. ``paddings`` is (rank, 2): before and after each axis."""
    widths = [(0, 0), *((int(before), int(after)) for before, after in paddings)]
    return np.pad(x, widths, constant_values=zero_point)


def resize_nearest_neighbor(x: Array, size: tuple[int, int], *, align_corners: bool, half_pixel_centers: bool) -> Array:
    """RESIZE_NEAREST_NEIGHBOR of x (S, N, H, W, C) to ``size`` (height, width); coordinates in float32 as TFLite's."""
    for axis, target in ((2, size[0]), (3, size[1])):
        source = x.shape[axis]
        corners = align_corners and target > 1
        scale = np.float32(source - 1) / np.float32(target - 1) if corners else np.float32(source) / np.float32(target)
        offset = np.float32(0.5 if half_pixel_centers else 0.0)
        place = (np.arange(target, dtype=np.float32) + offset) * scale
        nearest = np.floor(place + np.float32(0.5)) if align_corners else np.floor(place)
        x = np.take(x, np.clip(nearest.astype(np.int64), 0, source - 1), axis=axis)
    return x


def space_to_depth(x: Array, block: int) -> Array:
    """SPACE_TO_DEPTH of x (S, N, H, W, C): blocks of ``block`` x ``block`` pixels become channels, rows first."""
    samples, batch, height, width, channels = x.shape
    if height % block or width % block:
        raise QuantError(f"{height} x {width} by blocks of {block}", hint="the block divides both")
    split = x.reshape(samples, batch, height // block, block, width // block, block, channels)
    return split.transpose(0, 1, 2, 4, 3, 5, 6).reshape(samples, batch, height // block, width // block, -1)
