"""Evaluators of elementwise ops, matrix products, normalizations and reductions.

They keep the floating type of their operands: float32 for float graphs, float64 when the interpreter has dequantized
them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from edgevit.ir import ops
from edgevit.ir.interp import evaluates
from edgevit.ir.op import Op
from edgevit.ir.ops.elementwise import Binary, Unary

Floats = NDArray[Any]


def align(array: Floats, rank: int, result_rank: int) -> Floats:
    """Insert size-1 axes between the sample axis and the type's axes, so that operands of different rank broadcast."""
    missing = result_rank - rank
    if missing <= 0 or array.ndim == rank:
        return array
    return array.reshape((*array.shape[: array.ndim - rank], *(1,) * missing, *array.shape[array.ndim - rank :]))


_BINARY: dict[type[Binary], Any] = {
    ops.Add: np.add,
    ops.Sub: np.subtract,
    ops.Mul: np.multiply,
    ops.Div: np.divide,
    ops.Maximum: np.maximum,
    ops.Minimum: np.minimum,
    ops.Pow: np.power,
}


@evaluates(*_BINARY)
def binary(op: Binary, operands: list[Floats]) -> Floats:
    """Elementwise op of two operands, which broadcast."""
    lhs = align(operands[0], op.lhs.type.rank, op.type.rank)
    rhs = align(operands[1], op.rhs.type.rank, op.type.rank)
    result: Floats = _BINARY[type(op)](lhs, rhs)
    return result


def _rsqrt(x: Floats) -> Floats:
    """1 / sqrt(x); infinite at zero, which a quantized operand may well be."""
    with np.errstate(divide="ignore"):
        result: Floats = 1 / np.sqrt(x)
    return result


def hard_sigmoid(x: Floats) -> Floats:
    """clip(x + 3, 0, 6) / 6."""
    return np.clip(x + 3, 0, 6) / 6


_UNARY: dict[type[Unary], Any] = {
    ops.Exp: np.exp,
    ops.Log: np.log,
    ops.Sqrt: np.sqrt,
    ops.Rsqrt: _rsqrt,
    ops.Abs: np.abs,
    ops.Neg: np.negative,
    ops.Sign: np.sign,
    ops.Erf: special.erf,
    ops.Sin: np.sin,
    ops.Cos: np.cos,
    ops.Sigmoid: special.expit,
    ops.Tanh: np.tanh,
    ops.Relu: lambda x: np.maximum(x, 0),
    ops.Silu: lambda x: x * special.expit(x),
    ops.HardSigmoid: hard_sigmoid,
    ops.HardSwish: lambda x: x * hard_sigmoid(x),
}


@evaluates(*_UNARY)
def unary(op: Unary, operands: list[Floats]) -> Floats:
    """Elementwise op of one operand."""
    result: Floats = _UNARY[type(op)](operands[0])
    return result


@evaluates(ops.Gelu)
def gelu(op: ops.Gelu, operands: list[Floats]) -> Floats:
    """x * Phi(x), exactly or by its tanh approximation."""
    (x,) = operands
    if op.approximate == "tanh":
        inner = x.dtype.type(np.sqrt(2 / np.pi)) * (x + x.dtype.type(0.044715) * x * x * x)
        result: Floats = x.dtype.type(0.5) * x * (1 + np.tanh(inner))
        return result
    result = x * special.ndtr(x)
    return result


@evaluates(ops.Clip)
def clip(op: ops.Clip, operands: list[Floats]) -> Floats:
    """x limited to [lo, hi]."""
    return np.clip(operands[0], op.lo, op.hi)


@evaluates(ops.Linear)
def linear(op: ops.Linear, operands: list[Floats]) -> Floats:
    """x @ weight.T + bias; weight and bias may be computed."""
    rows = operands[0][..., None, :] if op.x.type.rank == 1 else operands[0]
    weight = align(operands[1], 2, max(op.x.type.rank, 2))
    result: Floats = rows @ weight.swapaxes(-1, -2)
    if op.x.type.rank == 1:
        result = result[..., 0, :]
    return result + align(operands[2], 1, op.type.rank) if op.bias is not None else result


