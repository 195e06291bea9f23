"""The ``tflite.*`` op classes against the facts of ``limits.py`` and against the IR's own rules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgevit.errors import IRError
from edgevit.ir.graph import Form, Graph
from edgevit.ir.op import REGISTRY
from edgevit.ir.ops import Const, Input
from edgevit.ir.types import DType, Quant, TensorType
from edgevit.ir.verify import verify
from edgevit_coral import limits, ops
from edgevit_coral.kernels.dispatch import KERNELS
from edgevit_coral.ops import TfliteOp
from edgevit_coral.schema import OPTIONS, snake_case
from tests.tools import requires

CLASSES = sorted(
    (cls for name, cls in REGISTRY.items() if name.startswith("tflite.") and issubclass(cls, TfliteOp)),
    key=lambda cls: cls.NAME,
)
GRID = Quant.per_tensor(0.5)


def value(*shape: int) -> Input:
    return Input(f"x{shape}", type=TensorType(shape, DType.I8, GRID))


def weights(*shape: int) -> Const:
    return Const(np.zeros(shape, np.int8), type=TensorType(shape, DType.I8, GRID))


X2, X4 = value(4, 6), value(1, 8, 7, 4)
BIAS = Const(np.zeros(5, np.int32))

EXAMPLES: dict[type[TfliteOp], tuple[Callable[[], TfliteOp], tuple[int, ...]]] = {
    ops.FullyConnected: (lambda: ops.FullyConnected(value(1, 2, 2, 6), weights(5, 6)), (4, 5)),
    ops.Conv2D: (lambda: ops.Conv2D(X4, weights(5, 3, 3, 4), BIAS, (2, 1)), (1, 3, 5, 5)),
    ops.DepthwiseConv2D: (
        lambda: ops.DepthwiseConv2D(X4, weights(1, 3, 3, 8), BIAS, (2, 2), padding="SAME"),
        (1, 4, 4, 8),
    ),
    ops.Add: (lambda: ops.Add(X2, weights(6)), (4, 6)),
    ops.Sub: (lambda: ops.Sub(weights(4, 1), X2), (4, 6)),
    ops.Mul: (lambda: ops.Mul(X2, X2), (4, 6)),
    ops.Maximum: (lambda: ops.Maximum(X2, weights(1)), (4, 6)),
    ops.Minimum: (lambda: ops.Minimum(X2, weights(1)), (4, 6)),
    ops.SquaredDifference: (lambda: ops.SquaredDifference(X2, value(4, 1)), (4, 6)),
    ops.Rsqrt: (lambda: ops.Rsqrt(X2), (4, 6)),
    ops.Logistic: (lambda: ops.Logistic(X2), (4, 6)),
    ops.Tanh: (lambda: ops.Tanh(X2), (4, 6)),
    ops.Relu: (lambda: ops.Relu(X2), (4, 6)),
    ops.Relu6: (lambda: ops.Relu6(X2), (4, 6)),
    ops.Requantize: (lambda: ops.Requantize(X2), (4, 6)),
    ops.Softmax: (lambda: ops.Softmax(X2), (4, 6)),
    ops.L2Normalization: (lambda: ops.L2Normalization(X2), (4, 6)),
    ops.Mean: (lambda: ops.Mean(X4, (1, 2), False), (1, 4)),
    ops.ReduceMax: (lambda: ops.ReduceMax(X2, (1,), True), (4, 1)),
    ops.AveragePool2D: (lambda: ops.AveragePool2D(X4, (2, 3), (2, 2)), (1, 4, 3, 4)),
    ops.MaxPool2D: (lambda: ops.MaxPool2D(X4, (3, 3), (2, 2), "SAME"), (1, 4, 4, 4)),
    ops.Reshape: (lambda: ops.Reshape(X2, (2, 12)), (2, 12)),
    ops.Transpose: (lambda: ops.Transpose(X4, (0, 2, 1, 3)), (1, 7, 8, 4)),
    ops.Concatenation: (lambda: ops.Concatenation((X2, weights(4, 2)), 1), (4, 8)),
    ops.StridedSlice: (lambda: ops.StridedSlice(X2, (0, 1), (4, 6), (2, 2)), (2, 3)),
    ops.Slice: (lambda: ops.Slice(X2, (1, 0), (2, 6)), (2, 6)),
    ops.Pad: (lambda: ops.Pad(X2, (1, 0), (2, 3)), (7, 9)),
}


def test_every_class_has_an_example() -> None:
    assert set(EXAMPLES) == set(CLASSES)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.NAME)
def test_versions_are_ones_that_the_compiler_maps(cls: type[TfliteOp]) -> None:
    assert limits.HIGHEST_MAPPED_VERSION[cls.BUILTIN] >= cls.VERSION
    assert cls.BUILTIN not in limits.NEVER_MAPPED
    assert cls.BUILTIN in KERNELS


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.NAME)
def test_inferred_shapes(cls: type[TfliteOp]) -> None:
    build, shape = EXAMPLES[cls]
    op = build()
    assert isinstance(op, cls)
    assert op.shape == shape
    typed = op.with_type(TensorType(shape, DType.I8, GRID))
    verify(Graph.of("g", [typed], form=Form.TARGET))
    with pytest.raises(IRError, match=rf"{cls.NAME}: has shape \[9, 9, 9\]"):
        verify(Graph.of("g", [op.with_type(TensorType((9, 9, 9), DType.I8, GRID))], form=Form.TARGET))


@requires("litert")
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.NAME)
def test_options_are_fields_of_the_schema(cls: type[TfliteOp]) -> None:
    from edgevit_coral.schema import schema

    table = OPTIONS.get(cls.BUILTIN, "")
    options = EXAMPLES[cls][0]().file_options()
    if not options:
        return
    fields = {snake_case(name) for name in vars(getattr(schema(), f"{table}T")())}
    assert set(options) <= fields


def test_shape_operands_are_int32_and_follow_the_operands() -> None:
    expected = {
        ops.Reshape: [[2, 12]],
        ops.Transpose: [[0, 2, 1, 3]],
        ops.Mean: [[1, 2]],
        ops.ReduceMax: [[1]],
        ops.Slice: [[1, 0], [2, 6]],
        ops.StridedSlice: [[0, 1], [4, 6], [2, 2]],
        ops.Pad: [[[1, 2], [0, 3]]],
    }
    for cls, (build, _) in EXAMPLES.items():
        found = build().shape_operands()
        assert all(array.dtype == np.int32 for array in found)
        assert [array.tolist() for array in found] == expected.get(cls, [])


def test_depth_multiplier() -> None:
    assert EXAMPLES[ops.DepthwiseConv2D][0]().file_options()["depth_multiplier"] == 2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ops.FullyConnected(X2, weights(5, 4)), "does not fit weights"),
        (lambda: ops.Add(X2, weights(5)), "do not broadcast"),
        (lambda: ops.SquaredDifference(X2, value(3, 6)), "do not broadcast"),
    ],
)
def test_operands_that_do_not_fit(build: Callable[[], TfliteOp], message: str) -> None:
    with pytest.raises(IRError, match=message):
        build()
