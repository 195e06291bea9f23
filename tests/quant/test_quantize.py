from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgevit.errors import PassError, QuantError
from edgevit.ir.graph import Form, Graph
from edgevit.ir.interp import run
from edgevit.ir.ops import Add, Clip, Concat, Const, Conv2d, Linear, Mul, Pad, Quantize, Reshape, Softmax, Transpose
from edgevit.ir.types import DType, dequantize_array
from edgevit.ir.verify import verify
from edgevit.quant.arrays import Numbers
from edgevit.quant.bias_correction import correct_biases
from edgevit.quant.calibrate import calibrate
from edgevit.quant.config import LayerOverride, QuantConfig
from edgevit.quant.constraints import INT8_POLICY, GridPolicy
from edgevit.quant.decibel import decibel
from edgevit.quant.quantize import BIAS_LIMIT, QuantizeGraph
from edgevit.quant.walk import as_input, stack_images
from edgevit.quant.weights import Decision, choose_granularity
from tests.quant.graphs import constant, features, linear, mlp, pictures, vectors, vit

PLAIN = QuantConfig(sequential=False)


def quantized(graph: Graph, images: Numbers, config: QuantConfig, policy: GridPolicy = INT8_POLICY) -> Graph:
    decisions = choose_granularity(graph, [images], config)
    calibrated = calibrate(graph, [images], config, constraints=policy, decisions=decisions)
    result = QuantizeGraph(config, policy, decisions).run(calibrated)
    verify(result)
    assert result.form is Form.QUANTIZED
    return result


def outputs(graph: Graph, images: Numbers) -> NDArray[np.float64]:
    (value,) = run(graph, [as_input(graph, stack_images(graph, [images]))])
    type = graph.outputs[0].type
    return value.astype(np.float64) if type.quant is None else dequantize_array(value, type)


def sqnr(reference: Graph, candidate: Graph, images: Numbers) -> float:
    exact = outputs(reference, images)
    return decibel(float(np.square(exact).sum()), float(np.square(exact - outputs(candidate, images)).sum()))


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.parametrize("weights", ["per-tensor", "per-channel", "auto"])
def test_a_small_mlp_keeps_30_db(sequential: bool, weights: str) -> None:
    graph, x = mlp(), vectors(1024)
    config = QuantConfig.model_validate({"sequential": sequential, "weights": weights})
    assert sqnr(graph, quantized(graph, x, config), x) > 30


def test_a_vit_survives_and_fewer_bits_cost() -> None:
    graph, images = vit(), pictures(64)
    ratios = [sqnr(graph, quantized(graph, images, QuantConfig(activation_bits=b)), images) for b in (8, 6, 4)]
    assert ratios[0] > 18
    assert ratios[0] > ratios[1] + 4
    assert ratios[1] > ratios[2] + 4


def test_fewer_weight_bits_cost_about_6_db_each() -> None:
    graph, x = mlp(), vectors(512)
    five, three = (sqnr(graph, quantized(graph, x, QuantConfig(weight_bits=b)), x) for b in (5, 3))
    assert 8 < five - three < 16


def test_the_quantized_form_is_as_the_contract_says() -> None:
    graph = quantized(vit(), pictures(8), QuantConfig(sequential=False, auto_gain_db=99.0))
    image = graph.inputs[0]
    assert (image.type.dtype, image.type.quant) == (DType.U8, replace(INT8_POLICY.pixels, zero_point=(0,)))
    for op in graph.ops:
        if isinstance(op, (Linear, Conv2d)):
            weight, bias, x = op.weight.type, op.bias.type if op.bias else None, op.x.type.quant
            assert weight.quant is not None
            assert bias is not None
            assert bias.quant is not None
            assert x is not None
            assert weight.dtype is DType.I8
            assert set(weight.quant.zero_point) == {0}
            assert isinstance(op.weight, Const)
            assert op.weight.data.min() >= -127
            assert bias.dtype is DType.I32
            products = [float(x.scale[0]) * float(s) for s in weight.quant.scale]
            assert [float(s) for s in bias.quant.scale] == products
            assert weight.quant.axis == (0 if isinstance(op, Conv2d) else None)
        elif isinstance(op, (Reshape, Transpose, Concat)):
            assert {o.type.quant for o in op.operands} == {op.type.quant}
        elif isinstance(op, Softmax):
            assert op.type.quant == INT8_POLICY.fixed[Softmax]
        if op is not image and op.type.dtype is not DType.I32:
            assert op.type.dtype is DType.I8


