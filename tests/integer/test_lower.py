"""What the pass fuses, how close the result is to the quantized graph, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgevit.errors import QuantError, UnsupportedOp
from edgevit.integer import ops
from edgevit.integer.forms import SETS, Forms
from edgevit.integer.leak import find_leaks
from edgevit.integer.lower import ToInteger
from edgevit.ir import ops as core
from edgevit.ir.graph import Form, Graph
from edgevit.ir.interp import run
from edgevit.ir.types import Array, DType, Quant, TensorType, dequantize_array
from edgevit.ir.verify import verify
from edgevit.metrics.accuracy import logits
from edgevit.passes.pipeline import Pipeline
from tests.integer.lowered import grid, integer_vit, lower_op, quantized_vit, to_quantized, value
from tests.quant.graphs import pictures, vit


def weights(rng: np.random.Generator, *shape: int) -> core.Const:
    quant = Quant(tuple(rng.uniform(0.01, 0.02, shape[0]).tolist()), (0,) * shape[0], 0)
    return core.Const(rng.integers(-127, 128, shape).astype(np.int8), type=TensorType(shape, DType.I8, quant))


def scalar(factor: float) -> core.Const:
    return core.Const(np.array(100, np.int8), type=TensorType((), DType.I8, Quant.per_tensor(factor / 100)))


def inputs(type: TensorType, seed: int = 0) -> Array:
    low, high = type.dtype.limits
    return np.random.default_rng(seed).integers(low, high + 1, (5, *type.shape)).astype(type.dtype.numpy)


def difference(quantized: Graph, lowered: Graph) -> int:
    """The largest difference of the outputs in steps."""
    arrays = [inputs(op.type) for op in quantized.inputs]
    (a,), (b,) = run(quantized, arrays), run(lowered, arrays)
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def test_each_single_op_is_within_a_step_of_its_real_meaning() -> None:
    rng, x = np.random.default_rng(1), value(grid(1, 6, 6, 4, zero_point=5))
    kernel = weights(rng, 8, 3, 3, 4)
    conv = core.Conv2d(x, kernel, padding=(1, 1, 1, 1), stride=(2, 2), type=grid(1, 3, 3, 8, scale=0.3))
    rows = value(grid(2, 5, 6, zero_point=-3))
    product = core.MatMul(rows, value(grid(2, 6, 3), "y"), type=grid(2, 5, 3, scale=0.2, zero_point=9))
    dense = core.Linear(rows, weights(rng, 7, 6), type=grid(2, 5, 7, scale=0.05))
    wide = grid(2, 5, 6, dtype=DType.I16, scale=2**-11)
    total = core.Add(rows, value(wide, "z"), type=grid(2, 5, 6, dtype=DType.I16, scale=0.0007, zero_point=40))
    for op in (conv, product, dense, total, core.Gelu(rows, type=grid(2, 5, 6, scale=1 / 30, zero_point=-100))):
        quantized = Graph.of("g", [op], form=Form.QUANTIZED)
        lowered = ToInteger().run(quantized)
        verify(lowered)
        assert difference(quantized, lowered) <= 1, op


@pytest.mark.parametrize("add", ["separate", "common"])
def test_relu_clip_and_factors_go_into_the_op_before(add: str) -> None:
    rng, x = np.random.default_rng(2), value(grid(3, 6))
    narrow = grid(3, 7, scale=1 / 8, zero_point=-128)
    for first in (
        core.Linear(x, weights(rng, 7, 6), type=grid(3, 7, scale=1 / 4)),
        core.Add(value(grid(3, 7), "a"), value(grid(3, 7), "b"), type=grid(3, 7, scale=1 / 7)),
    ):
        scaled = core.Mul(first, scalar(0.75), type=grid(3, 7, scale=1 / 5))
        last = core.Clip(core.Relu(scaled, type=narrow), 0.5, 4.0, type=narrow)
        lowered = lower_op(last, Forms(add=add))  # type: ignore[arg-type]
        computing = [op for op in lowered.ops if not isinstance(op, (core.Input, core.Const))]
        assert computing == [lowered.outputs[0]]
        assert computing[0].limits == (-124, -96)  # type: ignore[attr-defined]
        real = dequantize_array(run(lowered, [inputs(op.type) for op in lowered.inputs])[0], lowered.outputs[0].type)
        assert (real.min(), real.max()) == (0.5, 4.0)
        before = Graph.of("g", [first], form=Form.QUANTIZED)
        exact = dequantize_array(run(before, [inputs(op.type) for op in before.inputs])[0], first.type)
        wanted = np.clip(0.75 * exact, 0.5, 4.0)
        # The value before may be clamped to its own grid, which the fused op does not have.
        inside = np.abs(exact) < 31
        assert inside.any()
        assert np.abs(real - wanted)[inside].max() <= 0.75 / 4 / 2 + 1 / 16 + 1e-9


def test_an_op_with_two_users_keeps_its_grid() -> None:
    x = value(grid(3, 6))
    first = core.Linear(x, weights(np.random.default_rng(3), 6, 6), type=grid(3, 6, scale=1 / 4))
    both = core.Add(first, core.Relu(first, type=grid(3, 6, scale=1 / 4)), type=grid(3, 6, scale=1 / 3))
    lowered = lower_op(both)
    kinds = [type(op) for op in lowered.ops if isinstance(op, ops.INTEGER_OPS)]
    assert kinds == [ops.Linear, ops.Requantize, ops.Add]


def test_a_bias_follows_its_operand_to_another_grid() -> None:
    """Probabilities come on the grid of the softmax form, not on the 1/256 that the bias was made for."""
    weight = weights(np.random.default_rng(4), 3, 8)
    assert weight.type.quant is not None
    scales = tuple(float(scale) / 256 for scale in weight.type.quant.scale)
    bias_type = TensorType((3,), DType.I32, Quant(scales, (0, 0, 0), 0))
    bias = core.Const(np.array([50000, -70000, 3], np.int32), type=bias_type)
    probabilities = core.Softmax(value(grid(4, 8)), type=grid(4, 8, scale=1 / 256, zero_point=-128))
    lowered = lower_op(core.Linear(probabilities, weight, bias, type=grid(4, 3, scale=1 / 40)))
    linear = lowered.outputs[0]
    assert isinstance(linear, ops.Linear)
    assert linear.bias is not None
    moved = dequantize_array(linear.bias.data, linear.bias.type)  # type: ignore[attr-defined]
    assert np.abs(moved - dequantize_array(bias.data, bias.type)).max() <= max(scales) * 256 / 255 / 2


def test_pixels_go_into_the_first_op_as_they_are() -> None:
    graph = integer_vit(Forms())
    first = next(op for op in graph.ops if isinstance(op, ops.INTEGER_OPS))
    assert first.operands[0] is graph.inputs[0]
    assert graph.inputs[0].type.dtype is DType.U8


def test_the_residual_stream_and_the_logits_have_16_bits_and_the_rest_8() -> None:
    graph = integer_vit(Forms())
    sums = [op for op in graph.ops if isinstance(op, ops.Add)]
    assert len(sums) == 5
    assert {op.type.dtype for op in (*sums, *graph.outputs)} == {DType.I16}
    assert {x.type.dtype for op in sums for x in op.operands} == {DType.I16}
    others = [op for op in graph.ops if isinstance(op, (ops.LayerNorm, ops.Gelu, ops.MatMul))]
    assert {op.type.dtype for op in others} == {DType.I8}


def test_a_residual_stream_of_8_bits_is_an_option() -> None:
    quantized = to_quantized(vit(), stream_bits=8)
    graph = ToInteger().run(quantized)
    verify(graph)
    assert find_leaks(graph) == []
    assert {op.type.dtype for op in graph.ops if isinstance(op, ops.INTEGER_OPS)} == {DType.I8, DType.U8}
    images = pictures(64, seed=9)
    real = logits(vit(), images)
    noise = [np.square(logits(each, images) - real).sum() for each in (quantized, graph)]
    assert noise[1] < 1.25 * noise[0], "integers lose no more than rounding to the same grids does"


@pytest.mark.parametrize("name", SETS)
def test_logits_stay_close_to_those_of_the_quantized_graph(name: str) -> None:
    quantized, lowered = quantized_vit(), integer_vit(SETS[name])
    images = pictures(32, seed=9)[:, None]
    (a,), (b,) = run(quantized, [images]), run(lowered, [images])
    real, found = dequantize_array(a, quantized.outputs[0].type), dequantize_array(b, lowered.outputs[0].type)
    noise = np.square(real - found).sum() / np.square(real).sum()
    assert 10 * np.log10(1 / noise) > (24 if name in ("edgevit", "ibert_repaired") else 10)


@pytest.mark.parametrize(
    ("forms", "place", "remedy"),
    [
        (replace(SETS["ibert"], wide=False), "blocks.0.attn", "use the form ibert_repaired"),
        (replace(SETS["fqvit"], wide=False, layer_norm="exact"), "blocks.0.attn", "use the form fqvit_repaired"),
        (replace(Forms(), layer_norm="fqvit"), "blocks.0.norm1", "choose_factors"),
        (replace(Forms(), gelu="none"), "blocks.0.mlp.act", "one of ivit"),
    ],
)
def test_a_form_that_cannot_be_is_refused_with_its_place_and_what_to_change(
    forms: Forms, place: str, remedy: str
) -> None:
    with pytest.raises(QuantError) as caught:
        Pipeline((ToInteger(forms),)).run(quantized_vit())
    assert caught.value.where == place
    assert remedy in caught.value.hint


def test_a_sum_beyond_32_bits_is_refused_with_its_place() -> None:
    wide = value(grid(1, 4096, dtype=DType.I16))
    weight = core.Const(np.full((1, 4096), 127, np.int8), type=TensorType((1, 4096), DType.I8, Quant.per_tensor(0.01)))
    with pytest.raises(QuantError, match=r"2\*\*31") as caught:
        lower_op(core.Linear(wide, weight, type=grid(1, 1), loc="mixer.fc"))
    assert caught.value.where == "mixer.fc"
    assert "split the reduction" in caught.value.hint


def test_every_op_without_an_integer_form_is_listed() -> None:
    x = value(grid(1, 8))
    op = core.Exp(core.Rsqrt(x, type=grid(1, 8), loc="a"), type=grid(1, 8), loc="b")
    with pytest.raises(UnsupportedOp) as caught:
        lower_op(core.Mul(op, x, type=grid(1, 8), loc="c"))
    for line in ("a: rsqrt", "b: exp", "c: mul"):
        assert line in caught.value.what


def test_padding_with_a_number_is_refused() -> None:
    with pytest.raises(QuantError, match="pads with"):
        lower_op(core.Pad(value(grid(1, 8)), (0, 1), (0, 0), value=0.5, type=grid(1, 9), loc="p"))
