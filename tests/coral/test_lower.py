from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from edgevit.errors import UnsupportedOp
from edgevit.ir import ops
from edgevit.ir.graph import Form, Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Const, Input
from edgevit.ir.text import print_graph
from edgevit.ir.types import DType, Quant, TensorType
from edgevit_coral import ops as tfl
from edgevit_coral.lower import file_shape, file_type, lower, problems
from tests.coral.quantized_graphs import const, image, inputs, lowered, quantized, steps_apart


def text(output: Op | Sequence[Op], **config: Any) -> list[str]:
    """The lowered graph of some float ops, without grids and data."""
    lines = print_graph(lowered(quantized(output, **config)[0])).splitlines()[1:]
    return [re.sub(r" q\([^)]*\)", "", re.sub(r"\(data=\S[^)]*\)", "()", line)).strip() for line in lines]


def x(*shape: int) -> Input:
    return inputs(shape)[0]


def names(graph: Graph) -> list[str]:
    """The operators in execution order."""
    return [op.NAME.removeprefix("tflite.") for op in graph.ops if isinstance(op, tfl.TfliteOp)]


def test_linear() -> None:
    assert text(ops.Linear(x(1, 3, 4), const(2, 4), const(2), loc="fc")) == [
        '%0 = input(name="x0") : i8[3,4]',
        "%1 = const() : i8[2,4]",
        '%2 = const() : i32[2] loc "fc"',
        '%3 = tflite.fully_connected(x=%0, weights=%1, bias=%2, activation="NONE") : i8[3,2] loc "fc"',
        "return %3",
    ]


def test_linear_with_a_scale_for_each_channel() -> None:
    assert text(ops.Linear(x(1, 3, 4), const(3, 4), loc="fc"), weights="per-channel") == [
        '%0 = input(name="x0") : i8[3,4]',
        "%1 = tflite.reshape(x=%0, to=[1, 1, 3, 4]) : i8[1,1,3,4]",
        "%2 = const() : i8[3,1,1,4]",
        "%3 = const() : i32[3]",
        "%4 = tflite.conv_2d(x=%1, filter=%2, bias=%3, stride=[1, 1], dilation=[1, 1], "
        'padding="VALID", activation="NONE") : i8[1,1,3,3] loc "fc"',
        '%5 = tflite.reshape(x=%4, to=[3, 3]) : i8[3,3] loc "fc"',
        "return %5",
    ]


def test_the_two_products_of_attention() -> None:
    q, k, v = inputs((3, 4), (5, 4), (5, 6))
    scores = ops.Softmax(ops.MatMul(q, ops.Transpose(k, (1, 0)), loc="qk"))
    assert text(ops.MatMul(scores, v, loc="av")) == [
        '%0 = input(name="x0") : i8[3,4]',
        '%1 = input(name="x1") : i8[5,4]',
        '%2 = input(name="x2") : i8[5,6]',
        '%3 = tflite.fully_connected(x=%0, weights=%1, bias=none, activation="NONE") : i8[3,5] loc "qk"',
        "%4 = tflite.softmax(x=%3) : i8[3,5]",
        '%5 = tflite.transpose(x=%2, perm=[1, 0]) : i8[6,5] loc "av"',
        '%6 = tflite.fully_connected(x=%4, weights=%5, bias=none, activation="NONE") : i8[3,6] loc "av"',
        "return %6",
    ]


def test_padding_of_the_first_axis_of_the_file_keeps_the_batch_axis() -> None:
    assert text(ops.Pad(x(1, 3, 4), (0, 1, 0), (0, 0, 0), loc="cls")) == [
        '%0 = input(name="x0") : i8[3,4]',
        "%1 = tflite.reshape(x=%0, to=[1, 3, 4]) : i8[1,3,4]",
        '%2 = tflite.pad(x=%1, low=[0, 1, 0], high=[0, 0, 0]) : i8[1,4,4] loc "cls"',
        '%3 = tflite.reshape(x=%2, to=[4, 4]) : i8[4,4] loc "cls"',
        "return %3",
    ]


def test_reshapes_in_a_row_become_one_that_all_users_share() -> None:
    value = ops.Reshape(ops.Reshape(x(1, 4, 6), (1, 2, 2, 6)), (1, 8, 3))
    target = lowered(quantized([ops.Sigmoid(value), ops.Tanh(value), ops.Sigmoid(ops.Reshape(value, (1, 4, 6)))])[0])
    assert names(target) == ["reshape", "logistic", "tanh", "logistic"]


