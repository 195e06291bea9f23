from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgevit import errors
from edgevit.ir import ops
from edgevit.ir.graph import Form, Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Const, Dequantize, Input, Quantize, Relu, Reshape
from edgevit.ir.types import DType, Dyadic, Quant, TensorType
from edgevit.ir.verify import verify

GRID = Quant.per_tensor(0.5, 3)
I8 = TensorType((2, 3), DType.I8, GRID)
F32 = TensorType((2, 3))


def value(type: TensorType = F32, name: str = "x") -> Input:
    return Input(name, type=type, loc="the.input")


def refused(graph: Graph, what: str) -> errors.IRError:
    """The error, after its message was checked: op, reason, line, underline."""
    with pytest.raises(errors.IRError) as caught:
        verify(graph)
    first, line, underline = caught.value.what.splitlines()
    assert what in first
    assert underline == "  " + "~" * (len(line) - 2)
    name = first.split(":")[0]
    assert f" = {name}(" in line
    return caught.value


def single(op: Op, form: Form = Form.FLOAT) -> Graph:
    return Graph.of("g", [op], form=form)


def test_a_message_names_the_op_its_place_and_underlines_its_line() -> None:
    x = value()
    graph = single(Relu(x, type=TensorType((2, 4)), loc="blocks.0.act"))
    with pytest.raises(errors.IRError) as caught:
        verify(graph)
    line = '  %1 = relu(x=%0) : f32[2,4] loc "blocks.0.act"'
    assert str(caught.value).splitlines() == [
        "blocks.0.act: relu: has shape [2, 4], its operands give [2, 3]",
        line,
        "  " + "~" * (len(line) - 2),
        "hint: infer the type anew",
    ]


def test_ops_are_in_execution_order() -> None:
    x = value()
    y = Relu(x)
    refused(Graph("g", (y, x), (y,)), "relu: operand input is not computed above")
    refused(Graph("g", (y,), (y,)), "relu: operand input is not computed above")


def test_no_op_stands_twice() -> None:
    x = value()
    refused(Graph("g", (x, x), (x,)), "input: the op stands twice")


def test_inputs_have_names_of_their_own() -> None:
    refused(Graph("g", (value(), value()), (value(),)), "two inputs are named 'x'")


def test_there_is_an_output_and_it_is_in_the_graph() -> None:
    x = value()
    with pytest.raises(errors.IRError, match="g: the graph has no output"):
        verify(Graph("g", (x,), ()))
    with pytest.raises(errors.IRError, match=r"the\.input: output input is not in the graph"):
        verify(Graph("g", (x,), (value(),)))


def test_dimensions_are_positive() -> None:
    refused(single(value(TensorType((2, 0)))), "empty dimension in f32[2,0]")


def test_shapes_and_element_types_follow_from_the_operands() -> None:
    x = value()
    refused(single(Relu(x, type=TensorType((3, 2)))), "has shape [3, 2], its operands give [2, 3]")
    refused(single(Relu(x, type=TensorType((2, 3), DType.I8))), "elements of type i8, its operands give f32")
    data = Const(np.zeros((2, 3), np.int8), type=TensorType((2, 3), DType.I32))
    for form in Form:
        refused(single(data, form), "const: has elements of type i32, its operands give i8")


def test_operands_that_do_not_fit_are_reported_once_with_the_line() -> None:
    error = refused(single(Add(value(), Const(np.zeros(4, np.float32)), type=F32)), "do not broadcast")
    assert error.what.splitlines()[0] == "add: [2, 3] and [4] do not broadcast"


def test_grids_are_on_integers_and_replace_ranges() -> None:
    refused(single(value(replace(F32, quant=GRID))), "a grid on f32 elements")
    refused(single(value(replace(I8, range=(0.0, 1.0)))), "both a range and a grid")