def test_pixels_enter_exactly() -> None:
    images = pictures(4)
    for pixel_dtype in (DType.U8, DType.I8):
        graph = quantized(vit(), images, PLAIN, replace(INT8_POLICY, pixel_dtype=pixel_dtype))
        stored = as_input(graph, stack_images(vit(), [images]))
        assert stored.dtype == pixel_dtype.numpy
        assert (dequantize_array(stored, graph.inputs[0].type)[:, 0] == images).all()
        assert any(isinstance(op, Quantize) for op in graph.ops) == (pixel_dtype is DType.U8)


def test_outputs_take_the_type_of_the_interface() -> None:
    images = pictures(4)
    signed = quantized(vit(), images, PLAIN)
    unsigned = quantized(vit(), images, PLAIN, replace(INT8_POLICY, output_dtype=DType.U8))
    assert unsigned.outputs[0].type.dtype is DType.U8
    np.testing.assert_array_equal(outputs(signed, images), outputs(unsigned, images))


def test_runs_are_deterministic() -> None:
    one, two = (quantized(vit(), pictures(8), QuantConfig()) for _ in range(2))
    for a, b in zip(one.ops, two.ops, strict=True):
        assert a.type == b.type
        if isinstance(a, Const) and isinstance(b, Const):
            assert a.data.tobytes() == b.data.tobytes()


def test_a_huge_bias_widens_the_weight_grid() -> None:
    x = features(4)
    graph = Graph.of("g", [Linear(x, constant(np.full((2, 4), 1e-9)), constant([5.0, -3.0]), loc="fc")], inputs=[x])
    for weights in ("per-tensor", "per-channel"):
        data = vectors(64, 4)
        result = quantized(graph, data, QuantConfig.model_validate({"weights": weights, "sequential": False}))
        op = result.outputs[0]
        assert isinstance(op, Linear)
        assert isinstance(op.bias, Const)
        assert np.abs(op.bias.data).max() <= BIAS_LIMIT
        np.testing.assert_allclose(outputs(result, data), outputs(graph, data), atol=0.05)


@pytest.mark.parametrize("weights", ["per-tensor", "per-channel"])
def test_dead_layers_still_give_their_bias(weights: str) -> None:
    x = features(4)
    weight = np.zeros((3, 4))
    graph = Graph.of("g", [Linear(x, constant(weight), constant([0.5, -0.25, 0.0]), loc="fc")], inputs=[x])
    data = vectors(64, 4)
    result = quantized(graph, data, QuantConfig.model_validate({"weights": weights}))
    np.testing.assert_allclose(outputs(result, data), outputs(graph, data), atol=0.002)


def test_dead_channels_do_not_disturb_the_others() -> None:
    rng = np.random.default_rng(0)
    x = features(8)
    weight = rng.normal(size=(6, 8))
    weight[[1, 4]] = 0
    graph = Graph.of("g", [Linear(x, constant(weight), constant(rng.normal(size=6)), loc="fc")], inputs=[x])
    for weights in ("per-tensor", "per-channel"):
        config = QuantConfig.model_validate({"weights": weights})
        assert sqnr(graph, quantized(graph, vectors(256, 8), config), vectors(256, 8)) > 35


