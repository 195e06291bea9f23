"""FULLY_CONNECTED, CONV_2D and DEPTHWISE_CONV_2D equal LiteRT's reference kernels bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgevit.errors import BackendError, QuantError
from edgevit_coral.execute import run_model
from edgevit_coral.kernels.conv import output_extent
from edgevit_coral.model import TensorSpec
from tests.coral.kernel_models import (
    ACTIVATIONS,
    SEEDS,
    ZERO_POINTS,
    Array,
    assert_exact,
    examples,
    litert,
    model,
    random_int8,
    scales,
    tensor,
)
from tests.tools import requires

pytestmark = requires("litert")

# Ratio of the output scale to that of the accumulator: below 1 is a multiplier above 1.
RATIOS = scales(-3, 16)
CHANNEL_SCALES = scales(-9, 0)


def bias(seed: int, scale: float, units: int) -> TensorSpec:
    data = np.random.default_rng(seed).integers(-30000, 30000, units).astype(np.int32)
    return tensor((units,), scale, dtype="int32", data=data)


def channel_scales(seed: int, count: int) -> list[float]:
    return [float(s) for s in 2.0 ** np.random.default_rng(seed).uniform(-9, 0, count)]


@examples(80)
@given(
    SEEDS,
    st.integers(1, 6),
    st.integers(1, 300),
    st.integers(1, 12),
    scales(-9, 0),
    scales(-9, 0),
    RATIOS,
    ZERO_POINTS,
    ZERO_POINTS,
    ZERO_POINTS,
    ACTIVATIONS,
    st.booleans(),
    st.booleans(),
)
def test_fully_connected(
    seed: int,
    rows: int,
    depth: int,
    units: int,
    x_scale: float,
    w_scale: float,
    ratio: float,
    x_zero: int,
    w_zero: int,
    out_zero: int,
    activation: str,
    with_bias: bool,
    computed_weights: bool,
) -> None:
    product = float(np.float32(x_scale) * np.float32(w_scale))
    weights = random_int8(seed + 1, 2 if computed_weights else 1, units, depth)
    x = tensor((rows, depth), x_scale, x_zero)
    w = tensor((units, depth), w_scale, w_zero, data=None if computed_weights else weights[0])
    output = tensor((rows, units), product * ratio, out_zero)
    assume(output.scale[0] > 0)
    given_bias = bias(seed, product, units) if with_bias else None
    one = model("FULLY_CONNECTED", [x, w, given_bias], output, 4, fused_activation_function=activation)
    values = random_int8(seed, 2, rows, depth)
    assert_exact(one, values, *([weights] if computed_weights else []))


@examples(40)
@given(SEEDS, st.integers(1, 4), st.integers(1, 200), st.integers(2, 12), RATIOS, ZERO_POINTS, ZERO_POINTS)
def test_fully_connected_per_channel(
    seed: int, rows: int, depth: int, units: int, ratio: float, x_zero: int, out_zero: int
) -> None:
    x = tensor((1, rows, depth), 0.03, x_zero)
    w = tensor((units, depth), channel_scales(seed, units), data=random_int8(seed + 1, units, depth))
    output = tensor((1, rows, units), 0.003 * ratio, out_zero)
    one = model("FULLY_CONNECTED", [x, w, bias(seed, 0.01, units)], output, 5, keep_num_dims=True)
    assert_exact(one, random_int8(seed, 2, 1, rows, depth))


def test_fully_connected_rounds_once_where_convolution_rounds_twice() -> None:
    # -162 * 0.3601 = -58.34: rounded to -116.68 / 2 = -117 / 2 first, it would become -59.
    x = np.array([[[-81]]], dtype=np.int8)
    weight = np.array([[2]], dtype=np.int8)
    scale = float(np.float32(0.36010566))
    linear = model(
        "FULLY_CONNECTED", [tensor((1, 1), scale), tensor((1, 1), 1.0, data=weight), None], tensor((1, 1), 1.0), 4
    )
    convolution = model(
        "CONV_2D",
        [
            tensor((1, 1, 1, 1), scale),
            tensor((1, 1, 1, 1), 1.0, data=weight.reshape(1, 1, 1, 1)),
            tensor((1,), scale, dtype="int32", data=np.zeros(1, dtype=np.int32)),
        ],
        tensor((1, 1, 1, 1), 1.0),
        3,
        padding="VALID",
        stride_h=1,
        stride_w=1,
    )
    assert assert_exact(linear, x).item() == -58
    assert assert_exact(convolution, x.reshape(1, 1, 1, 1, 1)).item() == -59


def test_batches_do_not_mix() -> None:
    # Larger than one block, with constant and computed weights.
    x, weights = random_int8(1, 40, 70, 64), random_int8(2, 40, 90, 64)
    specs = [tensor((70, 64), 0.05, 3), tensor((90, 64), 0.02, -7), None]
    computed = model("FULLY_CONNECTED", specs, tensor((70, 90), 0.3, 5), 4)
    assert_exact(computed, x, weights)
    for sample in (0, 17):
        fixed = model(
            "FULLY_CONNECTED",
            [specs[0], tensor((90, 64), 0.02, -7, data=weights[sample]), None],
            tensor((70, 90), 0.3, 5),
            4,
        )
        np.testing.assert_array_equal(run_model(fixed, [x])[0][sample], run_model(computed, [x, weights])[0][sample])


def window(
    seed: int, height: int, width: int, kernel: tuple[int, int], stride: tuple[int, int], dilation: int, padding: str
) -> tuple[int, int, dict[str, str | int]]:
    """Output size and options of a window; rejects those that do not fit."""
    reach = [(k - 1) * dilation + 1 for k in kernel]
    assume(padding == "SAME" or (reach[0] <= height and reach[1] <= width))
    assume(dilation == 1 or stride == (1, 1))
    out_h = output_extent(height, kernel[0], stride[0], dilation, padding)[0]
    out_w = output_extent(width, kernel[1], stride[1], dilation, padding)[0]
    options: dict[str, str | int] = {"padding": padding, "stride_h": stride[0], "stride_w": stride[1]}
    return out_h, out_w, {**options, "dilation_h_factor": dilation, "dilation_w_factor": dilation}


KERNELS = st.tuples(st.integers(1, 4), st.integers(1, 4))
STRIDES = st.tuples(st.integers(1, 3), st.integers(1, 3))
SIDES = st.integers(1, 9)


@examples(60)
@given(
    SEEDS,
    SIDES,
    SIDES,
    KERNELS,
    STRIDES,
    st.integers(1, 2),
    st.sampled_from(["SAME", "VALID"]),
    st.integers(1, 5),
    st.sampled_from([1, 1, 2, 3]),
    st.integers(1, 4),
    RATIOS,
    ZERO_POINTS,
    ZERO_POINTS,
    ACTIVATIONS,
)
def test_conv_2d(
    seed: int,
    height: int,
    width: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: int,
    padding: str,
    depth: int,
    groups: int,
    per_group: int,
    ratio: float,
    x_zero: int,
    out_zero: int,
    activation: str,
) -> None:
    out_h, out_w, options = window(seed, height, width, kernel, stride, dilation, padding)
    channels, outputs = depth * groups, per_group * groups
    x = tensor((1, height, width, channels), 0.02, x_zero)
    w = tensor(
        (outputs, *kernel, depth), channel_scales(seed, outputs), data=random_int8(seed + 1, outputs, *kernel, depth)
    )
    output = tensor((1, out_h, out_w, outputs), 0.002 * ratio, out_zero)
    one = model(
        "CONV_2D", [x, w, bias(seed, 0.01, outputs)], output, 3, fused_activation_function=activation, **options
    )
    assert_exact(one, random_int8(seed, 2, 1, height, width, channels))


@examples(50)
@given(
    SEEDS,
    SIDES,
    SIDES,
    KERNELS,
    STRIDES,
    st.integers(1, 2),
    st.sampled_from(["SAME", "VALID"]),
    st.integers(1, 5),
    st.integers(1, 3),
    RATIOS,
    ZERO_POINTS,
    ZERO_POINTS,
    ACTIVATIONS,
)
def test_depthwise_conv_2d(
    seed: int,
    height: int,
    width: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: int,
    padding: str,
    channels: int,
    multiplier: int,
    ratio: float,
    x_zero: int,
    out_zero: int,
    activation: str,
) -> None:
    assume(stride[0] == stride[1])
    out_h, out_w, options = window(seed, height, width, kernel, stride, dilation, padding)
    outputs = channels * multiplier
    x = tensor((1, height, width, channels), 0.02, x_zero)
    w = tensor(
        (1, *kernel, outputs), channel_scales(seed, outputs), data=random_int8(seed + 1, 1, *kernel, outputs), axis=3
    )
    output = tensor((1, out_h, out_w, outputs), 0.002 * ratio, out_zero)
    one = model(
        "DEPTHWISE_CONV_2D",
        [x, w, bias(seed, 0.01, outputs)],
        output,
        3,
        fused_activation_function=activation,
        depth_multiplier=multiplier,
        **options,
    )
    assert_exact(one, random_int8(seed, 2, 1, height, width, channels))


def linear(x: Array, w: TensorSpec, out_scale: float, **kwargs: TensorSpec) -> Array:
    rows, depth = x.shape[1:]
    specs = [tensor((rows, depth), 0.5), w, kwargs.get("bias")]
    return run_model(model("FULLY_CONNECTED", specs, tensor((rows, w.shape[0]), out_scale), 4), [x])[0]


def test_overflow_is_refused() -> None:
    x, ones = np.full((1, 1, 64), 127, np.int8), tensor((1, 64), 0.5, data=np.full((1, 64), 127, np.int8))
    with pytest.raises(QuantError, match="overflows 32 bits"):
        linear(x, ones, 2.0**-12 * 0.25**2 / 64)
    huge = tensor((1,), 0.25, dtype="int32", data=np.array([2**31 - 1], dtype=np.int32))
    with pytest.raises(QuantError, match="overflows 32 bits"):
        linear(x, ones, 0.5, bias=huge)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"padding": "VALID"}, "a window of 3 by 0"),
        ({"padding": "VALID", "stride_h": 1, "stride_w": 1}, "a window of 3 on an axis of 2"),
        ({"padding": "FULL", "stride_h": 1, "stride_w": 1}, "padding FULL"),
    ],
)
def test_windows_that_do_not_fit_are_refused(options: dict[str, str | int], why: str) -> None:
    w = tensor((4, 3, 3, 1), 0.1, data=random_int8(2, 4, 3, 3, 1))
    one = model("CONV_2D", [tensor((1, 2, 2, 1), 0.1), w, None], tensor((1, 1, 1, 4), 0.1), 3, **options)
    with pytest.raises(QuantError, match=why):
        run_model(one, [random_int8(1, 1, 1, 2, 2, 1)])


def test_a_bias_on_another_grid_is_refused_by_both() -> None:
    x, w = random_int8(1, 1, 2, 3), tensor((4, 3), 0.1, data=random_int8(2, 4, 3))
    wrong = tensor((4,), 0.02, dtype="int32", data=np.zeros(4, dtype=np.int32))
    one = model("FULLY_CONNECTED", [tensor((2, 3), 0.1), w, wrong], tensor((2, 4), 0.1), 4)
    with pytest.raises(QuantError, match="bias on another grid"):
        run_model(one, [x])
    with pytest.raises(RuntimeError, match="scale_diff"):
        litert(one, [x])


def test_a_shape_that_the_file_denies_is_refused() -> None:
    w = tensor((4, 3), 0.1, data=random_int8(2, 4, 3))
    one = model("FULLY_CONNECTED", [tensor((2, 3), 0.1), w, None], tensor((2, 5), 0.1), 4)
    with pytest.raises(BackendError, match=r"gives int8\[2, 4\], the file says int8\[2, 5\]"):
        run_model(one, [random_int8(1, 1, 2, 3)])
