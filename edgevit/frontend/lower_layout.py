"""Lowerings of operators that move elements: views, permutations, slices, joins, padding, gathers, and no-ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgevit.frontend.registry import Node, axes_of, axis_of, lowers
from edgevit.ir.op import Op
from edgevit.ir.ops import Broadcast, Concat, Gather, Pad, Reshape, Slice, Transpose


@lowers(
    "view.default",
    "reshape.default",
    "reshape_as.default",
    "view_as.default",
    "_unsafe_view.default",
    "flatten.using_ints",
    "unflatten.int",
    "unsqueeze.default",
    "squeeze.default",
    "squeeze.dim",
    "squeeze.dims",
    "view_copy.default",
)
def reshape(node: Node, x: Any, *_: Any) -> Op:
    """The same elements in the result's shape, which torch has worked out."""
    operand = node.op(x)
    return operand if operand.shape == node.shape else Reshape(operand, node.shape, loc=node.loc)


@lowers("as_strided.default")
def as_strided(node: Node, x: Any, size: Sequence[int], stride: Sequence[int], offset: int | None) -> Op:
    """A view of memory, where that is a vector whatever its layout: torch ends its global pooling with one."""
    operand = node.op(x)
    long = [(n, step) for n, step in zip(size, stride, strict=True) if n > 1]
    if offset or max(operand.shape, default=1) != operand.type.size or long not in ([], [(operand.type.size, 1)]):
        raise node.cannot(f"a view of {list(operand.shape)} with strides {list(stride)}")
    return reshape(node, operand)


@lowers(
    "alias.default",
    "clone.default",
    "contiguous.default",
    "detach.default",
    "detach_.default",
    "lift_fresh_copy.default",
    "type_as.default",
)
def identity(node: Node, x: Any, *_: Any) -> Op:
    """Nothing is computed."""
    return node.op(x)


@lowers("dropout.default", "feature_dropout.default", "alpha_dropout.default")
def dropout(node: Node, x: Any, rate: float, train: bool) -> Op:
    """Nothing is dropped in evaluation mode."""
    if train and rate > 0:
        raise node.cannot("dropout in training mode: call model.eval() before exporting it")
    return node.op(x)


@lowers("to.dtype", "to.dtype_layout", "to.device", "to.other", "_to_copy.default", "float.default")
def cast(node: Node, x: Any, *arguments: Any) -> Op:
    """A change of precision, which the float IR does not have; a cast to integers or booleans has no lowering."""
    import torch

    for argument in arguments:
        if isinstance(argument, torch.dtype) and not argument.is_floating_point:
            raise node.cannot(f"a cast of an activation to {argument}")
    return node.op(x)


@lowers("native_dropout.default")
def native_dropout(node: Node, x: Any, rate: float, train: bool | None) -> tuple[Op, None]:
    """As dropout; the mask is not computed."""
    return dropout(node, x, rate, train is not False), None


@lowers("permute.default")
def permute(node: Node, x: Any, dims: Sequence[int]) -> Op:
    """Axes in the given order."""
    operand = node.op(x)
    return Transpose(operand, tuple(axis_of(dim, operand.type.rank) for dim in dims), loc=node.loc)


@lowers("transpose.int", "t.default", "swapaxes.default", "mT.default")
def transpose(node: Node, x: Any, a: int = -2, b: int = -1) -> Op:
    """Two axes exchanged."""
    operand = node.op(x)
    return operand if operand.type.rank < 2 else transposed(operand, a, b, node.loc)


@lowers("expand.default", "expand_as.default", "broadcast_to.default")
def expand(node: Node, x: Any, *_: Any) -> Op:
    """The operand repeated to the result's shape."""
    operand = node.op(x)
    return operand if operand.shape == node.shape else Broadcast(operand, node.shape, loc=node.loc)


@lowers("repeat.default")
def repeat(node: Node, x: Any, repeats: Sequence[int]) -> Op:
    """The whole operand again and again along each axis."""
    operand = node.op(x)
    lead = len(repeats) - operand.type.rank
    result = operand if lead == 0 else Reshape(operand, (1,) * lead + operand.shape, loc=node.loc)
    for axis, count in enumerate(repeats):
        if count > 1:
            result = Concat((result,) * count, axis, loc=node.loc)
    return result


@lowers("slice.Tensor")
def slice_(node: Node, x: Any, dim: int, start: int | None, end: int | None, step: int) -> Op:
    """start:end:step of one axis, with Python's treatment of negative and too large bounds."""
    operand = node.op(x)
    axis = axis_of(dim, operand.type.rank)
    low, high, by = slice(start, end, step).indices(operand.shape[axis])
    return sliced(operand, axis, low, high, by, node.loc)