def test_a_layer_without_bias_gets_one_only_from_correction() -> None:
    x = features(8)
    graph = Graph.of("g", [linear(x, 4, np.random.default_rng(0), "fc", bias=False)], inputs=[x])
    kept = quantized(graph, vectors(64, 8), QuantConfig(bias_correction=False)).outputs[0]
    given = quantized(graph, vectors(64, 8), QuantConfig(weight_bits=3)).outputs[0]
    assert isinstance(kept, Linear)
    assert isinstance(given, Linear)
    assert kept.bias is None
    assert given.bias is not None


def test_low_bit_activations_are_really_limited() -> None:
    x = vectors(256)
    graph = quantized(mlp(), x, QuantConfig(activation_bits=4))
    levels: dict[str, int] = {}
    run(
        graph,
        [as_input(graph, stack_images(mlp(), [x]))],
        lambda op, a: levels.update({f"{op.NAME} {op.loc}": len(np.unique(a))}),
    )
    assert any(isinstance(op, Clip) for op in graph.ops)
    assert all(count <= 16 for name, count in levels.items() if name.startswith("clip"))
    assert levels["clip fc1"] > 8


def test_a_value_on_a_built_in_grid_is_requantized_to_join_others() -> None:
    x = features(4)
    graph = Graph.of("g", [Concat((Softmax(x), constant([[3.0]])), 1, loc="cat")], inputs=[x])
    for config in (PLAIN, QuantConfig()):
        assert sqnr(graph, quantized(graph, vectors(32, 4), config), vectors(32, 4)) > 40


def test_a_constant_that_a_built_in_grid_cannot_hold_is_refused() -> None:
    x = features(4)
    graph = Graph.of("g", [Pad(Softmax(x), (0, 0), (0, 1), value=0.5, loc="pad")], inputs=[x])
    assert sqnr(graph, quantized(graph, vectors(32, 4), PLAIN), vectors(32, 4)) > 40
    with pytest.raises(QuantError, match="grid") as caught:
        calibrate(replace_value(graph, 7.0), [vectors(32, 4)], PLAIN)
    assert caught.value.where == "pad"


def replace_value(graph: Graph, value: float) -> Graph:
    """``graph`` with another padding."""
    return graph.map(lambda op: replace(op, value=value) if isinstance(op, Pad) else op)


def test_scalars_and_vectors_of_constants_are_quantized_well() -> None:
    x = features(6)
    graph = Graph.of("g", [Add(Mul(x, constant(1.702)), constant(np.linspace(-1, 1, 6)))], inputs=[x])
    assert sqnr(graph, quantized(graph, vectors(512, 6), PLAIN), vectors(512, 6)) > 38


def test_a_computed_weight_and_a_wrong_form_are_refused() -> None:
    x = features(4)
    weight = Transpose(constant(np.eye(4)), (1, 0))
    graph = Graph.of("g", [Linear(x, weight, loc="fc")], inputs=[x])
    calibrated = calibrate(graph, [vectors(8, 4)], PLAIN)
    with pytest.raises(QuantError, match="computed") as caught:
        QuantizeGraph(PLAIN).run(calibrated)
    assert caught.value.where == "fc"
    with pytest.raises(PassError, match="float form"):
        QuantizeGraph(PLAIN).run(graph)


def test_nan_weights_are_named() -> None:
    x = features(2)
    graph = Graph.of("g", [Linear(x, constant([[np.nan, 1.0]]), loc="fc")], inputs=[x])
    with pytest.raises(QuantError, match="not finite") as caught:
        choose_granularity(graph, [vectors(4, 2)], QuantConfig())
    assert caught.value.where == "fc"


def one_loud_weight() -> Graph:
    """Two linear layers; the first has one weight of 1, in a channel of its own, among weights of 0.01."""
    rng = np.random.default_rng(0)
    x = features(16)
    weight = rng.normal(size=(8, 16)) * 0.01
    weight[0] = np.eye(16)[0]
    return Graph.of("g", [linear(Linear(x, constant(weight), loc="fc1"), 2, rng, "fc2")], inputs=[x])


