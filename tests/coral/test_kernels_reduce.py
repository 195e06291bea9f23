"""Reductions, normalizations and pooling equal LiteRT's reference kernels bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgevit.errors import QuantError
from edgevit_coral.execute import run_model
from edgevit_coral.kernels.conv import output_extent
from edgevit_coral.model import TensorSpec, TfliteModel
from tests.coral.kernel_models import (
    ACTIVATIONS,
    EVERY_INT8,
    SEEDS,
    ZERO_POINTS,
    assert_exact,
    examples,
    integers,
    litert,
    model,
    random_int8,
    scales,
    tensor,
)
from tests.tools import requires

pytestmark = requires("litert")

SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)
AXES = st.lists(st.integers(-4, 3), min_size=1, max_size=4)


def reduced(shape: tuple[int, ...], axes: list[int], keep_dims: bool) -> tuple[int, ...]:
    assume(all(-len(shape) <= axis < len(shape) for axis in axes))
    resolved = tuple({axis % len(shape) for axis in axes})
    result: tuple[int, ...] = np.empty(shape, np.int8).sum(axis=resolved, keepdims=keep_dims).shape
    return result


@examples(80)
@given(SEEDS, SHAPES, AXES, st.booleans(), scales(-9, 3), scales(-7, 5), ZERO_POINTS, ZERO_POINTS)
def test_mean(
    seed: int,
    shape: tuple[int, ...],
    axes: list[int],
    keep: bool,
    scale: float,
    ratio: float,
    x_zero: int,
    out_zero: int,
) -> None:
    output = tensor(reduced(shape, axes, keep), scale * ratio, out_zero)
    one = model("MEAN", [tensor(shape, scale, x_zero), integers(*axes)], output, keep_dims=keep)
    assert_exact(one, random_int8(seed, 2, *shape))


@pytest.mark.parametrize("count", [1, 2, 3, 127, 128, 192, 197, 1000, 4096])
@pytest.mark.parametrize("ratio", [2.0**-31, 2.0**-10, 0.3, 1.0, 3.0, 2.0**30, 2.0**33])
def test_mean_folds_the_count_into_its_multiplier(count: int, ratio: float) -> None:
    one = model("MEAN", [tensor((count,), 1.0, 3), integers(0)], tensor((1,), 1 / ratio, -4), keep_dims=True)
    x = np.clip(random_int8(count, 20, count) // 64 + 3, -128, 127).astype(np.int8)
    try:
        run_model(one, [x])
    except QuantError:
        assert ratio > 2.0**20  # C++ overflows there
        return
    assert_exact(one, x)


@pytest.mark.parametrize(
    ("count", "scale", "total", "stored"),
    [
        (95, 1.5765310525894165, -12322, -204),
        (1786, 1.560546875, -141341, -123),
        (622, 1.7947136163711548, -18541, -53),
    ],
)
def test_mean_floors_its_multiplier(count: int, scale: float, total: int, stored: int) -> None:
    # Sums at which the nearest multiplier would give one less.
    even, rest = divmod(total, count)
    x = np.full((1, count), 127 + even, dtype=np.int8)
    x[0, :rest] += 1
    one = model("MEAN", [tensor((count,), scale, 127), integers(0)], tensor((1,), 1.0, 100), keep_dims=True)
    assert assert_exact(one, x).item() == max(stored + 100, -128)


@examples(40)
@given(SEEDS, SHAPES, AXES, st.booleans(), ZERO_POINTS)
def test_reduce_max(seed: int, shape: tuple[int, ...], axes: list[int], keep: bool, zero: int) -> None:
    output = tensor(reduced(shape, axes, keep), 0.5, zero)
    one = model("REDUCE_MAX", [tensor(shape, 0.5, zero), integers(*axes)], output, keep_dims=keep)
    assert_exact(one, random_int8(seed, 2, *shape))


def shifted(spec: TensorSpec) -> TensorSpec:
    """The same real values in uint8."""
    return tensor(spec.shape, spec.scale, spec.zero_point[0] + 128, dtype="uint8")


@examples(40)
@given(SEEDS, SHAPES, AXES, st.booleans(), scales(-9, 3), scales(-4, 9), ZERO_POINTS, ZERO_POINTS)
def test_sum_equals_the_uint8_sum_on_the_shifted_grid(
    seed: int,
    shape: tuple[int, ...],
    axes: list[int],
    keep: bool,
    scale: float,
    ratio: float,
    x_zero: int,
    out_zero: int,
) -> None:
    x, axis = tensor(shape, scale, x_zero), integers(*axes)
    output = tensor(reduced(shape, axes, keep), scale * ratio, out_zero)
    values = random_int8(seed, 2, *shape)
    (ours,) = run_model(model("SUM", [x, axis], output, keep_dims=keep), [values])
    theirs = litert(
        model("SUM", [shifted(x), axis], shifted(output), keep_dims=keep), [(values.view(np.uint8) ^ 128).copy()]
    )
    np.testing.assert_array_equal(ours, (theirs ^ 128).view(np.int8))


def test_the_reference_resolver_reads_an_int8_sum_as_uint8() -> None:
    # The day this fails, SUM can be compared like all other operators.
    one = model("SUM", [tensor((1, 2), 0.5), integers(1)], tensor((1,), 1.0))
    x = np.array([[[-2, 0]]], dtype=np.int8)
    assert run_model(one, [x])[0].item() == -1
    assert litert(one, [x]).item() == 127
    assert litert(one, [x], "BUILTIN_WITHOUT_DEFAULT_DELEGATES").item() == -1


@examples(60)
@given(SEEDS, st.integers(1, 5), st.integers(1, 400), scales(-9, 3), ZERO_POINTS, st.sampled_from([1, 1, 16, 100, 300]))
def test_l2_normalization(seed: int, rows: int, depth: int, scale: float, zero: int, shrink: int) -> None:
    one = model("L2_NORMALIZATION", [tensor((rows, depth), scale, zero)], tensor((rows, depth), 1 / 128))
    x = random_int8(seed, 2, rows, depth).astype(np.int64)
    assert_exact(one, np.clip((x - zero) // shrink + zero, -128, 127).astype(np.int8))


def test_l2_normalization_of_every_value_beside_every_other() -> None:
    pairs = np.stack(np.meshgrid(EVERY_INT8[0], EVERY_INT8[0]), axis=-1).reshape(1, -1, 2)
    one = model("L2_NORMALIZATION", [tensor((65536, 2), 0.1)], tensor((65536, 2), 1 / 128))
    result = assert_exact(one, pairs)
    assert np.all(result[pairs == 0] == 0)


@examples(60)
@given(
    SEEDS, st.integers(1, 5), st.integers(1, 400), scales(-12, 6), ZERO_POINTS, st.sampled_from([1.0, 1.0, 0.125, 0.1])
)
def test_softmax(seed: int, rows: int, depth: int, scale: float, zero: int, beta: float) -> None:
    one = model("SOFTMAX", [tensor((rows, depth), scale, zero)], tensor((rows, depth), 1 / 256, -128), beta=beta)
    assert_exact(one, random_int8(seed, 2, rows, depth))


@pytest.mark.parametrize("scale", [2.0**-25, 1e-3, 0.0625, 0.1, 1.0, 7.3, 64.0, 1e6])
def test_softmax_of_every_difference(scale: float) -> None:
    # Rows (127, v): the exponential of every difference alone.
    rows = np.stack([np.full(256, 127, dtype=np.int8), EVERY_INT8[0]], axis=-1)[None]
    one = model("SOFTMAX", [tensor((256, 2), scale)], tensor((256, 2), 1 / 256, -128), beta=1.0)
    assert_exact(one, rows)


def test_softmax_is_refused_where_the_reference_kernel_aborts() -> None:
    def run(depth: int) -> None:
        one = model("SOFTMAX", [tensor((1, depth), 0.1)], tensor((1, depth), 1 / 256, -128), beta=1.0)
        run_model(one, [np.zeros((1, 1, depth), dtype=np.int8)])

    run(511)
    with pytest.raises(QuantError, match="512 or more exponentials"):
        run(512)


GRIDS = [
    (model("SOFTMAX", [tensor((1, 2), 0.1)], tensor((1, 2), 1 / 256), beta=1.0), "off the grid 1/256"),
    (model("SOFTMAX", [tensor((1, 2), 2.0**-26)], tensor((1, 2), 1 / 256, -128), beta=1.0), "beta"),
    (model("L2_NORMALIZATION", [tensor((1, 2), 0.1)], tensor((1, 2), 1 / 64)), "off the grid 1/128"),
    (model("MEAN", [tensor((1, 2), 1.0), integers(5)], tensor((1, 2), 1.0)), "axes"),
    (model("REDUCE_MAX", [tensor((1, 2), 1.0), integers(0)], tensor((2,), 2.0)), "different grids"),
]


@pytest.mark.parametrize(("one", "why"), GRIDS)
def test_what_tflite_refuses_is_refused(one: TfliteModel, why: str) -> None:
    with pytest.raises(QuantError, match=why):
        run_model(one, [random_int8(1, 1, 1, 2)])


@examples(60)
@given(
    SEEDS,
    st.sampled_from(["AVERAGE_POOL_2D", "MAX_POOL_2D"]),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 3),
    st.sampled_from(["SAME", "VALID"]),
    ZERO_POINTS,
    ACTIVATIONS,
)
def test_pooling(
    seed: int,
    name: str,
    height: int,
    width: int,
    kernel_h: int,
    kernel_w: int,
    stride: int,
    padding: str,
    zero: int,
    activation: str,
) -> None:
    assume(padding == "SAME" or (kernel_h <= height and kernel_w <= width))
    out_h = output_extent(height, kernel_h, stride, 1, padding)[0]
    out_w = output_extent(width, kernel_w, stride, 1, padding)[0]
    one = model(
        name,
        [tensor((1, height, width, 3), 0.05, zero)],
        tensor((1, out_h, out_w, 3), 0.05, zero),
        padding=padding,
        stride_h=stride,
        stride_w=stride,
        filter_height=kernel_h,
        filter_width=kernel_w,
        fused_activation_function=activation,
    )
    assert_exact(one, random_int8(seed, 2, 1, height, width, 3))