@pytest.mark.parametrize("axis", [-1, 0, 2])
def test_a_grid_along_an_axis_has_a_scale_for_each_channel(axis: int) -> None:
    quant = Quant((0.5,) * 3, (0,) * 3, axis)
    refused(single(value(replace(I8, quant=quant))), f"3 scales on axis {axis} of [2, 3]")


def test_zero_points_are_within_the_element_type() -> None:
    refused(single(value(replace(I8, quant=Quant.per_tensor(1.0, 128)))), "a zero point outside [-128, 127]")
    refused(single(value(TensorType((1,), DType.U8, Quant.per_tensor(1.0, -1)))), "a zero point outside [0, 255]")


@pytest.mark.parametrize("limits", [(1.0, 0.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_ranges_are_finite_intervals(limits: tuple[float, float]) -> None:
    refused(single(value(replace(F32, range=limits)), Form.CALIBRATED), "an impossible range")


def test_the_float_form_has_no_grids() -> None:
    error = refused(single(value(I8)), "a quantized value in the float form")
    assert "`quantize`" in error.hint


def test_the_calibrated_form_has_a_range_for_every_computed_float() -> None:
    x = value(replace(F32, range=(-1.0, 1.0)))
    constant = Const(np.zeros((2, 3), np.float32))
    total = Add(x, constant)
    error = refused(single(total, Form.CALIBRATED), "add: has no range")
    assert "`calibrate`" in error.hint
    verify(single(total.with_type(replace(F32, range=(-1.0, 1.0))), Form.CALIBRATED))
    refused(single(value(I8), Form.CALIBRATED), "a quantized value in the float form")


def test_the_quantized_form_has_integers_on_grids() -> None:
    x, form = value(I8), Form.QUANTIZED
    refused(single(Dequantize(x, type=F32), form), "dequantize: a float value in the quantized form")
    refused(single(Relu(x, type=replace(I8, quant=None)), form), "relu: an integer value without a grid")
    bias = Const(np.zeros((2, 3), np.int8))
    verify(single(Relu(x, type=I8), form))
    verify(single(Add(x, bias, type=I8), form))


def test_the_integer_form_has_dyadic_scales_and_no_core_op_that_computes() -> None:
    exact = replace(I8, quant=Quant.per_tensor(Dyadic(1, 1), 3))
    x, form = value(exact), Form.INTEGER
    verify(single(Reshape(x, (3, 2), type=exact.with_shape((3, 2))), form))
    refused(single(Relu(x, type=exact), form), "relu: a core op in the integer form")
    refused(single(Reshape(x, (3, 2), type=I8.with_shape((3, 2))), form), "reshape: a float scale in the integer form")
    refused(single(Reshape(x, (3, 2)), form), "reshape: an integer value without a grid")


def test_the_target_form_has_dialect_ops_only() -> None:
    x = value(I8)
    refused(single(Relu(x, type=I8), Form.TARGET), "relu: a core op in the target form")
    verify(single(x, Form.TARGET))


def test_a_quantize_op_is_no_part_of_the_float_form() -> None:
    refused(single(Quantize(value(), type=I8)), "quantize: a quantized value in the float form")


X1 = Input("x", type=TensorType((4,)))
X2 = Input("x", type=TensorType((4, 6)))
X3 = Input("x", type=TensorType((1, 4, 6)))
X4 = Input("x", type=TensorType((1, 5, 5, 6)))
X0 = Input("x", type=TensorType(()))
I64 = Input("i", type=TensorType((2,), DType.I64))


def weights(*shape: int) -> Const:
    return Const(np.zeros(shape, np.float32))


MISFITS = {
    "add_types": lambda: Add(X1, Const(np.zeros(4, np.int64))),
    "linear": lambda: ops.Linear(X2, weights(3, 5)),
    "linear_bias": lambda: ops.Linear(X2, weights(3, 6), weights(4)),
    "matmul_inner": lambda: ops.MatMul(X2, X2),
    "matmul_rank": lambda: ops.MatMul(X1, X2),
    "matmul_lead": lambda: ops.MatMul(weights(2, 3, 4), weights(3, 4, 5)),
    "conv_rank": lambda: ops.Conv2d(X3, weights(2, 1, 1, 6)),
    "conv_groups": lambda: ops.Conv2d(X4, weights(2, 1, 1, 3), groups=3),
    "conv_out": lambda: ops.Conv2d(X4, weights(3, 1, 1, 3), groups=2),
    "conv_kernel": lambda: ops.Conv2d(X4, weights(2, 6, 1, 6)),
    "conv_stride": lambda: ops.Conv2d(X4, weights(2, 1, 1, 6), stride=(0, 1)),
    "conv_dilation": lambda: ops.Conv2d(X4, weights(2, 1, 1, 6), dilation=(1, 0)),
    "conv_padding": lambda: ops.Conv2d(X4, weights(2, 1, 1, 6), padding=(0, 0, -1, 0)),
    "attention": lambda: ops.Attention(X3, X3, Input("v", type=TensorType((1, 5, 6)))),
    "attention_rank": lambda: ops.Attention(X2, weights(6), weights(6)),
    "attention_mask": lambda: ops.Attention(X3, X3, X3, weights(5)),
    "norm_half": lambda: ops.LayerNorm(X2, weights(6)),
    "norm_shape": lambda: ops.RmsNorm(X2, weights(5), weights(5)),
    "norm_scalar": lambda: ops.LayerNorm(X0),
    "softmax_scalar": lambda: ops.Softmax(X0),
    "l2_scalar": lambda: ops.L2Normalize(X0),
    "group_norm": lambda: ops.GroupNorm(X2, None, None, 4),
    "batch_norm": lambda: ops.BatchNorm(X2, weights(6), weights(6), weights(6), weights(5)),
    "reduce_axis": lambda: ops.ReduceSum(X2, (2,)),
    "reduce_twice": lambda: ops.ReduceMean(X2, (1, 1)),
    "reduce_none": lambda: ops.ReduceMax(X2, ()),
    "pool_rank": lambda: ops.MaxPool2d(X3, (1, 1), (1, 1)),
    "pool_kernel": lambda: ops.AvgPool2d(X4, (6, 1), (1, 1)),
    "pool_stride": lambda: ops.AvgPool2d(X4, (2, 2), (1, 0)),
    "resize_mode": lambda: ops.Resize(X4, (2, 2), "cubic"),
    "reshape": lambda: ops.Reshape(X2, (5, 5)),
    "transpose": lambda: ops.Transpose(X2, (0, 0)),
    "concat_none": lambda: ops.Concat((), 0),
    "concat_axis": lambda: ops.Concat((X2,), 2),
    "concat_shape": lambda: ops.Concat((X2, X1), 0),
    "concat_type": lambda: ops.Concat((X1, Const(np.zeros(4, np.int64))), 0),
    "slice_rank": lambda: ops.Slice(X2, (0,), (1,), (1,)),
    "slice_bounds": lambda: ops.Slice(X1, (2,), (5,), (1,)),
    "slice_empty": lambda: ops.Slice(X1, (2,), (2,), (1,)),
    "slice_step": lambda: ops.Slice(X1, (0,), (2,), (0,)),
    "pad_rank": lambda: ops.Pad(X2, (1,), (1,)),
    "pad_negative": lambda: ops.Pad(X1, (-1,), (0,)),
    "pad_mode": lambda: ops.Pad(X1, (1,), (0,), "edge"),
    "gather_axis": lambda: ops.Gather(X2, I64, 2),
    "gather_float": lambda: ops.Gather(X2, X1, 0),
    "broadcast": lambda: ops.Broadcast(X2, (4, 5)),
}


@pytest.mark.parametrize("name", MISFITS)
def test_operands_that_do_not_fit_an_op_are_refused_when_it_is_built(name: str) -> None:
    with pytest.raises(errors.IRError):
        MISFITS[name]()