def test_the_image_is_taken_to_int8_once() -> None:
    pixels = image(4)
    target = lowered(quantized([ops.Sigmoid(pixels), ops.Tanh(pixels)])[0])
    assert names(target) == ["quantize", "logistic", "tanh"]
    assert target.inputs[0].type == TensorType((1, 4, 4, 3), DType.U8, Quant.per_tensor(1.0))


def test_squared_difference_is_recognised() -> None:
    value = x(1, 3, 4)
    difference = ops.Sub(value, ops.ReduceMean(value, (2,), keepdims=True))
    target = lowered(quantized(ops.Mul(difference, difference))[0])
    assert names(target) == ["mean", "squared_difference"]


@pytest.mark.parametrize(
    ("shape", "in_file"),
    [((), (1,)), ((5,), (5,)), ((3, 4), (3, 4)), ((1, 3, 4), (3, 4)), ((2, 3, 4), (2, 3, 4)), ((1, 2, 3, 4),) * 2],
)
def test_shapes_in_the_file(shape: tuple[int, ...], in_file: tuple[int, ...]) -> None:
    assert file_shape(shape) == in_file


def test_the_axis_of_a_grid_moves_with_the_shape_and_scales_are_single_precision() -> None:
    type = TensorType((1, 3, 2), DType.I8, Quant((0.1, 0.2, 0.3), (0, 0, 0), 1))
    found = file_type(type)
    assert (found.shape, found.quant) == (
        (3, 2),
        Quant(tuple(float(np.float32(s)) for s in (0.1, 0.2, 0.3)), (0,) * 3, 0),
    )


def convolutions() -> list[tuple[int, int, int, tuple[int, int]]]:
    """(size, kernel, stride, (before, after)) of one axis, those that have a window."""
    sides = itertools.product((5, 6, 7, 8), (1, 2, 3, 5), (1, 2, 3), [(0, 0), (1, 1), (2, 2), (0, 1), (1, 0), (1, 2)])
    return [case for case in sides if case[0] + sum(case[3]) >= case[1]]


