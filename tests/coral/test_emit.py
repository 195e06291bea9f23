from __future__ import annotations

import numpy as np
import pytest

from edgevit.errors import QuantError
from edgevit.ir import ops
from edgevit.ir.graph import Form, Graph
from edgevit.ir.interp import run
from edgevit.ir.ops import Const, Input
from edgevit.ir.types import DType, Quant, TensorType
from edgevit_coral import ops as tfl
from edgevit_coral.emit import float32_quant, tensor_spec, to_model
from edgevit_coral.execute import run_model
from tests.coral.quantized_graphs import const, file_arrays, inputs, lowered, quantized

GRID = Quant.per_tensor(0.5, 3)


def network() -> tuple[Graph, list[np.ndarray]]:
    (x,) = inputs((1, 3, 8))
    hidden = ops.Relu(ops.Linear(x, const(6, 8), const(6), loc="fc1"), loc="act")
    pooled = ops.ReduceMean(hidden, (1,), loc="pool")
    graph, arrays = quantized(ops.Linear(pooled, const(4, 6), loc="fc2"), weights="per-channel")
    return lowered(graph), arrays


def test_tensors_and_operators_of_the_file() -> None:
    target, _ = network()
    model = to_model(target, "edgevit net")
    assert (model.description, model.subgraph_count) == ("edgevit net", 1)
    assert [model.tensors[i].name for i in model.inputs] == ["x0"]
    assert [op.name for op in model.operators] == [op.BUILTIN for op in target.ops if isinstance(op, tfl.TfliteOp)]
    for op in model.operators:
        assert all(-1 <= i < len(model.tensors) for i in op.inputs)
        (output,) = op.outputs
        assert model.tensors[output].data is None
    computed = [i for op in model.operators for i in op.outputs]
    assert len(set(computed)) == len(computed)
    assert model.outputs == (computed[-1],)


def test_tensor_names_are_places_made_unique() -> None:
    target, _ = network()
    names = [tensor.name for tensor in to_model(target).tensors]
    assert len(set(names)) == len(names)
    assert {"x0", "act", "pool", "fc2"} & set(names) >= {"x0", "pool", "fc2"}
    assert any(name.endswith(";1") for name in names)


def test_equal_shape_operands_are_one_tensor() -> None:
    (x,) = inputs((1, 4, 6))
    first = ops.Sigmoid(ops.Reshape(x, (1, 6, 4)))
    second = ops.Tanh(ops.Reshape(ops.Tanh(x), (1, 6, 4)))
    model = to_model(lowered(quantized([first, second])[0]))
    shapes = [op.inputs[1] for op in model.operators if op.name == "RESHAPE"]
    assert len(shapes) == 2
    assert len(set(shapes)) == 1
    data = model.tensors[shapes[0]].data
    assert data is not None
    assert (data.tolist(), data.dtype) == ([6, 4], np.int32)


def test_equal_bytes_of_another_shape_are_another_tensor() -> None:
    x = Input("x", type=TensorType((2, 2), DType.I8, GRID))
    padded = tfl.Pad(x, (0, 0), (0, 0), type=x.type)
    sliced = tfl.Slice(padded, (0, 0), (2, 2), type=x.type)
    axes = tfl.Mean(sliced, (0, 0, 0, 0), True, type=x.type)
    model = to_model(Graph.of("g", [axes], form=Form.TARGET))
    shapes = {model.tensors[op.inputs[1]].shape for op in model.operators}
    assert shapes == {(2, 2), (2,), (4,)}


def test_an_absent_bias_is_minus_one() -> None:
    target = lowered(quantized(ops.Linear(inputs((1, 3, 4))[0], const(2, 4)))[0])
    (op,) = to_model(target).operators
    assert op.inputs[2] == -1
    assert (op.name, op.version) == ("FULLY_CONNECTED", 4)


def test_grids_of_tensors() -> None:
    assert tensor_spec("t", TensorType((2,), DType.I32)).scale == ()
    channels = TensorType((2, 3), DType.I8, Quant((0.5, 0.25, 1.0), (0, 1, 2), 1))
    spec = tensor_spec("t", channels, np.zeros((2, 3), np.int8))
    assert (spec.scale, spec.zero_point, spec.axis, spec.dtype) == ((0.5, 0.25, 1.0), (0, 1, 2), 1, "int8")
    assert float32_quant(Quant.per_tensor(0.1, 7)) == Quant.per_tensor(float(np.float32(0.1)), 7)


def test_the_graph_and_its_file_compute_the_same() -> None:
    target, arrays = network()
    given = file_arrays(target, arrays)
    seen: list[np.ndarray] = []
    (of_graph,) = run(target, given, lambda op, value: seen.append(value))
    model = to_model(target)
    (of_file,) = run_model(model, given)
    np.testing.assert_array_equal(of_graph, of_file)
    assert len(seen) == 1 + len(model.operators)


def test_constant_operands_have_no_sample_axis() -> None:
    x = Input("x", type=TensorType((2, 3), DType.I8, GRID))
    row = Const(np.array([[1, 2, 3]], np.int8), type=TensorType((1, 3), DType.I8, GRID))
    total = tfl.Add(row, x, type=TensorType((2, 3), DType.I8, Quant.per_tensor(1.0, 0)))
    values = np.arange(12, dtype=np.int8).reshape(2, 2, 3)
    (found,) = run(Graph.of("g", [total], form=Form.TARGET), [values])
    real = 0.5 * (values.astype(float) - 3) + 0.5 * (row.data.astype(float) - 3)
    np.testing.assert_array_equal(found, np.sign(real) * np.floor(np.abs(real) + 0.5))


def test_what_tflite_refuses_is_named_with_its_place() -> None:
    x = Input("x", type=TensorType((2, 3), DType.I8, GRID))
    wrong = tfl.Softmax(x, type=TensorType((2, 3), DType.I8, GRID), loc="blocks.0.attn")
    with pytest.raises(QuantError, match=r"blocks\.0\.attn: "):
        run(Graph.of("g", [wrong], form=Form.TARGET), [np.zeros((1, 2, 3), np.int8)])
