from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgevit.errors import QuantError, UsageError
from edgevit.ir.graph import Form, Graph
from edgevit.ir.interp import run
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Const, Linear, Relu, Softmax
from edgevit.ir.verify import verify
from edgevit.quant import calibrate as module
from edgevit.quant.arrays import Numbers
from edgevit.quant.calibrate import Note, calibrate
from edgevit.quant.config import LayerOverride, QuantConfig
from edgevit.quant.constraints import INT8_POLICY, share_grids
from edgevit.quant.grids import fake_quantize, range_grid, real_limits
from edgevit.quant.observers import OBSERVERS
from edgevit.quant.walk import as_input, evaluate_all, live_bytes, slices, stack_images, walk
from tests.quant.graphs import constant, features, linear, mlp, pictures, vectors, vit

PLAIN = QuantConfig(sequential=False, residual_observer="minmax")


def extremes(graph: Graph, images: Numbers) -> dict[Op, tuple[float, float]]:
    seen: dict[Op, tuple[float, float]] = {}
    run(graph, [as_input(graph, images)], lambda op, a: seen.update({op: (float(a.min()), float(a.max()))}))
    return seen


def test_every_value_has_the_range_that_its_group_needs() -> None:
    graph, images = vit(), pictures(9)
    calibrated = calibrate(graph, [images[:4], images[4:]], PLAIN)
    verify(calibrated)
    assert calibrated.form is Form.CALIBRATED
    seen = extremes(graph, stack_images(graph, [images]))
    assert [op.NAME for op in calibrated.ops] == [op.NAME for op in graph.ops]
    for op, new in zip(graph.ops, calibrated.ops, strict=True):
        if isinstance(op, Const):
            continue
        lo, hi = new.type.range or (np.nan, np.nan)
        if isinstance(op, Softmax):
            assert (lo, hi) == real_limits(INT8_POLICY.fixed[Softmax], QuantConfig().activation_spec())
        else:
            assert lo <= min(seen[op][0], 0) + 1e-5
            assert max(seen[op][1], 0) - 1e-5 <= hi
        if isinstance(op, Add):
            assert (lo, hi) == pytest.approx((min(seen[op][0], 0), max(seen[op][1], 0)), rel=1e-5)
    sharing = share_grids(calibrated, INT8_POLICY)
    assert all(len({op.type.range for op in group.members}) == 1 for group in sharing.groups)


def test_results_do_not_depend_on_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, images = vit(), pictures(7)
    whole = calibrate(graph, [images], PLAIN)
    monkeypatch.setattr(module, "_SLICE_BYTES", 1)
    parts = calibrate(graph, [images], PLAIN)
    for a, b in zip(whole.ops, parts.ops, strict=True):
        assert (a.type.range is None) == (b.type.range is None)
        if a.type.range is not None and b.type.range is not None:
            assert a.type.range == pytest.approx(b.type.range, rel=1e-5)


def test_the_mean_of_a_layer_is_kept_behind_quantized_layers() -> None:
    graph, x = mlp(), vectors(256)
    config = QuantConfig(weight_bits=4, weights="per-tensor")
    calibrated = calibrate(graph, [x], config)
    moved = np.abs(biases(graph)["fc2"] - biases(calibrated)["fc2"]).max()
    assert moved > 1e-3
    off = calibrate(graph, [x], config.model_copy(update={"bias_correction": False}))
    assert all((biases(graph)[loc] == biases(off)[loc]).all() for loc in ("fc1", "fc2"))


def biases(graph: Graph) -> dict[str, Numbers]:
    return {op.loc: op.bias.data for op in graph.ops if isinstance(op, Linear) and isinstance(op.bias, Const)}


def test_matched_ranges_clip_what_a_relu_drops() -> None:
    graph, x = mlp(), vectors(256)
    plain, matched = (calibrate(graph, [x], QuantConfig(match_results=on)) for on in (False, True))
    ranges = [
        next(op.type.range for op in g.ops if op.loc == "fc1" and isinstance(op, Linear)) for g in (plain, matched)
    ]
    assert ranges[0] is not None
    assert ranges[1] is not None
    assert ranges[1][0] > 0.5 * ranges[0][0]
    assert ranges[1][1] > 0.8 * ranges[0][1]


@pytest.mark.parametrize("name", sorted(OBSERVERS))
@pytest.mark.parametrize("sequential", [False, True])
def test_all_observers_calibrate_a_vit(name: str, sequential: bool) -> None:
    config = QuantConfig.model_validate({"observer": name, "sequential": sequential})
    verify(calibrate(vit(depth=1), [pictures(4)], config))


def test_one_image_is_enough() -> None:
    verify(calibrate(vit(), [pictures(1)], QuantConfig()))


