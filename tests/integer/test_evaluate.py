"""What the interpreter computes for each op is, bit for bit, what the kernel's specification says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgevit.integer import ops
from edgevit.integer.forms import SETS
from edgevit.ir.interp import run
from edgevit.ir.op import Op
from edgevit.ir.ops import Const
from edgevit.ir.types import Array
from edgevit_kernels.add import spec as add
from edgevit_kernels.convolution import spec as convolution
from edgevit_kernels.matmul import spec as matmul
from edgevit_kernels.requantize import spec as requantize
from edgevit_kernels.softmax.fqvit import spec as fqvit
from tests.integer.lowered import integer_vit
from tests.quant.graphs import pictures

Ints = NDArray[Any]


def by_specification(op: Op, operands: list[Ints]) -> Ints:
    """The op on one sample by the specification of its kernel, in Python integers."""
    x = operands[0]
    if isinstance(op, (ops.Linear, ops.Conv2d)):
        bias = tuple(operands[2].tolist()) if op.bias is not None else None
        if isinstance(op, ops.Conv2d):
            return np.array(convolution.apply(x[0].tolist(), operands[1].tolist(), replace(op.kernel, bias=bias)))[None]
        rows = matmul.apply(x.reshape(-1, x.shape[-1]).tolist(), operands[1].tolist(), replace(op.kernel, bias=bias))
        return np.array(rows).reshape(op.shape)
    if isinstance(op, (ops.MatMul, ops.ShiftMatMul)):
        rhs = np.swapaxes(operands[1], -1, -2)
        parts = [matmul.apply(a.tolist(), b.tolist(), op.kernel) for a, b in zip(_flat(x), _flat(rhs), strict=True)]
        return np.array(parts).reshape(op.shape)
    if isinstance(op, ops.Add):
        pairs = zip(*(np.broadcast_to(array, op.shape).ravel().tolist() for array in operands), strict=True)
        params = op.kernel
        if isinstance(params, add.SeparateParams):
            return np.array([add.apply_separate(a, b, params) for a, b in pairs]).reshape(op.shape)
        return np.array([add.apply_common(a, b, params) for a, b in pairs]).reshape(op.shape)
    if isinstance(op, ops.Requantize):
        assert op.x.type.quant is not None
        rows = (x.astype(int) - op.x.type.quant.zero_point[0]).reshape(-1, x.shape[-1]).tolist()
        return np.array([requantize.apply(row, op.kernel) for row in rows]).reshape(op.shape)
    assert isinstance(op, ops.FormOp)
    spec = op.forms()[op.form].spec
    rows = x.reshape(-1, x.shape[-1]).tolist()
    return np.array([spec.apply(row, op.kernel) for row in rows]).reshape(op.shape)


def _flat(array: Ints) -> Ints:
    return array.reshape(-1, *array.shape[-2:])


@pytest.mark.parametrize("name", SETS)
def test_every_op_of_a_graph_is_its_kernels_specification(name: str) -> None:
    graph = integer_vit(SETS[name])
    values: dict[Op, Array] = {op: op.data for op in graph.ops if isinstance(op, Const)}
    run(graph, [pictures(1, seed=5)[:, None]], lambda op, array: values.setdefault(op, array[0]) is None)
    compared = 0
    for op in graph.ops:
        if isinstance(op, ops.INTEGER_OPS):
            expected = by_specification(op, [values[operand] for operand in op.operands])
            assert np.array_equal(values[op], expected), op
            compared += 1
    assert compared > 30


def test_a_shifted_product_is_what_fqvit_attends_with() -> None:
    graph = integer_vit(SETS["fqvit"])
    product = next(op for op in graph.ops if isinstance(op, ops.ShiftMatMul))
    values: dict[Op, Array] = {}
    run(graph, [pictures(1)[:, None]], lambda op, array: values.setdefault(op, array[0]) is None)
    scores = product.lhs
    assert isinstance(scores, ops.Softmax)
    row = fqvit.codes(values[scores.x][0, 0].tolist(), scores.kernel)
    column = values[product.rhs][0, :, 0].astype(int).tolist()
    accumulator = fqvit.attend(row, column)
    assert abs(accumulator) <= product.max_accumulator
    assert requantize.apply([accumulator], product.kernel.requantize) == [values[product][0, 0, 0]]


@pytest.mark.parametrize("name", SETS)
def test_samples_are_independent(name: str) -> None:
    graph, images = integer_vit(SETS[name]), pictures(4)[:, None]
    together = run(graph, [images])[0]
    apart = np.concatenate([run(graph, [images[i : i + 1]])[0] for i in range(4)])
    assert np.array_equal(together, apart)
