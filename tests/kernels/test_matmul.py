"""Integer matrix product: the numpy form equals the specification, and nothing leaves 32 bits."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevit.errors import QuantError
from edgevit_kernels.matmul import ref, spec
from edgevit_kernels.requantize.spec import INT8, INT16, INT32, UINT8

few = settings(max_examples=60, deadline=None)
GRIDS = [INT8, UINT8, INT16]


@st.composite
def products(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, spec.Params]:
    """Operands with many extreme values, and parameters: per tensor or channel, with and without bias and zeros."""
    m, n, k = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 20))
    left, right = draw(st.sampled_from(GRIDS)), draw(st.sampled_from([INT8, UINT8]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    x, w = (_extreme(rng, limits, shape) for limits, shape in ((left, (m, k)), (right, (n, k))))
    per_channel = draw(st.booleans())
    scale = [float(s) for s in rng.uniform(0.01, 1, n)] if per_channel else 0.37
    zeros = draw(st.integers(*left)), 0 if per_channel else draw(st.integers(*right))
    bias = draw(st.none() | st.lists(st.integers(-(2**20), 2**20), min_size=n, max_size=n))
    constant = w.tolist() if draw(st.booleans()) else None
    x_q, w_q = spec.Operand(0.021, zeros[0], left), spec.Operand(scale, zeros[1], right)
    params = spec.prepare(x_q, w_q, draw(st.floats(0.1, 1e3)), 3, depth=k, weights=constant, bias=bias)
    return x, w, params


def _extreme(rng: np.random.Generator, limits: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
    values = rng.integers(limits[0], limits[1] + 1, shape)
    return np.where(rng.random(shape) < 0.5, rng.choice(limits, shape), values)


@few
@given(products())
def test_ref_is_spec(case: tuple[np.ndarray, np.ndarray, spec.Params]) -> None:
    x, w, params = case
    acc = spec.accumulate(x.tolist(), w.tolist(), params)
    assert ref.accumulate(x, w, params).tolist() == acc
    assert max(abs(value) for row in acc for value in row) <= params.max_accumulator <= INT32[1]
    assert ref.apply(x, w, params).tolist() == spec.apply(x.tolist(), w.tolist(), params)


def test_every_pair_of_bytes() -> None:
    """All 65536 products of s8 x s8 and of u8 x s8, each with zero points."""
    for left, zero in ((INT8, -3), (UINT8, 77)):
        x_q, w_q = spec.Operand(0.5, zero, left), spec.Operand(0.25, 5)
        params = spec.prepare(x_q, w_q, 8, -1, depth=1)
        x, w = np.arange(left[0], left[1] + 1)[:, None], np.arange(-128, 128)[:, None]
        assert ref.apply(x, w, params).tolist() == spec.apply(x.tolist(), w.tolist(), params)


def test_leading_axes_broadcast_and_small_dtypes_do_not_wrap() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.integers(0, 256, (2, 3, 4, 16), np.uint8), rng.integers(-128, 128, (3, 5, 16), np.int8)
    params = spec.prepare(spec.Operand(0.1, 0, UINT8), spec.Operand(0.1, 9), 10, depth=16)
    got = ref.apply(x, w, params)
    assert got.shape == (2, 3, 4, 5)
    for i, j in itertools.product(range(2), range(3)):
        assert got[i, j].tolist() == spec.apply(x[i, j].tolist(), w[j].tolist(), params)


@pytest.mark.parametrize(
    ("x", "w", "depth"),
    [
        (spec.Operand(1.0), spec.Operand(1.0), 131071),
        (spec.Operand(1.0), spec.Operand(1.0, 0, (-127, 127)), 132104),
        (spec.Operand(1.0, 0, UINT8), spec.Operand(1.0), 65793),
        (spec.Operand(1.0, 0, UINT8), spec.Operand(1.0, 0, (-127, 127)), 66311),
        (spec.Operand(1.0, -128), spec.Operand(1.0), 65793),
        (spec.Operand(1.0, 0, INT16), spec.Operand(1.0), 511),
    ],
)
def test_the_largest_depth_fills_32_bits_and_one_more_is_refused(x: spec.Operand, w: spec.Operand, depth: int) -> None:
    assert spec.max_depth(x.reach, w.reach) == depth
    params = spec.prepare(x, w, 1e6, depth=depth)
    worst = [max(operand.limits, key=lambda q: abs(q - operand.zero_point)) for operand in (x, w)]
    filled = [np.full((1, depth), value) for value in worst]
    acc = ref.accumulate(*filled, params)
    assert abs(acc.item()) == params.max_accumulator <= 2**31 - 1 < params.max_accumulator + x.reach * w.reach
    assert acc.tolist() == spec.accumulate(*(f.tolist() for f in filled), params)
    with pytest.raises(QuantError, match=rf"split the reduction after {depth} terms"):
        spec.prepare(x, w, 1e6, depth=depth + 1)


def test_known_weights_admit_a_deeper_reduction() -> None:
    depth, x = 200_000, spec.Operand(1.0)
    weights = [[0] * depth, [1, -1] * (depth // 2)]
    params = spec.prepare(x, spec.Operand(1.0), 1e6, depth=depth, weights=weights, bias=[5, -7])
    assert params.max_accumulator == 128 * depth + 7
    with pytest.raises(QuantError, match=r"output channel 1 needs accumulators up to 2560(.*\n)*.*larger weight scale"):
        spec.prepare(x, spec.Operand(1.0), 1e6, depth=depth, weights=[[0] * depth, [100] * depth])


def test_a_bias_uses_up_the_accumulator() -> None:
    x, w = spec.Operand(1.0), spec.Operand(1.0)
    assert spec.max_depth(128, 128, 2**31 - 1 - 128 * 128) == 1
    assert spec.prepare(x, w, 1e6, depth=1, bias=[2**31 - 1 - 128 * 128]).max_accumulator == 2**31 - 1
    with pytest.raises(QuantError, match="split the reduction after 0 terms"):
        spec.prepare(x, w, 1e6, depth=1, bias=[-(2**31) + 128 * 128])


@given(st.integers(1, 2**16), st.integers(1, 256), st.integers(0, 2**31 - 1))
def test_max_depth_is_the_largest(x_reach: int, w_reach: int, bias: int) -> None:
    depth = spec.max_depth(x_reach, w_reach, bias)
    assert bias + depth * x_reach * w_reach <= 2**31 - 1 < bias + (depth + 1) * x_reach * w_reach


@pytest.mark.parametrize(("depth", "kind"), [(1023, np.float32), (1024, np.float64), (1025, np.float64)])
def test_float32_is_used_only_where_it_is_exact(depth: int, kind: type) -> None:
    """Sums around 2**24: at a depth of 1025 the result is 2**24 + 1, which float32 does not have."""
    values = np.full((1, depth), -128)
    values[0, -1] = 1
    params = spec.prepare(spec.Operand(1.0), spec.Operand(1.0), 1e6, depth=depth)
    assert ref.exact_float(params.max_accumulator) == kind
    assert ref.accumulate(values, values, params).item() == (depth - 1) * 2**14 + 1


def test_wrap_around_and_late_zero_points_give_the_same_accumulator() -> None:
    """What a kernel of u8 x s8 instructions does: int32 arithmetic that wraps, zero points added after the sum."""
    depth = 65000
    rng = np.random.default_rng(3)
    x, w = rng.integers(200, 256, (1, depth)), rng.integers(100, 128, (1, depth))
    params = spec.prepare(spec.Operand(1.0, 128, UINT8), spec.Operand(1.0, -128), 1e6, depth=depth)
    terms = [int((x * w).sum()), 128 * int(x.sum()), -128 * int(w.sum()), -depth * 128 * 128]
    assert terms[0] + terms[1] > 2**31
    wrapped = np.zeros(1, np.int32)
    for term in terms:
        wrapped += np.array([term]).astype(np.int32)
    assert wrapped.tolist() == ref.accumulate(x, w, params)[0].tolist()


@pytest.mark.parametrize("per_channel", [False, True])
def test_error_in_output_steps(per_channel: bool) -> None:
    """Against the product in real numbers: at most 1/2 + 2**-31 |out| steps; measured 0.50000 max, 0.249 mean."""
    rng = np.random.default_rng(5)
    scales = [float(s) for s in rng.uniform(0.01, 0.02, 64)] if per_channel else 0.013
    x_q, w_q = spec.Operand(0.05, 4), spec.Operand(scales)
    x, w = rng.integers(-128, 128, (256, 96)), rng.integers(-127, 128, (64, 96))
    params = spec.prepare(x_q, w_q, 0.001, 0, INT32, depth=96, weights=w.tolist())
    real = (x - 4) @ (w * (np.array(scales)[:, None] if per_channel else scales) * 0.05 / 0.001).T
    error = np.abs(ref.apply(x, w, params) - real)
    assert error.max() <= 0.5001
    assert error.mean() == pytest.approx(0.25, abs=0.005)
    assert params.accumulator_scales[0] == Fraction(0.05) * w_q.scales[0]


@pytest.mark.parametrize(
    ("x", "w", "message"),
    [
        (spec.Operand(1.0, 0, (-(2**15), 2**15)), spec.Operand(1.0), "x has the limits"),
        (spec.Operand(1.0), spec.Operand(1.0, 0, (-128, 128)), "w has the limits"),
        (spec.Operand([1.0, 2.0]), spec.Operand(1.0), "x has 2 scales"),
        (spec.Operand(1.0), spec.Operand([1.0, 2.0], 1), "per-channel weights with a zero point"),
        (spec.Operand(0.0), spec.Operand(1.0), "scale is 0"),
    ],
)
def test_refusals(x: spec.Operand, w: spec.Operand, message: str) -> None:
    with pytest.raises(QuantError, match=message):
        spec.prepare(x, w, 1.0, depth=4)


@pytest.mark.parametrize(
    ("scale", "weights", "bias"),
    [([1.0, 2.0], [[1]] * 3, None), (1.0, [[1]] * 3, [1, 2]), ([1.0, 2.0], None, [1, 2, 3])],
)
def test_counts_of_outputs_that_differ_are_refused(
    scale: float | list[float], weights: list[list[int]] | None, bias: list[int] | None
) -> None:
    with pytest.raises(QuantError, match="bias of 2, 3 outputs"):
        spec.prepare(spec.Operand(1.0), spec.Operand(scale), 1.0, depth=1, weights=weights, bias=bias)


def test_weights_of_another_depth_are_refused() -> None:
    with pytest.raises(QuantError, match="a reduction of 4 terms"):
        spec.prepare(spec.Operand(1.0), spec.Operand(1.0), 1.0, depth=4, weights=[[1, 2, 3]])