def test_a_moderate_percentile_narrows_ranges() -> None:
    graph, images = vit(), pictures(32)
    config = PLAIN.model_copy(
        update={"layers": (LayerOverride(match="blocks.0.mlp.fc1", observer="percentile", percentile=95),)}
    )
    wide, narrow = calibrate(graph, [images], PLAIN), calibrate(graph, [images], config)
    for a, b in zip(wide.ops, narrow.ops, strict=True):
        if a.type.range is None or b.type.range is None:
            continue
        if a.loc == "blocks.0.mlp.fc1":
            assert b.type.range[1] < 0.8 * a.type.range[1]
        else:
            assert a.type.range == b.type.range


def test_progress_counts_to_the_end() -> None:
    calls: list[tuple[int, int]] = []
    graph = vit()
    calibrate(graph, [pictures(3)], QuantConfig(), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (3 + len(graph.ops), 3 + len(graph.ops))
    assert all(a[0] < b[0] for a, b in itertools.pairwise(calls))
    assert {total for _, total in calls} == {calls[-1][1]}


def test_a_constant_activation_is_noted_and_gets_a_range() -> None:
    rng = np.random.default_rng(0)
    x = features(4)
    dead = Relu(linear(x, 3, rng, "dead", scale=0.0), loc="dead")
    off = Linear(dead, constant(np.zeros((2, 3))), constant(np.zeros(2)), loc="zero")
    notes: list[Note] = []
    calibrated = calibrate(Graph.of("g", [off], inputs=[x]), [vectors(5, 4)], PLAIN, notes=notes)
    verify(calibrated)
    assert ("zero", "linear is constant (0) on the calibration images") in [(note.loc, note.text) for note in notes]
    lo, hi = calibrated.outputs[0].type.range or (1, 0)
    assert lo <= 0 <= hi
    assert lo < hi


def test_too_many_images_for_sequential_calibration_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY_BYTES", 3 * live_bytes(vit()))
    notes: list[Note] = []
    calibrate(vit(), [pictures(5)], QuantConfig(), notes=notes)
    assert [note.text for note in notes] == ["sequential calibration uses 3 of 5 images: more do not fit in its memory"]


@pytest.mark.parametrize("sequential", [False, True])
def test_nan_is_located(sequential: bool) -> None:
    graph = vit()
    bad = next(op for op in graph.ops if op.loc == "blocks.1.mlp.fc1" and isinstance(op, Linear))
    assert isinstance(bad.weight, Const)
    bad.weight.data[0, 0] = np.nan
    with pytest.raises(QuantError, match="NaN") as caught:
        calibrate(graph, [pictures(2)], QuantConfig(sequential=sequential))
    assert caught.value.where == "blocks.1.mlp.fc1"


def test_what_cannot_be_calibrated_says_why() -> None:
    graph = vit()
    with pytest.raises(QuantError, match="no images") as caught:
        calibrate(graph, [], PLAIN)
    assert "--calib" in caught.value.hint
    with pytest.raises(QuantError, match="no images"):
        calibrate(graph, [np.zeros((0, 8, 8, 3), np.uint8)], PLAIN)
    with pytest.raises(QuantError, match=r"\[2, 9, 9, 3\]"):
        calibrate(graph, [np.zeros((2, 9, 9, 3), np.uint8)], PLAIN)
    with pytest.raises(QuantError, match="not finite"):
        calibrate(graph, [np.full((1, 8, 8, 3), np.nan, np.float32)], PLAIN)
    with pytest.raises(QuantError, match="calibrated form"):
        calibrate(calibrate(graph, [pictures(1)], PLAIN), [pictures(1)], PLAIN)
    with pytest.raises(UsageError, match="no layer matches"):
        calibrate(graph, [pictures(1)], QuantConfig(layers=(LayerOverride(match="nope"),)))


def test_slices_cover_all_samples_within_the_limit() -> None:
    parts = list(slices(10, 3, 9))
    assert [(part.start, part.stop) for part in parts] == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert list(slices(2, 100, 9)) == [slice(0, 1), slice(1, 2)]


def test_live_bytes_counts_what_is_alive_at_once() -> None:
    x = features(10)
    a = Relu(x)
    assert live_bytes(Graph.of("g", [Relu(Relu(a))])) == 2 * 40
    assert live_bytes(Graph.of("g", [Add(Relu(a), x)])) == 3 * 40


def test_a_walk_that_changes_nothing_is_a_run() -> None:
    graph, images = vit(), stack_images(vit(), [pictures(5)]).astype(np.float32)
    last: list[Numbers] = []

    def visit(op: Op, arrays: list[Numbers]) -> Numbers:
        value = arrays[0] if op.NAME == "input" else evaluate_all(op, op.operands, arrays, len(images))
        if op is graph.outputs[0]:
            last.append(value)
        return value

    walk(graph, images, visit)
    np.testing.assert_allclose(last[0], run(graph, [images])[0], rtol=1e-4, atol=1e-4)


def test_fake_quantized_ranges_are_those_of_the_grid() -> None:
    spec = QuantConfig().activation_spec()
    quant = range_grid(-1.0, 2.0, spec)
    lo, hi = real_limits(quant, spec)
    wide = fake_quantize(np.array([-100.0, 100.0]), quant, spec)
    np.testing.assert_allclose(wide, [lo, hi], rtol=1e-6)
