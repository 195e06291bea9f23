"""Every core op with a lowering, executed: the interpreter against LiteRT's reference kernels, with ==."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.ir import ops
from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit_coral import lower
from tests.coral.quantized_graphs import (
    Build,
    assert_same_as_litert,
    const,
    image,
    inputs,
    lowered,
    quantized,
    steps_apart,
)
from tests.tools import requires

pytestmark = requires("litert")

ROWS = (1, 5, 8)


def x(*shape: int) -> Op:
    return inputs(shape or ROWS)[0]


def two(first: tuple[int, ...] = ROWS, second: tuple[int, ...] = ROWS) -> list[Op]:
    return list(inputs(first, second))


CASES: dict[str, Build] = {
    "linear": lambda: ops.Linear(x(), const(6, 8), const(6)),
    "linear_without_bias": lambda: ops.Linear(x(), const(6, 8)),
    "linear_of_an_image": lambda: ops.Linear(x(1, 3, 4, 8), const(6, 8), const(6)),
    "matmul": lambda: ops.MatMul(*two((5, 8), (8, 6))),
    "matmul_of_transposed": lambda: ops.MatMul((a := two((1, 5, 8), (1, 6, 8)))[0], ops.Transpose(a[1], (0, 2, 1))),
    "conv2d": lambda: ops.Conv2d(x(1, 7, 6, 3), const(4, 3, 3, 3), const(4), padding=(1, 1, 1, 1)),
    "conv2d_depthwise": lambda: ops.Conv2d(x(1, 7, 6, 4), const(4, 3, 3, 1), const(4), (2, 2), groups=4),
    "conv2d_multiplier": lambda: ops.Conv2d(x(1, 6, 6, 3), const(6, 3, 3, 1), groups=3),
    "conv2d_dilated": lambda: ops.Conv2d(x(1, 9, 9, 2), const(3, 3, 3, 2), dilation=(2, 2), padding=(2, 2, 2, 2)),
    "avg_pool2d": lambda: ops.AvgPool2d(x(1, 6, 6, 3), (2, 2), (2, 2)),
    "avg_pool2d_same": lambda: ops.AvgPool2d(x(1, 6, 5, 3), (3, 3), (1, 1), (1, 1, 1, 1)),
    "max_pool2d": lambda: ops.MaxPool2d(x(1, 6, 6, 3), (3, 2), (1, 2)),
    "max_pool2d_same": lambda: ops.MaxPool2d(x(1, 5, 6, 3), (3, 3), (1, 1), (1, 1, 1, 1)),
    "add": lambda: ops.Add(*two()),
    "add_constant": lambda: ops.Add(x(), const(8)),
    "add_rows": lambda: ops.Add(*two(ROWS, (1, 5, 1))),
    "sub": lambda: ops.Sub(*two()),
    "sub_from_constant": lambda: ops.Sub(const(1, 5, 8), x()),
    "mul": lambda: ops.Mul(*two()),
    "mul_square": lambda: ops.Mul(a := x(), a),
    "mul_scalar": lambda: ops.Mul(x(), const()),
    "squared_difference": lambda: ops.Mul(a := ops.Sub(*two(ROWS, (1, 5, 1))), a),
    "rsqrt": lambda: ops.Rsqrt(ops.Clip(ops.Mul(a := x(), a), 0.5, 9.0)),
    "sigmoid": lambda: ops.Sigmoid(x()),
    "tanh": lambda: ops.Tanh(x()),
    "softmax": lambda: ops.Softmax(x()),
    "softmax_heads": lambda: ops.Softmax(x(1, 2, 5, 7)),
    "l2_normalize": lambda: ops.L2Normalize(x()),
    "relu": lambda: ops.Relu(x()),
    "relu6": lambda: ops.Clip(ops.Mul(x(), const(scale=5.0)), 0.0, 6.0),
    "clip": lambda: ops.Clip(x(), -0.7, 0.9),
    "maximum": lambda: ops.Maximum(*two()),
    "minimum": lambda: ops.Minimum(x(), const(8)),
    "reduce_mean": lambda: ops.ReduceMean(x(), (2,), keepdims=True),
    "reduce_mean_tokens": lambda: ops.ReduceMean(x(), (1,)),
    "reduce_mean_image": lambda: ops.ReduceMean(x(1, 4, 4, 8), (1, 2)),
    "reduce_max": lambda: ops.ReduceMax(x(), (2,), keepdims=True),
    "reshape": lambda: ops.Reshape(x(), (1, 10, 4)),
    "transpose": lambda: ops.Transpose(x(), (0, 2, 1)),
    "transpose_heads": lambda: ops.Transpose(x(1, 5, 2, 4), (0, 2, 1, 3)),
    "transpose_batch": lambda: ops.Transpose(x(1, 5, 8), (1, 0, 2)),
    "concat_channels": lambda: ops.Concat(tuple(two((5, 8), (5, 3))), 1),
    "concat_rows": lambda: ops.Concat(tuple(two((1, 5, 8), (1, 2, 8))), 1),
    "concat_of_fixed_grids": lambda: ops.Concat((ops.Softmax(a := x()), ops.Tanh(a)), 2),
    "concat_batch": lambda: ops.Concat(tuple(two((1, 5, 8), (2, 5, 8))), 0),
    "slice": lambda: ops.Slice(x(), (0, 1, 2), (1, 4, 8), (1, 1, 1)),
    "slice_strided": lambda: ops.Slice(x(), (0, 0, 1), (1, 5, 8), (1, 2, 3)),
    "pad_rows": lambda: ops.Pad(x(), (0, 1, 0), (0, 0, 0)),
    "pad_image": lambda: ops.Pad(x(1, 4, 4, 3), (0, 1, 2, 0), (0, 0, 1, 0)),
    "quantize": lambda: ops.Add(image(4), const(3)),
}


def test_every_lowering_is_executed() -> None:
    executed = {type(op) for build in CASES.values() for op in Graph.of("g", [build()]).ops}
    missing = set(lower._LOWERINGS) - executed
    assert {cls.NAME for cls in missing} == {"quantize"}, "the case `quantize` gets its op from the quantizer"


@pytest.mark.parametrize("name", CASES)
def test_lowered_op_equals_litert(name: str) -> None:
    graph, arrays = quantized(CASES[name]())
    assert_same_as_litert(lowered(graph), arrays)


MOVES = ("reshape", "transpose", "concat_channels", "concat_rows", "concat_batch", "slice", "pad", "max_pool2d", "relu")


ROUND_TWICE = {"squared_difference": 2, "avg_pool2d": 2, "avg_pool2d_same": 2}
"""The definition rounds the difference before it is squared, TFLite rounds a pooled mean on two grids."""


@pytest.mark.parametrize("name", CASES)
def test_lowered_op_is_close_to_its_definition(name: str) -> None:
    """TFLite rounds in fixed point, and half away from zero: a step off at most; what moves numbers is exact."""
    graph, arrays = quantized(CASES[name]())
    apart = steps_apart(graph, lowered(graph), arrays)
    assert apart <= (0 if name.startswith(MOVES) else ROUND_TWICE.get(name, 1))


@pytest.mark.parametrize("weights", ["per-tensor", "per-channel"])
@pytest.mark.parametrize("kind", ["linear", "conv2d", "depthwise"])
def test_granularities_of_weights(kind: str, weights: str) -> None:
    spread = const(6, 8)
    spread.data[:] *= np.geomspace(0.01, 1, 6).astype(np.float32)[:, None]
    build: dict[str, Build] = {
        "linear": lambda: ops.Linear(x(), spread, const(6)),
        "conv2d": lambda: ops.Conv2d(x(1, 4, 4, 8), ops.Const(spread.data.reshape(6, 1, 1, 8)), const(6)),
        "depthwise": lambda: ops.Conv2d(x(1, 5, 5, 6), ops.Const(const(6, 3, 3, 1).data), const(6), groups=6),
    }
    graph, arrays = quantized(build[kind](), weights=weights)
    target = lowered(graph)
    names = [op.NAME for op in target.ops if op.NAME.startswith("tflite.")]
    expected = {
        ("linear", "per-tensor"): ["tflite.fully_connected"],
        ("linear", "per-channel"): ["tflite.reshape", "tflite.conv_2d", "tflite.reshape"],
        ("depthwise", weights): ["tflite.depthwise_conv_2d"],
    }
    assert names == expected.get((kind, weights), ["tflite.conv_2d"])
    assert_same_as_litert(target, arrays)
    assert steps_apart(graph, target, arrays) <= 1


PRODUCERS: dict[str, Build] = {
    "linear": lambda: ops.Linear(x(), const(6, 8), const(6)),
    "conv2d": lambda: ops.Conv2d(x(1, 5, 5, 3), const(4, 3, 3, 3), const(4)),
    "add": lambda: ops.Add(*two()),
    "sub": lambda: ops.Sub(*two()),
    "mul": lambda: ops.Mul(*two()),
}


@pytest.mark.parametrize("weights", ["per-tensor", "per-channel"])
@pytest.mark.parametrize("name", PRODUCERS)
def test_a_relu_is_fused_where_that_is_exact(name: str, weights: str) -> None:
    graph, arrays = quantized(ops.Relu(PRODUCERS[name]()), weights=weights)
    target = lowered(graph)
    assert not any(op.NAME == "tflite.relu" for op in target.ops)
    (activation,) = {op.activation for op in target.ops if hasattr(op, "activation")}
    assert activation == "RELU"
    assert_same_as_litert(target, arrays)
    assert steps_apart(graph, target, arrays) <= 1


def test_a_relu_on_another_grid_or_of_a_shared_value_stays() -> None:
    total = ops.Add(*two())
    graph, arrays = quantized([ops.Relu(total), total])
    target = lowered(graph)
    assert [op.NAME for op in target.ops][-2:] == ["tflite.add", "tflite.relu"]
    assert_same_as_litert(target, arrays)


@pytest.mark.parametrize("bits", [2, 4, 6, 7])
def test_fewer_bits_are_a_clip_to_the_part_of_the_grid(bits: int) -> None:
    graph, arrays = quantized(ops.Add(ops.Mul(x(), const(8)), const(8)), activation_bits=bits)
    target = lowered(graph)
    names = [op.NAME for op in target.ops if op.NAME.startswith("tflite.")]
    assert names == ["tflite.mul", "tflite.maximum", "tflite.minimum", "tflite.add", "tflite.maximum", "tflite.minimum"]
    result = assert_same_as_litert(target, arrays)
    assert int(result.max()) - int(result.min()) <= 2**bits - 1
    assert steps_apart(graph, target, arrays) <= 1


def test_a_block_of_a_transformer_equals_litert() -> None:
    def linear(value: Op, out: int, seed: int) -> Op:
        return ops.Linear(value, const(out, value.shape[-1], seed=seed, scale=0.3), const(out, seed=seed + 50))

    stream = linear(x(1, 6, 8), 8, 2)
    normal = ops.L2Normalize(stream)
    q, k, v = (ops.Reshape(linear(normal, 8, seed), (6, 8)) for seed in (3, 4, 5))
    scores = ops.Softmax(ops.MatMul(q, ops.Transpose(k, (1, 0))))
    attended = ops.Reshape(ops.MatMul(scores, v), (1, 6, 8))
    stream = ops.Add(stream, linear(attended, 8, 6))
    hidden = linear(ops.L2Normalize(stream), 16, 7)
    gated = ops.Mul(hidden, ops.Sigmoid(ops.Mul(hidden, ops.Const(np.array(1.702, np.float32)))))
    graph, arrays = quantized(ops.Add(stream, linear(gated, 8, 8)))
    target = lowered(graph)
    assert_same_as_litert(target, arrays)
    # Each op is a step off at most; 20 of them in a row add up to a few.
    assert steps_apart(graph, target, arrays) <= 4
