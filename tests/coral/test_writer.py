"""The writer: what is in the bytes, that they are the same every time, and that LiteRT takes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgevit.errors import BackendError
from edgevit_coral.model import OperatorSpec, TensorSpec, TfliteModel
from edgevit_coral.reader import read
from edgevit_coral.schema import BARE, OPTIONS, numbers
from edgevit_coral.writer import write
from tests.coral.kernel_models import integers, litert, model, random_int8, tensor
from tests.tools import requires

pytestmark = requires("litert")


def small() -> TfliteModel:
    """Two FULLY_CONNECTED that share their weights, and a RESHAPE."""
    weights = random_int8(1, 5, 5)
    specs = (
        tensor((4, 5), 0.5, 3),
        tensor((5, 5), [0.125] * 5, data=weights),
        tensor((4, 5), 0.5, -7),
        tensor((5, 5), 0.25, data=weights.copy()),
        tensor((4, 5), 8.0, -7),
        integers(20),
        tensor((20,), 8.0, -7),
    )
    operators = (
        OperatorSpec("FULLY_CONNECTED", 5, (0, 1, -1), (2,), {"fused_activation_function": "RELU"}),
        OperatorSpec("FULLY_CONNECTED", 4, (2, 3, -1), (4,), {"keep_num_dims": True}),
        OperatorSpec("RESHAPE", 1, (4, 5), (6,), {"new_shape": (20,)}),
    )
    return TfliteModel(specs, operators, (0,), (6,), "a small model")


def parsed(data: bytes) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))


def test_the_bytes_depend_on_the_model_alone() -> None:
    assert write(small()) == write(small())


def test_the_header_and_the_metadata() -> None:
    data = write(small())
    file = parsed(data)
    assert data[4:8] == b"TFL3"
    assert file.version == 3
    assert file.description == b"a small model"
    assert [entry.name for entry in file.metadata] == [b"min_runtime_version"]
    assert bytes(file.buffers[file.metadata[0].buffer].data) == b"2.5.0".ljust(16, b"\0")
    assert file.signatureDefs is None
    assert file.externalBuffers is None
    assert len(file.subgraphs) == 1


def test_buffer_zero_is_empty_and_equal_constants_are_shared() -> None:
    file = parsed(write(small()))
    tensors = file.subgraphs[0].tensors
    assert file.buffers[0].data is None
    assert [t.buffer for t in tensors] == [0, 1, 0, 1, 0, 2, 0]
    assert len(file.buffers) == 4  # the last one is the metadata's
    assert all(buffer.offset == 0 and buffer.size == 0 for buffer in file.buffers)


def test_constants_lie_on_multiples_of_sixteen_bytes() -> None:
    from ai_edge_litert import schema_py_generated as schema

    constants = [tensor((n,), 1.0, data=np.full(n, n, np.int8)) for n in (1, 3, 16, 17, 100)]
    for extra in range(5):
        root = schema.Model.GetRootAs(write(TfliteModel(tuple(constants), (), (), (), "x" * extra)), 0)
        vectors = [root.Buffers(i)._tab for i in range(1, root.BuffersLength())]
        assert len(vectors) == 6
        assert all(table.Vector(table.Offset(4)) % 16 == 0 for table in vectors)


def test_operator_codes_are_in_both_fields_once_for_each_version() -> None:
    codes = parsed(write(small())).operatorCodes
    assert [(code.deprecatedBuiltinCode, code.builtinCode, code.version) for code in codes] == [
        (9, 9, 5),
        (9, 9, 4),
        (22, 22, 1),
    ]
    late = parsed(write(model("GELU", [tensor((3,), 1.0)], tensor((3,), 1.0), 1))).operatorCodes[0]
    assert (late.deprecatedBuiltinCode, late.builtinCode) == (127, 150)


def test_quantization_and_options_are_in_the_file() -> None:
    graph = parsed(write(small())).subgraphs[0]
    weights = graph.tensors[1].quantization
    assert weights.scale.tolist() == [0.125] * 5
    assert weights.zeroPoint.tolist() == [0] * 5
    assert graph.tensors[5].quantization is None
    depthwise = tensor((1, 1, 1, 2), [0.5, 0.25], data=np.ones((1, 1, 1, 2), np.int8), axis=3)
    assert (
        parsed(write(TfliteModel((depthwise,), (), (), ()))).subgraphs[0].tensors[0].quantization.quantizedDimension
        == 3
    )
    first, second, third = graph.operators
    assert (first.builtinOptions.fusedActivationFunction, first.builtinOptions.keepNumDims) == (1, False)
    assert (second.builtinOptions.fusedActivationFunction, second.builtinOptions.keepNumDims) == (0, True)
    assert third.builtinOptions.newShape.tolist() == [20]
    assert first.inputs.tolist() == [0, 1, -1]


def test_litert_runs_the_file() -> None:
    assert litert(small(), [random_int8(3, 2, 4, 5)]).shape == (2, 20)


def test_every_known_operator_has_its_table_in_the_schema() -> None:
    assert set(OPTIONS) | BARE <= set(numbers("BuiltinOperator"))
    assert set(OPTIONS.values()) <= set(numbers("BuiltinOptions"))
    assert not set(OPTIONS) & BARE


def test_the_overhead_is_small() -> None:
    # 800 operators of 3 new tensors each, names left out: 300 bytes an operator.
    specs: list[TensorSpec] = [tensor((4,), 0.5)]
    operators = []
    for i in range(800):
        specs += [tensor((4,), 0.5, data=np.array([i % 100, i // 100, 0, 0], np.int8)), tensor((4,), 0.5)]
        operators.append(OperatorSpec("ADD", 2, (2 * i, 2 * i + 1), (2 * i + 2,)))
    data = write(TfliteModel(tuple(specs), tuple(operators), (0,), (1600,)))
    assert len(data) < 800 * 330


def one(**fields: Any) -> TfliteModel:
    op = OperatorSpec(**{"name": "ADD", "version": 2, "inputs": (0, 0), "outputs": (0,), **fields})
    return TfliteModel((tensor((2,), 0.5),), (op,), (0,), (0,))


BAD = [
    (one(inputs=(0, 1)), "a tensor that is not there"),
    (one(outputs=(-2,)), "a tensor that is not there"),
    (one(name="NO_SUCH_OP"), "NO_SUCH_OP"),
    (one(name="WHILE"), "WHILE"),
    (one(options={"no_such_option": 1}), "no option no_such_option"),
    (one(options={"fused_activation_function": "SWISH"}), "SWISH"),
    (one(name="RELU", options={"alpha": 1}), "RELU with options"),
    (TfliteModel((TensorSpec("t", (2,), "int7"),), (), (), ()), "type int7"),
    (TfliteModel((TensorSpec("t", (2,), "int8", (0.5,), (0, 0)),), (), (), ()), "1 scales, 2 zero points"),
    (TfliteModel((), (), (), (), subgraph_count=2), "2 subgraphs"),
]


@pytest.mark.parametrize(("bad", "why"), BAD)
def test_a_model_that_the_format_cannot_hold_is_refused(bad: TfliteModel, why: str) -> None:
    with pytest.raises(BackendError, match=why):
        write(bad)


def test_big_endian_and_strided_constants_are_written_as_they_are_meant() -> None:
    values = np.arange(12, dtype=np.int32).reshape(3, 4)
    specs = [tensor((4, 3), dtype="int32", data=data) for data in (values.T.astype(">i4"), values.T)]
    back = read(write(TfliteModel(tuple(specs), (), (), ())))
    for spec in back.tensors:
        assert spec.data is not None
        np.testing.assert_array_equal(spec.data, values.T)