def test_granularity_is_chosen_by_measurement() -> None:
    for gain, expected in ((0.0, "per-channel"), (99.0, "per-tensor")):
        first, _ = choose_granularity(one_loud_weight(), [vectors(64)], QuantConfig(auto_gain_db=gain))
        assert first.chosen == expected
        assert first.sqnr_channel > first.sqnr_tensor + 3
    config = QuantConfig(auto_gain_db=99.0, layers=(LayerOverride(match="fc2", weights="per-channel"),))
    assert [d.chosen for d in choose_granularity(one_loud_weight(), [vectors(64)], config)] == [
        "per-tensor",
        "per-channel",
    ]


def test_the_measured_ratio_is_that_of_the_layer_alone() -> None:
    graph, x = one_loud_weight(), vectors(8)
    first = choose_granularity(graph, [x], QuantConfig())[0]
    weight: Numbers = next(
        op.weight.data for op in graph.ops if isinstance(op, Linear) and isinstance(op.weight, Const)
    )
    rounded = np.rint(weight * 127) / 127
    exact, got = x @ weight.T, x @ rounded.T
    expected = decibel(float(np.square(exact).sum()), float(np.square(exact - got).sum()))
    assert first.sqnr_tensor == pytest.approx(expected, abs=0.01)


def test_decisions_reach_the_weights_and_are_checked() -> None:
    graph, x = mlp(), vectors(64)
    calibrated = calibrate(graph, [x], PLAIN)
    decisions = (Decision(1, "fc2", 30.0, 40.0, "per-channel"),)
    result = QuantizeGraph(PLAIN, decisions=decisions).run(calibrated)
    axes = [op.weight.type.quant and op.weight.type.quant.axis for op in result.ops if isinstance(op, Linear)]
    assert axes == [None, 0]
    with pytest.raises(QuantError, match="another graph"):
        QuantizeGraph(PLAIN, decisions=(Decision(1, "head", 0, 0, "per-tensor"),)).run(calibrated)


def test_bias_correction_removes_the_mean_error() -> None:
    rng = np.random.default_rng(0)
    x = features(16)
    hidden = linear(x, 8, rng, "fc1")
    graph = Graph.of("g", [linear(hidden, 4, rng, "fc2")], inputs=[x])
    data = vectors(512) + 3
    config = QuantConfig(weight_bits=3, weights="per-tensor", sequential=False)
    plain = quantized(graph, data, config)
    corrected = correct_biases(graph, plain, [data[:200], data[200:]], config)
    verify(corrected)
    exact = outputs(graph, data).mean(axis=(0, 1))
    before, after = (np.abs(outputs(g, data).mean(axis=(0, 1)) - exact).max() for g in (plain, corrected))
    step = float(plain.outputs[0].type.quant.scale[0])  # type: ignore[union-attr]
    assert before > 3 * step
    assert after < 0.5 * step
    assert sqnr(graph, corrected, data) > sqnr(graph, plain, data) + 3


def biases(graph: Graph) -> dict[str, Numbers]:
    return {op.loc: op.bias.data for op in graph.ops if isinstance(op, Linear) and isinstance(op.bias, Const)}


def test_bias_correction_respects_the_configuration_and_its_graph() -> None:
    graph, x = mlp(), vectors(64)
    config = QuantConfig(sequential=False, weight_bits=4, layers=(LayerOverride(match="fc1", bias_correction=False),))
    plain = quantized(graph, x, config)
    corrected = correct_biases(graph, plain, [x], config)
    same = {loc: (data == biases(corrected)[loc]).all() for loc, data in biases(plain).items()}
    assert same["fc1"]
    assert not same["fc2"]
    with pytest.raises(PassError, match="other linear ops"):
        correct_biases(vit(), plain, [x], config)
    with pytest.raises(PassError, match="float form"):
        correct_biases(graph, graph, [x], config)
