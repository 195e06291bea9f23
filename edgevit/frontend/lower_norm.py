"""Lowerings of normalizations, softmax and moments. The IR normalizes the last axis: others are exchanged with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgevit.frontend.lower_layout import transposed
from edgevit.frontend.registry import Node, axes_of, axis_of, lowers
from edgevit.ir.op import Op
from edgevit.ir.ops import (
    Abs,
    BatchNorm,
    Broadcast,
    Const,
    GroupNorm,
    L2Normalize,
    LayerNorm,
    Log,
    Maximum,
    Mul,
    Reduce,
    ReduceMax,
    ReduceMean,
    ReduceSum,
    Reshape,
    RmsNorm,
    Softmax,
    Sqrt,
    Sub,
    Transpose,
)


@lowers("layer_norm.default")
def layer_norm(node: Node, x: Any, shape: Sequence[int], weight: Any, bias: Any, eps: float, *_: Any) -> Op:
    """Over the trailing axes, which are joined into one where there are several."""
    operand = node.op(x)
    gamma, beta = _affine(node, weight, bias, math.prod(shape))
    if len(shape) == 1:
        return LayerNorm(operand, gamma, beta, eps, loc=node.loc)
    joined = Reshape(operand, (*operand.shape[: -len(shape)], math.prod(shape)), loc=node.loc)
    return Reshape(LayerNorm(joined, gamma, beta, eps, loc=node.loc), operand.shape, loc=node.loc)


@lowers("native_layer_norm.default")
def native_layer_norm(
    node: Node, x: Any, shape: Sequence[int], weight: Any, bias: Any, eps: float
) -> tuple[Op, None, None]:
    """As layer_norm; mean and deviation only serve the gradient."""
    return layer_norm(node, x, shape, weight, bias, eps), None, None


@lowers("rms_norm.default")
def rms_norm(node: Node, x: Any, shape: Sequence[int], weight: Any, eps: float | None) -> Op:
    """Over the last axis; without ``eps`` torch takes float32's."""
    if len(shape) != 1:
        raise node.cannot(f"rms_norm over {len(shape)} axes")
    gamma, beta = _affine(node, weight, None, shape[0])
    return RmsNorm(node.op(x), gamma, beta, float(np.finfo(np.float32).eps) if eps is None else eps, loc=node.loc)


@lowers("group_norm.default")
def group_norm(node: Node, x: Any, groups: int, weight: Any, bias: Any, eps: float, *_: Any) -> Op:
    """Channels are torch's axis 1."""
    operand = node.op(x)
    gamma, beta = _affine(node, weight, bias, operand.shape[1])
    result = GroupNorm(_channels_to_end(operand, node.loc), gamma, beta, groups, eps, loc=node.loc)
    return _channels_from_end(result, node.loc)


@lowers("native_group_norm.default")
def native_group_norm(
    node: Node, x: Any, weight: Any, bias: Any, batch: int, channels: int, positions: int, groups: int, eps: float
) -> tuple[Op, None, None]:
    """As group_norm; mean and deviation only serve the gradient."""
    return group_norm(node, x, groups, weight, bias, eps), None, None


@lowers("batch_norm.default")
def batch_norm(
    node: Node,
    x: Any,
    weight: Any,
    bias: Any,
    mean: Any,
    var: Any,
    training: bool,
    momentum: float,
    eps: float,
    *_: Any,
) -> Op:
    """With the statistics of training; channels are torch's axis 1."""
    if training or mean is None:
        raise node.cannot("batch norm with the statistics of the batch: call model.eval() before exporting it")
    operand = node.op(x)
    channels = operand.shape[1]
    gamma, beta = (
        node.const(np.full(channels, default, np.float32)) if value is None else node.op(value)
        for value, default in ((weight, 1), (bias, 0))
    )
    last = _channels_to_end(operand, node.loc)
    result = BatchNorm(last, gamma, beta, node.op(mean), node.op(var), eps, loc=node.loc)
    return _channels_from_end(result, node.loc)


@lowers("_native_batch_norm_legit_no_training.default")
def native_batch_norm(
    node: Node, x: Any, weight: Any, bias: Any, mean: Any, var: Any, momentum: float, eps: float
) -> tuple[Op, None, None]:
    """As batch_norm; its other results are empty in evaluation mode."""
    return batch_norm(node, x, weight, bias, mean, var, False, momentum, eps), None, None


@lowers("softmax.int", "_softmax.default", "_safe_softmax.default")
def softmax(node: Node, x: Any, dim: int, *_: Any) -> Op:
    """Over one axis. The safe variant differs only for a row that is masked throughout, which no image has."""
    operand = node.op(x)
    last = operand.type.rank - 1
    if axis_of(dim, operand.type.rank) == last:
        return Softmax(operand, loc=node.loc)
    result = Softmax(transposed(operand, dim, last, node.loc), loc=node.loc)
    return transposed(result, dim, last, node.loc)


