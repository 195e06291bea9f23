from __future__ import annotations

import math

import numpy as np
import pytest

from edgevit.errors import PassError, QuantError
from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.ops import Linear, Relu, Reshape
from edgevit.ir.types import dequantize_array
from edgevit.quant import sqnr as module
from edgevit.quant.arrays import Numbers
from edgevit.quant.calibrate import calibrate
from edgevit.quant.config import LayerOverride, QuantConfig, parse_config
from edgevit.quant.decibel import decibel
from edgevit.quant.quantize import QuantizeGraph
from edgevit.quant.remedies import worst_layers
from edgevit.quant.sqnr import Pair, compare, pair_by_place
from edgevit.quant.walk import as_input, stack_images
from tests.quant.graphs import constant, features, mlp, pictures, vectors, vit

PLAIN = QuantConfig(sequential=False, weights="per-tensor")


def quantized(graph: Graph, images: Numbers, config: QuantConfig = PLAIN) -> Graph:
    return QuantizeGraph(config).run(calibrate(graph, [images], config))


def test_decibels() -> None:
    assert decibel(100, 1) == pytest.approx(20)
    assert decibel(1, 0) == math.inf
    assert decibel(0, 1) == -math.inf


def test_the_last_row_is_the_ratio_of_the_outputs() -> None:
    graph, x = mlp(), vectors(64)
    candidate = quantized(graph, x)
    images = stack_images(graph, [x])
    exact = run(graph, [images])[0].astype(np.float64)
    got = dequantize_array(run(candidate, [as_input(candidate, images)])[0], candidate.outputs[0].type)
    rows = compare(graph, candidate, [x])
    assert rows[-1].sqnr_db == pytest.approx(decibel(float((exact**2).sum()), float(((exact - got) ** 2).sum())))
    assert [row.op for row in rows] == ["input", "linear", "relu", "linear"]
    assert all(row.local_db is None for row in rows)


def test_batches_and_memory_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, images = vit(), pictures(6)
    candidate = quantized(graph, images)
    whole = compare(graph, candidate, [images], local=True)
    monkeypatch.setattr(module, "_SLICE_BYTES", 1)
    calls: list[tuple[int, int]] = []
    parts = compare(graph, candidate, [images[:1], images[1:]], local=True, progress=lambda d, t: calls.append((d, t)))
    assert calls == [(i, 6) for i in range(1, 7)]
    for a, b in zip(whole, parts, strict=True):
        assert (a.loc, a.op) == (b.loc, b.op)
        assert a.sqnr_db == pytest.approx(b.sqnr_db, abs=0.1)
        assert a.local_db == pytest.approx(b.local_db, abs=0.1)


def test_every_value_of_a_vit_is_paired() -> None:
    graph, images = vit(), pictures(4)
    candidate = quantized(graph, images)
    rows = compare(graph, candidate, [images], local=True)
    activations = [op for op in graph.ops if op.NAME != "const"]
    # The image comes twice: as u8 pixels and on the int8 grid.
    assert len(rows) == len(activations) + 1
    assert [row.sqnr_db for row in rows[:2]] == [math.inf, math.inf]
    assert all(row.local_db is not None for row in rows[1:])


def test_the_local_ratio_finds_the_layer_that_is_to_blame() -> None:
    graph, images = vit(), pictures(32)
    config = PLAIN.model_copy(update={"layers": (LayerOverride(match="blocks.0.mlp.fc1", weight_bits=3),)})
    rows = compare(graph, quantized(graph, images, config), [images], local=True)
    advice = worst_layers(rows, config)
    assert advice[0].row.loc == "blocks.0.mlp.fc1"
    assert 'match = "blocks.0.mlp.fc1"\nweight_bits = 8' in advice[0].remedy
    behind = next(row for row in rows if row.loc == "blocks.1.norm1")
    assert behind.local_db is not None
    assert behind.local_db > behind.sqnr_db + 10


def test_remedies_are_configurations_that_are_not_in_force_yet() -> None:
    graph, images = vit(), pictures(8)
    for config in (
        PLAIN,
        QuantConfig(activation_bits=6),
        QuantConfig(bias_correction=False),
        QuantConfig(observer="mse", stream="plain"),
    ):
        rows = compare(graph, quantized(graph, images, config), [images], local=True)
        for advice in worst_layers(rows, config, count=50):
            if advice.remedy:
                changed = parse_config(advice.remedy)
                changed.check_layers(graph)
                (override,) = changed.layers or (None,)
                if override is not None:
                    before = config.layer(advice.row.loc, advice.row.reference.NAME)
                    merged = config.model_copy(update={"layers": (override,)})
                    assert merged.layer(advice.row.loc, advice.row.reference.NAME) != before


def test_pairs_can_be_given_and_differ_in_shape() -> None:
    graph, x = mlp(), vectors(16)
    candidate = quantized(graph, x)
    output = candidate.outputs[0]
    shaped = Reshape(output, (10,), type=output.type.with_shape((10,)))
    flat = Graph.of("flat", [shaped], inputs=candidate.inputs, form=candidate.form)
    (row,) = compare(graph, flat, [x], pairs=[Pair(graph.outputs[0], shaped)], local=True)
    assert row.sqnr_db == compare(graph, candidate, [x])[-1].sqnr_db
    assert row.local_db is None


def test_wrong_pairs_and_images_are_refused() -> None:
    graph, x = mlp(), vectors(4)
    candidate = quantized(graph, x)
    relu = next(op for op in graph.ops if isinstance(op, Relu))
    with pytest.raises(PassError, match="another graph"):
        compare(graph, candidate, [x], pairs=[Pair(relu, Relu(relu))])
    with pytest.raises(PassError, match=r"\[1, 32\] and \[1, 10\]"):
        compare(graph, candidate, [x], pairs=[Pair(relu, candidate.outputs[0])])
    with pytest.raises(QuantError, match="no images"):
        compare(graph, candidate, [])


def test_equal_places_are_told_apart_by_their_order() -> None:
    x = features(4)
    first = Relu(Linear(x, constant(np.eye(4)), loc="same"), loc="same")
    graph = Graph.of("g", [Relu(Relu(first, loc="same"), loc="same")], inputs=[x])
    candidate = quantized(graph, vectors(8, 4))
    pairs = pair_by_place(graph, candidate)
    assert [pair.reference for pair in pairs] == [op for op in graph.ops if op.NAME != "const"]
    assert [pair.candidate.NAME for pair in pairs] == [pair.reference.NAME for pair in pairs]


def test_what_a_fused_relu_cuts_off_is_no_noise() -> None:
    graph, x = mlp(), vectors(32)
    calibrated = calibrate(graph, [x], PLAIN)
    relu = next(op for op in calibrated.ops if isinstance(op, Relu))
    fused = calibrated.map(lambda op: op.with_type(relu.type) if op.loc == "fc1" and isinstance(op, Linear) else op)
    rows = compare(graph, QuantizeGraph(PLAIN).run(fused), [x])
    assert [row.op for row in rows] == ["input", "relu", "linear"]
    assert min(row.sqnr_db for row in rows) > 25
