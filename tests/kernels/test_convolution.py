"""Integer convolution: the numpy form equals the specification over all geometries, and nothing leaves 32 bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevit.errors import QuantError
from edgevit_kernels.convolution import ref, spec
from edgevit_kernels.matmul import ref as matmul
from edgevit_kernels.requantize.spec import INT8, INT32, UINT8
from tests.tools import requires

few = settings(max_examples=60, deadline=None)
PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, spec.Params]:
    """Images and weights with many extreme values; strides, dilations, uneven padding, groups, depthwise."""
    groups, depth, per_group = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    kernel, dilation = draw(PAIR), draw(PAIR)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    padding = tuple(draw(st.tuples(*[st.integers(0, 2)] * 4)))
    size = [max(1, reach[i] - padding[2 * i] - padding[2 * i + 1] + draw(st.integers(0, 4))) for i in range(2)]
    limits = draw(st.sampled_from([INT8, UINT8]))
    outputs = groups * per_group
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.integers(limits[0], limits[1] + 1, (2, *size, groups * depth))
    x = np.where(rng.random(x.shape) < 0.3, rng.choice(limits, x.shape), x)
    weights = rng.choice([-128, 127, 1, 0, -77], (outputs, *kernel, depth))
    per_channel = draw(st.booleans())
    scale = [float(s) for s in rng.uniform(0.01, 1, outputs)] if per_channel else 0.2
    zeros = draw(st.integers(*limits)), 0 if per_channel else draw(st.integers(*INT8))
    params = ref.prepare(
        spec.Operand(0.03, zeros[0], limits),
        spec.Operand(scale, zeros[1]),
        draw(st.floats(0.1, 100)),
        -5,
        weights=weights,
        bias=draw(st.none() | st.lists(st.integers(-(2**20), 2**20), min_size=outputs, max_size=outputs)),
        window=spec.Window(draw(PAIR), padding, dilation, groups),  # type: ignore[arg-type]
    )
    return x, weights, params


@few
@given(convolutions())
def test_ref_is_spec(case: tuple[np.ndarray, np.ndarray, spec.Params]) -> None:
    x, weights, params = case
    acc = ref.accumulate(x, weights, params)
    assert acc.tolist() == [spec.accumulate(image, weights.tolist(), params) for image in x.tolist()]
    assert np.abs(acc).max() <= params.max_accumulator <= INT32[1]
    assert ref.apply(x, weights, params).tolist() == [
        spec.apply(image, weights.tolist(), params) for image in x.tolist()
    ]


@requires("torch")
def test_against_torch() -> None:
    """A definition that is not ours: float64 convolution of the centred integers, exact far below 2**53."""
    import torch

    rng = np.random.default_rng(1)
    x, weights = rng.integers(0, 256, (2, 9, 11, 6)), rng.integers(-127, 128, (4, 3, 2, 3))
    window = spec.Window((2, 3), (1, 1, 2, 2), (2, 1), 2)
    params = ref.prepare(spec.Operand(1.0, 31, UINT8), spec.Operand(1.0), 1e4, weights=weights, window=window)
    expected = torch.nn.functional.conv2d(
        torch.tensor(x - 31).double().permute(0, 3, 1, 2),
        torch.tensor(weights).double().permute(0, 3, 1, 2),
        stride=(2, 3),
        padding=(1, 2),
        dilation=(2, 1),
        groups=2,
    )
    assert ref.accumulate(x, weights, params).tolist() == expected.permute(0, 2, 3, 1).long().tolist()


def test_an_unpadded_patch_embedding_is_a_matrix_product() -> None:
    rng = np.random.default_rng(2)
    x, weights = rng.integers(-128, 128, (3, 8, 8, 3)), rng.integers(-127, 128, (5, 4, 4, 3))
    x_q, w_q = spec.Operand(0.02, 7), spec.Operand([0.1, 0.2, 0.3, 0.4, 0.5])
    bias = [3, -100, 7, 0, 9]
    params = ref.prepare(x_q, w_q, 3, 1, weights=weights, bias=bias, window=spec.Window((4, 4)))
    patches = x.reshape(3, 2, 4, 2, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(3, 2, 2, 48)
    flat = weights.reshape(5, 48)
    product = matmul.prepare(x_q, w_q, 3, 1, depth=48, weights=flat.tolist(), bias=bias)
    assert ref.apply(x, weights, params).tolist() == matmul.apply(patches, flat, product).tolist()
    assert params.max_accumulator == product.max_accumulator


def test_padding_is_real_zero() -> None:
    """With every pixel at the zero point, borders and interior alike give the bias."""
    weights = np.arange(18).reshape(2, 3, 3, 1)
    params = ref.prepare(
        spec.Operand(1.0, -30),
        spec.Operand(1.0),
        1,
        0,
        INT32,
        weights=weights,
        bias=[11, -5],
        window=spec.Window(padding=(1, 1, 1, 1)),
    )
    assert (ref.apply(np.full((1, 4, 4, 1), -30), weights, params) == [11, -5]).all()


@pytest.mark.parametrize("groups", [1, 4], ids=["dense", "depthwise"])
def test_the_bound_is_reached_and_fits(groups: int) -> None:
    """Weights and pixels of the worst signs fill the accumulator up to the bound, to the last unit."""
    weights = np.random.default_rng(4).choice([-128, 127], (4, 3, 3, 4 // groups))
    x_q, bias = spec.Operand(1.0, 0, (-127, 127)), [2**20, -3, 0, 77]
    params = ref.prepare(x_q, spec.Operand(1.0), 1e6, weights=weights, bias=bias, window=spec.Window(groups=groups))
    reached = []
    for output, addend in enumerate(bias):
        image = np.zeros((1, 3, 3, 4), np.int8)
        channels = slice(None) if groups == 1 else slice(output, output + 1)
        image[0, :, :, channels] = 127 * np.sign(weights[output]) * (-1 if addend < 0 else 1)
        reached.append(abs(int(ref.accumulate(image, weights, params)[0, 0, 0, output])))
    assert max(reached) == params.max_accumulator < 2**31


def test_overflow_is_refused() -> None:
    weights = np.full((1, 2, 1, 70_000), 127)
    with pytest.raises(QuantError, match="output channel 0 needs accumulators"):
        ref.prepare(spec.Operand(1.0), spec.Operand(1.0), 1e6, weights=weights)
    fits = ref.prepare(spec.Operand(1.0), spec.Operand(1.0), 1e6, weights=weights[:, :, :, :66_000])
    assert fits.max_accumulator == 128 * 127 * 132_000 < 2**31


def test_impossible_geometries_are_refused() -> None:
    weights = np.ones((4, 3, 3, 2), np.int8)
    x_q, w_q = spec.Operand(1.0), spec.Operand(1.0)
    for window in (spec.Window((0, 1)), spec.Window(padding=(-1, 0, 0, 0)), spec.Window(groups=0)):
        with pytest.raises(QuantError, match="a window of"):
            ref.prepare(x_q, w_q, 1, weights=weights, window=window)
    with pytest.raises(QuantError, match="4 output channels in 3 groups"):
        ref.prepare(x_q, w_q, 1, weights=weights, window=spec.Window(groups=3))
    with pytest.raises(QuantError, match="4 output channels with 2 scales"):
        ref.prepare(x_q, spec.Operand([1.0, 2.0]), 1, weights=weights)
    params = ref.prepare(x_q, w_q, 1, weights=weights)
    for apply in (ref.apply, lambda x, w, p: spec.apply(x.tolist()[0], w.tolist(), p)):
        with pytest.raises(QuantError, match="3 channels in 1 groups of 2"):
            apply(np.zeros((1, 5, 5, 3), int), weights, params)
        with pytest.raises(QuantError, match="3x3 on an image of 2x5"):
            apply(np.zeros((1, 2, 5, 2), int), weights, params)