@lowers("log_softmax.int", "_log_softmax.default")
def log_softmax(node: Node, x: Any, dim: int, *_: Any) -> Op:
    """The logarithm of softmax."""
    return Log(softmax(node, x, dim), loc=node.loc)


@lowers("var_mean.correction")
def var_mean(node: Node, x: Any, dim: Sequence[int] | None, correction: float | None, keepdim: bool) -> tuple[Op, Op]:
    """Variance (divided by the count less ``correction``) and mean."""
    operand = node.op(x)
    axes = axes_of(dim, operand.type.rank)
    mean = ReduceMean(operand, axes, keepdims=True, loc=node.loc)
    centred = Sub(operand, mean, loc=node.loc)
    var: Op = ReduceMean(Mul(centred, centred, loc=node.loc), axes, keepdims=keepdim, loc=node.loc)
    count = math.prod(operand.shape[axis] for axis in axes)
    used = 1 if correction is None else correction
    if used:
        var = Mul(var, node.op(count / (count - used)), loc=node.loc)
    return var, mean if keepdim else Reshape(mean, var.shape, loc=node.loc)


@lowers("var.correction")
def var(node: Node, x: Any, dim: Sequence[int] | None, correction: float | None, keepdim: bool) -> Op:
    """The variance alone."""
    return var_mean(node, x, dim, correction, keepdim)[0]


@lowers("std.correction")
def std(node: Node, x: Any, dim: Sequence[int] | None, correction: float | None, keepdim: bool) -> Op:
    """The standard deviation."""
    return Sqrt(var(node, x, dim, correction, keepdim), loc=node.loc)


@lowers("linalg_vector_norm.default")
def vector_norm(node: Node, x: Any, order: float, dim: Any, keepdim: bool, *_: Any) -> Op:
    """The 1, 2 or maximum norm."""
    operand = node.op(x)
    axes = axes_of(dim, operand.type.rank)
    if order == 2:
        squares = Mul(operand, operand, loc=node.loc)
        return Sqrt(ReduceSum(squares, axes, keepdim, loc=node.loc), loc=node.loc)
    reductions: dict[float, type[Reduce]] = {1: ReduceSum, math.inf: ReduceMax}
    if order not in reductions:
        raise node.cannot(f"a vector norm of order {order}")
    return reductions[order](Abs(operand, loc=node.loc), axes, keepdim, loc=node.loc)


@lowers("norm.ScalarOpt_dim")
def norm(node: Node, x: Any, order: float | None, dim: Any, keepdim: bool) -> Op:
    """The older spelling of linalg_vector_norm."""
    return vector_norm(node, x, 2 if order is None else order, dim, keepdim)


def l2_normalized(x: Op, divisor: Op, loc: str) -> Op | None:
    """``x / divisor`` as one op where the divisor is max(||x||, eps) over the last axis, which is torch's normalize."""
    if isinstance(divisor, Broadcast):
        divisor = divisor.x
    if not (isinstance(divisor, Maximum) and isinstance(divisor.rhs, Const) and isinstance(divisor.lhs, Sqrt)):
        return None
    total = divisor.lhs.x
    if not (isinstance(total, ReduceSum) and total.axes == (x.type.rank - 1,) and total.keepdims):
        return None
    squares = total.x
    if not (isinstance(squares, Mul) and squares.lhs is x and squares.rhs is x and divisor.rhs.type.size == 1):
        return None
    return L2Normalize(x, divisor.rhs.data.item(), loc=loc)


def _affine(node: Node, weight: Any, bias: Any, size: int) -> tuple[Op | None, Op | None]:
    """gamma and beta, both or none; a missing one is neutral."""
    if weight is None and bias is None:
        return None, None
    values: list[Op] = []
    for value, neutral in ((weight, 1), (bias, 0)):
        if value is None:
            values.append(node.const(np.full(size, neutral, np.float32)))
        else:
            op = node.op(value)
            values.append(op if op.type.rank == 1 else node.const(node.array(value, "weight").reshape(size)))
    return values[0], values[1]


def _channels_to_end(x: Op, loc: str) -> Op:
    rank = x.type.rank
    return x if rank == 2 else Transpose(x, (0, *range(2, rank), 1), loc=loc)


def _channels_from_end(x: Op, loc: str) -> Op:
    rank = x.type.rank
    return x if rank == 2 else Transpose(x, (0, rank - 1, *range(1, rank - 1)), loc=loc)
