"""The meaning of the ``int.*`` ops: the vectorised kernels of ``edgevit_kernels``, on the stored integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.integer import ops
from edgevit.ir.interp import evaluates_exactly
from edgevit.ir.op import Op
from edgevit.ir.types import Array
from edgevit_kernels.add import ref as add
from edgevit_kernels.add.spec import SeparateParams
from edgevit_kernels.convolution import ref as convolution
from edgevit_kernels.matmul import ref as matmul
from edgevit_kernels.requantize import ref as requantize


def _stored(values: Array, op: Op) -> Array:
    """Kernel results, which are within the limits, in the element type of the op."""
    return values.astype(op.type.dtype.numpy)


def _aligned(array: Array, operand: Op, op: Op) -> Array:
    """Axes of size 1 between the sample axis and the type's, so that operands of different rank broadcast."""
    rank = operand.type.rank
    extra = array.ndim - rank
    missing = op.type.rank - rank
    return array.reshape((*array.shape[:extra], *(1,) * missing, *array.shape[extra:])) if extra else array


@evaluates_exactly(ops.Linear)
def linear(op: ops.Linear, operands: list[Array]) -> Array:
    """x (..., in) -> (..., out)."""
    x, params = operands[0], op.kernel
    accumulators = matmul.accumulate(x.reshape(-1, x.shape[-1]), operands[1], params)
    if op.bias is not None:
        accumulators += operands[2].astype(np.int64)
    result = requantize.apply(accumulators, params.requantize)
    return _stored(result.reshape(*x.shape[:-1], -1), op)


@evaluates_exactly(ops.MatMul, ops.ShiftMatMul)
def product(op: ops.MatMul | ops.ShiftMatMul, operands: list[Array]) -> Array:
    """lhs (..., n, k), rhs (..., k, m) -> (..., n, m). A shift is a product with a power of two."""
    lhs = _aligned(operands[0], op.lhs, op)
    rhs = _aligned(operands[1], op.rhs, op)
    return _stored(matmul.apply(lhs, np.swapaxes(rhs, -1, -2), op.kernel), op)


@evaluates_exactly(ops.Conv2d)
def conv2d(op: ops.Conv2d, operands: list[Array]) -> Array:
    """x (..., N, H, W, C) -> (..., N, H', W', O)."""
    x, params = operands[0], op.kernel
    accumulators = convolution.accumulate(x.reshape(-1, *x.shape[-3:]), operands[1], params)
    if op.bias is not None:
        accumulators += operands[2].astype(np.int64)
    result = requantize.apply(accumulators, params.requantize)
    return _stored(result.reshape(*x.shape[:-3], *result.shape[1:]), op)


@evaluates_exactly(ops.Add)
def residual(op: ops.Add, operands: list[Array]) -> Array:
    """Operands that broadcast -> their sum."""
    lhs, rhs = (_aligned(array, x, op) for array, x in zip(operands, op.operands, strict=True))
    params = op.kernel
    if isinstance(params, SeparateParams):
        return _stored(add.apply_separate(lhs, rhs, params), op)
    return _stored(add.apply_common(lhs, rhs, params), op)


@evaluates_exactly(ops.Requantize)
def rescaled(op: ops.Requantize, operands: list[Array]) -> Array:
    """Each value, less its zero point, on the grid of the result."""
    quant = op.x.type.quant
    assert quant is not None
    centred = operands[0].astype(np.int64) - quant.zero_point[0]
    return _stored(requantize.apply(centred, op.kernel), op)


@evaluates_exactly(ops.Table)
def table(op: ops.Table, operands: list[Array]) -> Array:
    """Each value looked up."""
    entries = np.array(op.entries, op.type.dtype.numpy)
    result: Array = entries[operands[0].astype(np.int64) - op.x.type.dtype.limits[0]]
    return result


@evaluates_exactly(ops.Softmax, ops.Gelu, ops.LayerNorm)
def by_form(op: ops.FormOp, operands: list[Array]) -> Array:
    """The kernel of the op's form, over the last axis."""
    kernel: Any = op.forms()[op.form].ref
    return _stored(kernel.apply(operands[0], op.kernel), op)