@lowers("slice_scatter.default")
def slice_scatter(node: Node, x: Any, source: Any, dim: int, start: int | None, end: int | None, step: int) -> Op:
    """``x`` with start:end of one axis replaced by ``source``."""
    operand = node.op(x)
    axis = axis_of(dim, operand.type.rank)
    size = operand.shape[axis]
    low, high, by = slice(start, end, step).indices(size)
    if by != 1:
        raise node.cannot(f"a slice with step {by} that is written to")
    parts = [node.op(source)]
    if low > 0:
        parts.insert(0, sliced(operand, axis, 0, low, 1, node.loc))
    if high < size:
        parts.append(sliced(operand, axis, high, size, 1, node.loc))
    return Concat(tuple(parts), axis, loc=node.loc) if len(parts) > 1 else parts[0]


@lowers("copy.default")
def copy(node: Node, x: Any, source: Any, *_: Any) -> Op:
    """``source`` in the shape of ``x``: what an assignment to a slice leaves."""
    return expand(node, source)


@lowers("narrow.default")
def narrow(node: Node, x: Any, dim: int, start: int, length: int) -> Op:
    """``length`` elements of one axis from ``start``."""
    return slice_(node, x, dim, start, start + length, 1)


@lowers("select.int")
def select(node: Node, x: Any, dim: int, index: int) -> Op:
    """One index of one axis, which disappears."""
    operand = node.op(x)
    axis = axis_of(dim, operand.type.rank)
    index = axis_of(index, operand.shape[axis])
    return Reshape(sliced(operand, axis, index, index + 1, 1, node.loc), node.shape, loc=node.loc)