@evaluates(ops.MatMul)
def matmul(op: ops.MatMul, operands: list[Floats]) -> Floats:
    """Batched matrix product, leading axes broadcast."""
    lhs = align(operands[0], op.lhs.type.rank, op.type.rank)
    rhs = align(operands[1], op.rhs.type.rank, op.type.rank)
    result: Floats = lhs @ rhs
    return result


@evaluates(ops.Attention)
def attention(op: ops.Attention, operands: list[Floats]) -> Floats:
    """softmax(scale * q @ k.T + mask) @ v."""
    q, k, v = operands[:3]
    scores: Floats = (q @ k.swapaxes(-1, -2)) * q.dtype.type(op.scale)
    if op.mask is not None:
        scores = scores + align(operands[3], op.mask.type.rank, op.q.type.rank)
    result: Floats = softmax_last(scores) @ v
    return result


def softmax_last(x: Floats) -> Floats:
    """Softmax over the last axis, computed on x - max(x)."""
    exponentials = np.exp(x - x.max(axis=-1, keepdims=True))
    result: Floats = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return result


@evaluates(ops.Softmax)
def softmax(op: ops.Softmax, operands: list[Floats]) -> Floats:
    """Softmax over the last axis."""
    return softmax_last(operands[0])


@evaluates(ops.LayerNorm)
def layer_norm(op: ops.LayerNorm, operands: list[Floats]) -> Floats:
    """Mean and variance over the last axis, then gamma and beta."""
    centred = operands[0] - operands[0].mean(axis=-1, keepdims=True)
    return _scale_shift(op, _normalize(centred, op.eps), operands[1:])


@evaluates(ops.RmsNorm)
def rms_norm(op: ops.RmsNorm, operands: list[Floats]) -> Floats:
    """Mean square over the last axis, then gamma and beta."""
    return _scale_shift(op, _normalize(operands[0], op.eps), operands[1:])


@evaluates(ops.GroupNorm)
def group_norm(op: ops.GroupNorm, operands: list[Floats]) -> Floats:
    """Mean and variance over each group of channels and all positions, then gamma and beta."""
    x = operands[0]
    shape = op.x.shape
    grouped = x.reshape((*x.shape[:-1], op.groups, shape[-1] // op.groups))
    axes = (*range(1 - len(shape) - 1, -2), -1)
    centred = grouped - grouped.mean(axis=axes, keepdims=True)
    variance = (centred * centred).mean(axis=axes, keepdims=True)
    normal = (centred / np.sqrt(variance + x.dtype.type(op.eps))).reshape(x.shape)
    return _scale_shift(op, normal, operands[1:])


@evaluates(ops.BatchNorm)
def batch_norm(op: ops.BatchNorm, operands: list[Floats]) -> Floats:
    """Fixed statistics for each channel."""
    x = operands[0]
    gamma, beta, mean, var = (align(values, 1, op.type.rank) for values in operands[1:])
    result: Floats = (x - mean) / np.sqrt(var + x.dtype.type(op.eps)) * gamma + beta
    return result


@evaluates(ops.L2Normalize)
def l2_normalize(op: ops.L2Normalize, operands: list[Floats]) -> Floats:
    """x / max(||x||_2, eps) over the last axis."""
    (x,) = operands
    norm = np.sqrt((x * x).sum(axis=-1, keepdims=True))
    result: Floats = x / np.maximum(norm, x.dtype.type(op.eps))
    return result


def _normalize(centred: Floats, eps: float) -> Floats:
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    result: Floats = centred / np.sqrt(variance + centred.dtype.type(eps))
    return result


def _scale_shift(op: Op, x: Floats, affine: list[Floats]) -> Floats:
    if not affine:
        return x
    gamma, beta = (align(values, 1, op.type.rank) for values in affine)
    return x * gamma + beta


_REDUCE: dict[type[ops.Reduce], Any] = {
    ops.ReduceSum: np.sum,
    ops.ReduceMean: np.mean,
    ops.ReduceMax: np.max,
    ops.ReduceMin: np.min,
}


@evaluates(*_REDUCE)
def reduce(op: ops.Reduce, operands: list[Floats]) -> Floats:
    """Sum, mean, largest or smallest over some axes."""
    axes = tuple(axis - op.x.type.rank for axis in op.axes)
    result: Floats = _REDUCE[type(op)](operands[0], axis=axes, keepdims=op.keepdims)
    return result
