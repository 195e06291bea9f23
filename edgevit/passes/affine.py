"""Constants that scale or shift channels, and how they move past views to the weights that can take them.

A constant is held at full rank: each axis has the size of the value that it meets, or 1 where it does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Const, Conv2d, Linear, Mul, ReduceMean, Reshape, Slice, Transpose
from edgevit.passes.base import Context, Reject
from edgevit.passes.match import Real, compressed, constant, fits_f32, full_rank, real
from edgevit.passes.views import inverse

Movement = Reshape | Transpose | Slice
ViewOp = Movement | ReduceMean
Weighted = Linear | Conv2d


@dataclass(frozen=True)
class Affine:
    """``x * scale + shift``; at most one of the two does something when it comes from one op."""

    scale: Real
    shift: Real

    @staticmethod
    def of(op: Op) -> Affine | None:
        """What ``op`` does to its left operand when it adds or multiplies by a constant, without enlarging it."""
        if not isinstance(op, (Add, Mul)) or isinstance(op.lhs, Const) or op.lhs.shape != op.shape:
            return None
        data = real(op.rhs)
        if data is None:
            return None
        data = compressed(full_rank(data, op.type.rank))
        neutral = np.full((1,) * op.type.rank, 0.0 if isinstance(op, Mul) else 1.0)
        return Affine(data, neutral) if isinstance(op, Mul) else Affine(neutral, data)

    def before(self, view: Movement) -> Affine:
        """The affine map of the view's operand that does the same."""
        return Affine(_before(view, self.scale, 1.0), _before(view, self.shift, 0.0))

    def after(self, view: ViewOp) -> Affine | None:
        """The affine map of the view's result that this one, of its operand, becomes; None where there is none."""
        scale, shift = _after(view, self.scale), _after(view, self.shift)
        return None if scale is None or shift is None else Affine(scale, shift)

    def channels(self, count: int) -> tuple[Real, Real] | Reject:
        """Scale and shift as vectors of ``count`` channels, when they change along the last axis only."""
        for data in (self.scale, self.shift):
            other = [axis for axis in range(data.ndim - 1) if data.shape[axis] > 1]
            if other:
                return Reject(f"its constant changes along axis {other[0]}, channels are on axis {data.ndim - 1}")
        return np.broadcast_to(self.scale.reshape(-1), (count,)), np.broadcast_to(self.shift.reshape(-1), (count,))


def _before(view: Movement, data: Real, fill: float) -> Real:
    if data.size == 1:
        return data.reshape((1,) * view.x.type.rank)
    if isinstance(view, Transpose):
        return data.transpose(inverse(view.perm))
    if isinstance(view, Reshape):
        return compressed(np.broadcast_to(data, view.shape).reshape(view.x.shape))
    shape = tuple(1 if n == 1 else size for n, size in zip(data.shape, view.x.shape, strict=True))
    extended = np.full(shape, fill)
    extended[_indices(view, data.shape)] = data
    return extended


def _after(view: ViewOp, data: Real) -> Real | None:
    if data.size == 1:
        return data.reshape((1,) * view.type.rank)
    if isinstance(view, Transpose):
        return data.transpose(view.perm)
    if isinstance(view, Reshape):
        return compressed(np.broadcast_to(data, view.x.shape).reshape(view.to))
    if isinstance(view, Slice):
        return data[_indices(view, data.shape)]
    if any(data.shape[axis] > 1 for axis in view.axes):
        return None
    return data if view.keepdims else data.squeeze(view.axes)


def _indices(view: Slice, shape: Sequence[int]) -> tuple[slice, ...]:
    """The slice on the axes on which a constant of ``shape`` changes, everything on the others."""
    bounds = zip(shape, view.start, view.stop, view.step, strict=True)
    return tuple(slice(None) if n == 1 else slice(start, stop, step) for n, start, stop, step in bounds)


def into_producer(value: Op, affine: Affine, context: Context) -> Op | Reject:
    """``affine(value)`` by changed weights of the linear or conv2d behind ``value``.

    It is found through reshapes, transposes and slices. Each op on the way, and the linear itself, may have no other
    user.
    """
    path: list[ViewOp] = []
    op = value
    while not isinstance(op, (Linear, Conv2d)):
        if not isinstance(op, (Reshape, Transpose, Slice)):
            return Reject(f"its operand comes from {op.NAME}, which has no weights to take it")
        if not context.single_use(op):
            return Reject(f"the {op.NAME} before it has {context.uses[op]} uses")
        affine = affine.before(op)
        path.append(op)
        op = op.x
    if not context.single_use(op):
        return Reject(f"the {op.NAME} before it has {context.uses[op]} uses")
    folded = scale_output(op, affine)
    return folded if isinstance(folded, Reject) else replay(path, folded)


def replay(path: Sequence[ViewOp], x: Op) -> Op:
    """The views of ``path``, last one first, on another operand."""
    for view in reversed(path):
        x = view.map_operands(lambda _, x=x: x)  # type: ignore[misc]
    return x


def scale_output(op: Weighted, affine: Affine) -> Weighted | Reject:
    """The op whose result is ``affine`` of this one's."""
    weight = real(op.weight)
    bias = real(op.bias) if op.bias is not None else np.zeros(op.shape[-1])
    if weight is None or bias is None:
        return Reject(f"the weights of the {op.NAME} are no constants")
    channels = affine.channels(op.shape[-1])
    if isinstance(channels, Reject):
        return channels
    scale, shift = channels
    return _rebuilt(op, op.x, weight * scale.reshape(-1, *(1,) * (weight.ndim - 1)), bias * scale + shift)


def scale_input(op: Weighted, x: Op, affine: Affine) -> Weighted | Reject:
    """The op that does to ``x`` what this one does to ``affine(x)``; ``x`` has the shape of ``op.x``."""
    weight = real(op.weight)
    bias = real(op.bias) if op.bias is not None else np.zeros(op.shape[-1])
    if weight is None or bias is None:
        return Reject(f"the weights of the {op.NAME} are no constants")
    channels = affine.channels(op.x.shape[-1])
    if isinstance(channels, Reject):
        return channels
    scale, shift = channels
    groups = op.groups if isinstance(op, Conv2d) else 1
    if isinstance(op, Conv2d) and any(op.padding) and shift.any():
        return Reject(f"padding {max(op.padding)}: the border would see 0 and not the mean")
    grouped = weight.reshape(groups, weight.shape[0] // groups, -1, weight.shape[-1])
    bias = bias + np.einsum("gokc,gc->go", grouped, shift.reshape(groups, -1)).reshape(-1)
    scaled = grouped * scale.reshape(groups, 1, 1, -1)
    return _rebuilt(op, x, scaled.reshape(weight.shape), bias)


def _rebuilt(op: Weighted, x: Op, weight: Real, bias: Real) -> Weighted | Reject:
    if not fits_f32(weight) or not fits_f32(bias):
        return Reject(f"the folded weights of the {op.NAME} overflow single precision")
    bias_loc = op.bias.loc if op.bias is not None else op.weight.loc
    new_bias = constant(bias, bias_loc) if op.bias is not None or bias.any() else None
    new_weight = constant(weight, op.weight.loc)
    if isinstance(op, Linear):
        return Linear(x, new_weight, new_bias, loc=op.loc)
    return Conv2d(x, new_weight, new_bias, op.stride, op.padding, op.dilation, op.groups, loc=op.loc)