def reached(size: int, kernel: int, stride: int, pad: tuple[int, int]) -> tuple[int, int, int]:
    """(windows, padding before, padding after) by walking over the padded axis; only padding that a window reaches."""
    starts = list(range(-pad[0], size + pad[1] - kernel + 1, stride))
    return len(starts), pad[0], max(starts[-1] + kernel - size, 0)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_padding_of_convolutions(kernel: int) -> None:
    seen: set[str] = set()
    for size, _, stride, pad in (case for case in convolutions() if case[1] == kernel):
        conv = ops.Conv2d(x(1, size, size, 2), const(3, kernel, kernel, 2), const(3), (stride, stride), (*pad, *pad))
        count, before, after = reached(size, kernel, stride, pad)
        assert conv.shape == (1, count, count, 3)
        graph, arrays = quantized(conv)
        target = lowered(graph)
        lowered_conv = next(op for op in target.ops if isinstance(op, tfl.Conv2D))
        extra = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        same = (-(-size // stride), extra // 2, extra - extra // 2)
        padded = "SAME" if (count, before, after) == same else "PAD"
        expected = padded if before or after else "VALID"
        assert lowered_conv.padding == ("VALID" if expected == "PAD" else expected)
        assert names(target) == (["pad", "conv_2d"] if expected == "PAD" else ["conv_2d"])
        if expected == "PAD":
            (padding,) = (op for op in target.ops if isinstance(op, tfl.Pad))
            assert (padding.low, padding.high) == ((0, before, before, 0), (0, after, after, 0))
        assert steps_apart(graph, target, arrays) <= 1
        seen.add(expected)
    assert seen == {"VALID", "PAD"} if kernel == 1 else seen == {"VALID", "PAD", "SAME"}


def test_a_patch_embedding_is_valid() -> None:
    """SAME would pad nothing either, but ``input_grid`` needs to see that no padding takes part."""
    conv = ops.Conv2d(image(8), const(4, 4, 4, 3), stride=(4, 4))
    target = lowered(quantized(conv)[0])
    assert next(op for op in target.ops if isinstance(op, tfl.Conv2D)).padding == "VALID"


def test_padding_that_no_window_reaches_is_not_padded() -> None:
    conv = ops.Conv2d(x(1, 6, 6, 2), const(3, 2, 2, 2), stride=(2, 2), padding=(0, 1, 0, 1))
    assert conv.shape == (1, 3, 3, 3)
    assert names(lowered(quantized(conv)[0])) == ["conv_2d"]


def test_constants_are_put_on_a_grid_without_an_operator() -> None:
    grid, other = Quant.per_tensor(0.5, 3), Quant.per_tensor(0.25, -1)
    value = Input("x", type=TensorType((2, 3), DType.I8, grid))
    stored = Const(np.array([[2, 4, -6]], np.int8), type=TensorType((1, 3), DType.I8, other))
    joined = ops.Concat((value, stored), 0, type=TensorType((3, 3), DType.I8, grid))
    target = lowered(Graph.of("g", [joined], form=Form.QUANTIZED))
    assert names(target) == ["concatenation"]
    moved = next(op for op in target.ops if isinstance(op, Const))
    # (2 + 1) / 4 = 0.75 -> 1.5 steps of 0.5, to even: 2; + 3.
    assert moved.data.tolist() == [[5, 5, 1]]
    assert moved.type.quant == grid


def test_integers_of_64_bits_become_32() -> None:
    indices = Const(np.arange(3), loc="i")
    target = lower(Graph.of("g", [indices], form=Form.QUANTIZED)).graph
    assert target.ops[0].type == TensorType((3,), DType.I32)


def test_a_mean_over_the_batch_axis_that_the_file_drops_is_no_operator() -> None:
    assert names(lowered(quantized(ops.Sigmoid(ops.ReduceMean(x(1, 3, 4), (0,))))[0])) == ["logistic"]


def test_all_problems_are_reported_at_once() -> None:
    value = x(1, 6, 6, 4)
    bad: list[Op] = [
        ops.Gelu(value, loc="a"),
        ops.LayerNorm(value, loc="b"),
        ops.Erf(value, loc="c"),
        ops.Exp(value, loc="d"),
        ops.Conv2d(value, const(4, 1, 1, 2), groups=2, loc="e"),
        ops.Pad(value, (0, 1, 1, 0), (0, 1, 1, 0), "reflect", loc="f"),
        ops.Pad(value, (0, 1, 1, 0), (0, 1, 1, 0), value=1.0, loc="g"),
        ops.AvgPool2d(value, (3, 3), (1, 1), (1, 1, 1, 1), count_padding=True, loc="h"),
        ops.MaxPool2d(value, (3, 3), (2, 2), (1, 1, 1, 1), loc="i"),
        ops.MatMul(*(ops.Reshape(value, (4, 6, 6)),) * 2, loc="j"),
        ops.Attention(*(ops.Reshape(value, (4, 6, 6)),) * 3, loc="k"),
    ]
    graph = Graph.of("model", [*bad, ops.Relu(value)])
    found = problems(graph)
    assert [problem.loc for problem in found] == list("abcdefghijk")
    assert [problem.what for problem in found] == [
        *["has no Edge TPU operator"] * 4,
        "2 groups",
        "pads by reflect with 0.0",
        "pads by constant with 1.0",
        "counts its padding",
        "padding [1, 1, 1, 1] is neither SAME nor VALID",
        "a batched product [4, 6, 6]",
        "has no Edge TPU operator",
    ]
    assert all(problem.hint for problem in found)
    assert "`gelu-forms`" in found[0].hint
    with pytest.raises(UnsupportedOp) as caught:
        lower(graph)
    message = str(caught.value)
    assert message.startswith("model: 11 ops cannot be lowered")
    assert all(str(problem) in message for problem in found)


def test_a_problem_that_a_place_has_twice_is_reported_once() -> None:
    value = x(1, 3)
    graph = Graph.of("g", [ops.Gelu(value, loc="act"), ops.Gelu(value, loc="act"), ops.Gelu(value, loc="other")])
    assert [problem.loc for problem in problems(graph)] == ["act", "other"]


def test_origins_name_the_op_that_has_the_same_value() -> None:
    value = ops.Relu(ops.Linear(x(1, 3, 4), const(2, 4), loc="fc"), loc="act")
    graph, arrays = quantized(ops.Sigmoid(ops.Reshape(value, (1, 2, 3)), loc="gate"))
    result = lower(graph)
    assert len(arrays) == 1
    origin = {op.NAME: old.loc for op, old in result.origin.items() if isinstance(op, tfl.TfliteOp)}
    assert origin["tflite.fully_connected"] == "act", "the relu is fused into the layer"
    assert origin["tflite.logistic"] == "gate"
    assert all(new in result.graph.ops for new in result.origin if isinstance(new, tfl.FullyConnected))
