from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevit.ir import ops
from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.op import Op
from edgevit.ir.ops import Const
from edgevit.ir.types import DType, Quant
from edgevit.ir.verify import verify
from edgevit_coral import ops as tfl
from edgevit_coral.input_grid import declare_signed_pixels
from tests.coral.quantized_graphs import SAMPLES, assert_same_as_litert, const, image, lowered, quantized
from tests.tools import requires


def patches(channels: int = 4, *, weights: str = "per-tensor") -> Graph:
    """A patch embedding without padding, lowered."""
    conv = ops.Conv2d(image(8), const(channels, 4, 4, 3), const(channels, scale=50.0), stride=(4, 4))
    return lowered(quantized(ops.Relu(conv), weights=weights)[0])


def normalization() -> Graph:
    """A depthwise 1x1 convolution, then a padded convolution."""
    normal = ops.Conv2d(image(8), const(3, 1, 1, 1, scale=0.02), const(3), groups=3)
    return lowered(quantized(ops.Conv2d(normal, const(4, 3, 3, 3), padding=(1, 1, 1, 1)))[0])


def pixels(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 256, (SAMPLES, 1, 8, 8, 3))
    return np.where(rng.random(found.shape) < 0.2, rng.choice([0, 255], found.shape), found).astype(np.uint8)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["per-tensor", "per-channel"]))
def test_results_stay_equal_bit_for_bit(seed: int, weights: str) -> None:
    for graph in (patches(weights=weights), normalization()):
        moved = declare_signed_pixels(graph)
        verify(moved)
        given = pixels(seed)
        (before,), (after,) = run(graph, [given]), run(moved, [given])
        np.testing.assert_array_equal(before, after)


@requires("litert")
@pytest.mark.parametrize("build", [patches, normalization])
def test_the_moved_graph_equals_litert(build: object) -> None:
    assert callable(build)
    assert_same_as_litert(declare_signed_pixels(build()), [pixels()])


def test_the_declared_grid_is_what_classify_image_takes_raw() -> None:
    moved = declare_signed_pixels(patches())
    assert moved.inputs[0].type.dtype is DType.U8
    assert moved.inputs[0].type.quant == Quant.per_tensor(1 / 128, 128)
    (signed,) = (op for op in moved.ops if isinstance(op, tfl.Requantize))
    assert (signed.type.dtype, signed.type.quant) == (DType.I8, Quant.per_tensor(1 / 128, 0))


def test_the_bias_takes_what_the_zero_point_takes_away() -> None:
    graph = patches()
    (before,), (after,) = (
        [op for op in g.ops if isinstance(op, tfl.Conv2D)] for g in (graph, declare_signed_pixels(graph))
    )
    assert isinstance(before.filter, Const)
    assert isinstance(after.filter, Const)
    assert isinstance(before.bias, Const)
    assert isinstance(after.bias, Const)
    assert np.array_equal(before.filter.data, after.filter.data)
    sums = before.filter.data.astype(np.int64).sum(axis=(1, 2, 3))
    assert np.array_equal(after.bias.data, before.bias.data + 128 * sums)
    old, new = before.filter.type.quant, after.filter.type.quant
    assert old is not None
    assert new is not None
    assert [float(s) for s in new.scale] == [128 * float(s) for s in old.scale]
    assert after.bias.type == before.bias.type


def padded() -> Op:
    return ops.Conv2d(image(8), const(4, 3, 3, 3), padding=(1, 1, 1, 1))


def padded_apart() -> Op:
    return ops.Conv2d(image(8), const(4, 3, 3, 3), padding=(2, 0, 0, 0))


def summed() -> Op:
    return ops.Add(image(8), const(3))


@pytest.mark.parametrize("build", [padded, padded_apart, summed])
def test_readers_that_would_see_another_zero_are_refused(build: object) -> None:
    assert callable(build)
    graph = lowered(quantized(build())[0])
    assert declare_signed_pixels(graph) is graph


def test_one_reader_that_cannot_move_keeps_all() -> None:
    pixel = image(8)
    first = ops.Conv2d(pixel, const(4, 4, 4, 3), stride=(4, 4))
    graph = lowered(quantized([first, ops.Sigmoid(pixel)])[0])
    assert declare_signed_pixels(graph) is graph


def test_a_change_to_another_step_is_no_pixel_any_more() -> None:
    graph = patches()
    coarse = Quant.per_tensor(2.0, -128)
    changed = graph.map(
        lambda op: op.with_type(replace(op.type, quant=coarse)) if isinstance(op, tfl.Requantize) else op
    )
    verify(changed)
    assert declare_signed_pixels(changed) is changed


def test_an_image_that_nothing_reads_is_left_alone() -> None:
    graph = patches()
    unread = Graph.of("g", [Const(np.zeros(1, np.int8))], inputs=graph.inputs, form=graph.form)
    assert declare_signed_pixels(unread) is unread