@lowers("chunk.default")
def chunk(node: Node, x: Any, chunks: int, dim: int) -> list[Op]:
    """Pieces of equal size, the last one possibly smaller."""
    operand = node.op(x)
    axis = axis_of(dim, operand.type.rank)
    return _pieces(operand, axis, -(-operand.shape[axis] // chunks), node.loc)


@lowers("split.Tensor")
def split(node: Node, x: Any, size: int, dim: int) -> list[Op]:
    """Pieces of ``size``, the last one possibly smaller."""
    operand = node.op(x)
    return _pieces(operand, axis_of(dim, operand.type.rank), size, node.loc)


@lowers("split_with_sizes.default", "split.sizes")
def split_with_sizes(node: Node, x: Any, sizes: Sequence[int], dim: int) -> list[Op]:
    """Pieces of the given sizes."""
    operand = node.op(x)
    axis = axis_of(dim, operand.type.rank)
    ends = np.cumsum(sizes).tolist()
    return [sliced(operand, axis, end - size, end, 1, node.loc) for size, end in zip(sizes, ends, strict=True)]


@lowers("unbind.int")
def unbind(node: Node, x: Any, dim: int) -> list[Op]:
    """Each index of one axis, which disappears."""
    operand = node.op(x)
    axis = axis_of(dim, operand.type.rank)
    shape = operand.shape[:axis] + operand.shape[axis + 1 :]
    parts = (sliced(operand, axis, i, i + 1, 1, node.loc) for i in range(operand.shape[axis]))
    return [Reshape(part, shape, loc=node.loc) for part in parts]


@lowers("cat.default")
def cat(node: Node, xs: Sequence[Any], dim: int) -> Op:
    """Operands joined along one axis; empty ones of rank 1 are skipped, as torch does."""
    operands = tuple(node.op(x) for x in xs if isinstance(x, Op) or x.numel())
    return Concat(operands, axis_of(dim, len(node.shape)), loc=node.loc)


@lowers("stack.default")
def stack(node: Node, xs: Sequence[Any], dim: int) -> Op:
    """Operands joined along a new axis."""
    axis = axis_of(dim, len(node.shape))
    shape = (*node.shape[:axis], 1, *node.shape[axis + 1 :])
    return Concat(tuple(Reshape(node.op(x), shape, loc=node.loc) for x in xs), axis, loc=node.loc)


@lowers("roll.default")
def roll(node: Node, x: Any, shifts: int | Sequence[int], dims: int | Sequence[int]) -> Op:
    """Elements moved round along each axis: the tail in front of the head."""
    result = node.op(x)
    counts = [shifts] if isinstance(shifts, int) else list(shifts)
    axes = [dims] if isinstance(dims, int) else list(dims)
    if not axes:
        flat = Reshape(result, (result.type.size,), loc=node.loc)
        return Reshape(_rolled(flat, 0, counts[0], node.loc), node.shape, loc=node.loc)
    for shift, dim in zip(counts, axes, strict=True):
        result = _rolled(result, axis_of(dim, result.type.rank), shift, node.loc)
    return result


@lowers("flip.default")
def flip(node: Node, x: Any, dims: Sequence[int]) -> Op:
    """The order of some axes reversed."""
    result = node.op(x)
    for axis in axes_of(dims, result.type.rank):
        result = Gather(result, node.const(np.arange(result.shape[axis])[::-1]), axis, loc=node.loc)
    return result


@lowers("constant_pad_nd.default")
def constant_pad(node: Node, x: Any, pad: Sequence[int], value: float) -> Op:
    """``value`` around the operand, or less of it where a count is negative; the counts start with the last axis."""
    return _padded(node, x, pad, "constant", float(value))


@lowers("pad.default")
def pad_(node: Node, x: Any, pad: Sequence[int], mode: str, value: float | None) -> Op:
    """Constant and reflecting padding; the counts start with the last axis."""
    if mode not in ("constant", "reflect"):
        raise node.cannot(f"padding in mode {mode!r}")
    return _padded(node, x, pad, mode, float(value or 0))


@lowers("reflection_pad1d.default", "reflection_pad2d.default")
def reflection_pad(node: Node, x: Any, pad: Sequence[int]) -> Op:
    """The operand mirrored at its borders, which are not repeated."""
    return _padded(node, x, pad, "reflect", 0.0)


@lowers("index_select.default")
def index_select(node: Node, x: Any, dim: int, index: Any) -> Op:
    """Constant indices of one axis."""
    operand = node.op(x)
    axis = axis_of(dim, operand.type.rank)
    return _gathered(node, operand, axis, node.array(index, "index"))


@lowers("index.Tensor", "_unsafe_index.Tensor")
def index_(node: Node, x: Any, indices: Sequence[Any]) -> Op:
    """Constant integer indices of adjacent axes, broadcast against each other."""
    operand = node.op(x)
    axes = [axis for axis, index in enumerate(indices) if index is not None]
    arrays = [node.array(indices[axis], "index") for axis in axes]
    if axes != list(range(axes[0], axes[0] + len(axes))) or any(array.dtype == np.bool_ for array in arrays):
        raise node.cannot("an index of separated axes, or by a boolean mask")
    sizes = operand.shape[axes[0] : axes[-1] + 1]
    wrapped = np.broadcast_arrays(*(_wrapped(a, n) for a, n in zip(arrays, sizes, strict=True)))
    if len(axes) > 1:
        shape = (*operand.shape[: axes[0]], int(np.prod(sizes)), *operand.shape[axes[-1] + 1 :])
        operand = Reshape(operand, shape, loc=node.loc)
    return _gathered(node, operand, axes[0], np.ravel_multi_index(tuple(wrapped), sizes))


def transposed(x: Op, a: int, b: int, loc: str) -> Op:
    """``x`` with two axes exchanged."""
    perm = list(range(x.type.rank))
    perm[a], perm[b] = perm[b], perm[a]
    return Transpose(x, tuple(perm), loc=loc)


def sliced(x: Op, axis: int, start: int, stop: int, step: int, loc: str) -> Op:
    """start:stop:step of one axis; ``x`` itself where that is all of it."""
    size = x.shape[axis]
    if (start, stop, step) == (0, size, 1):
        return x
    starts, stops, steps = [0] * x.type.rank, list(x.shape), [1] * x.type.rank
    starts[axis], stops[axis], steps[axis] = start, stop, step
    return Slice(x, tuple(starts), tuple(stops), tuple(steps), loc=loc)


def _pieces(x: Op, axis: int, size: int, loc: str) -> list[Op]:
    total = x.shape[axis]
    return [sliced(x, axis, start, min(start + size, total), 1, loc) for start in range(0, total, size)]


def _rolled(x: Op, axis: int, shift: int, loc: str) -> Op:
    size = x.shape[axis]
    cut = -shift % size
    if cut == 0:
        return x
    return Concat((sliced(x, axis, cut, size, 1, loc), sliced(x, axis, 0, cut, 1, loc)), axis, loc=loc)


def _padded(node: Node, x: Any, pad: Sequence[int], mode: str, value: float) -> Op:
    operand = node.op(x)
    low, high = [0] * operand.type.rank, [0] * operand.type.rank
    for i in range(len(pad) // 2):
        low[-1 - i], high[-1 - i] = pad[2 * i], pad[2 * i + 1]
    for axis, (before, after) in enumerate(zip(low, high, strict=True)):
        if min(before, after) < 0:
            stop = operand.shape[axis] + min(after, 0)
            operand = sliced(operand, axis, max(-before, 0), stop, 1, node.loc)
    low, high = [max(n, 0) for n in low], [max(n, 0) for n in high]
    return Pad(operand, tuple(low), tuple(high), mode, value, loc=node.loc) if any(low) or any(high) else operand


def _gathered(node: Node, x: Op, axis: int, indices: Any) -> Op:
    return Gather(x, node.const(_wrapped(indices, x.shape[axis])), axis, loc=node.loc)


def _wrapped(indices: Any, size: int) -> Any:
    """Indices that count from the end, counted from the start."""
    return np.where(indices < 0, indices + size, indices)
