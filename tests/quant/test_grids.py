from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.errors import QuantError
from edgevit.ir.types import DType, TensorType, dequantize_array, quantize_array
from edgevit.quant.grids import (
    GridSpec,
    fake_quantize,
    range_grid,
    real_limits,
    settle_range,
    to_grid,
    weight_grid,
    weight_spec,
)

bounds = st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)).map(lambda pair: (min(pair), max(pair)))
specs = st.builds(GridSpec, st.sampled_from([DType.I8, DType.U8]), st.integers(2, 8), st.booleans(), st.booleans())


@given(bounds, specs)
def test_every_number_of_the_range_is_within_half_a_step(bound: tuple[float, float], spec: GridSpec) -> None:
    quant = range_grid(*bound, spec)
    x = np.linspace(*bound, 97)
    half = float(quant.scale[0]) / 2
    assert np.abs(fake_quantize(x, quant, spec) - x).max() <= half * (1 + 1e-3) + 1e-6 * np.abs(x).max()


@given(bounds, specs)
def test_zero_is_exact_and_the_scale_is_a_float32(bound: tuple[float, float], spec: GridSpec) -> None:
    quant = range_grid(*bound, spec)
    scale, zero_point = float(quant.scale[0]), quant.zero_point[0]
    assert float(np.float32(scale)) == scale > 0
    assert spec.limits[0] <= zero_point <= spec.limits[1]
    assert to_grid(np.zeros(1), quant, spec)[0] == zero_point
    assert fake_quantize(np.zeros(1), quant, spec)[0] == 0
    if spec.symmetric:
        assert zero_point == spec.middle


@given(bounds, specs, st.lists(st.floats(-2e6, 2e6), min_size=2, max_size=20))
def test_rounding_is_monotone_and_stays_on_the_grid(
    bound: tuple[float, float], spec: GridSpec, values: list[float]
) -> None:
    quant = range_grid(*bound, spec)
    q = to_grid(np.sort(np.array(values)), quant, spec).astype(int)
    assert (np.diff(q) >= 0).all()
    assert spec.limits[0] <= q.min() <= q.max() <= spec.limits[1]


def test_fake_quantization_agrees_with_the_types_arithmetic() -> None:
    spec = GridSpec()
    x = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32) * 3
    type = TensorType((5,), DType.I8, quant=range_grid(-2.0, 4.0, spec))
    assert type.quant is not None
    expected = dequantize_array(quantize_array(x, type), type)
    np.testing.assert_allclose(fake_quantize(x, type.quant, spec), expected, rtol=0, atol=1e-6)


def test_known_grids() -> None:
    assert range_grid(-1.0, 1.0, GridSpec(symmetric=True)).scale[0] == float(np.float32(1 / 127))
    unit = range_grid(0.0, 255.0, GridSpec())
    assert (unit.scale, unit.zero_point) == ((1.0,), (-128,))
    four = GridSpec(bits=4)
    assert four.limits == (-8, 7)
    assert real_limits(range_grid(0.0, 15.0, four), four) == (0.0, 15.0)
    assert weight_spec(8).limits == (-127, 127)
    assert GridSpec(DType.U8).limits == (0, 255)


@pytest.mark.parametrize("value", [0.0, 3.5, -3.5, 1e-30])
def test_a_constant_gets_a_grid_that_holds_it(value: float) -> None:
    quant = range_grid(value, value, GridSpec())
    assert fake_quantize(np.full(3, value), quant, GridSpec())[0] == pytest.approx(value, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("bound", [(np.nan, 1.0), (0.0, np.inf), (1.0, 0.0), (0.0, 1e60)])
def test_what_is_no_range_is_refused(bound: tuple[float, float]) -> None:
    with pytest.raises(QuantError):
        range_grid(*bound, GridSpec())


def test_settled_ranges_hold_zero() -> None:
    assert settle_range(2.0, 3.0) == (0.0, 3.0)
    assert settle_range(-3.0, -2.0) == (-3.0, 0.0)


def test_weights_per_channel_are_finer_than_per_tensor() -> None:
    rng = np.random.default_rng(0)
    weight = (rng.normal(size=(6, 20)) * 10.0 ** np.arange(-3, 3)[:, None]).astype(np.float32)
    spec = weight_spec(8)
    tensor, channel = (fake_quantize(weight, weight_grid(weight, spec, axis), spec) for axis in (None, 0))
    relative = [np.abs(w - weight).max(1) / np.abs(weight).max(1) for w in (tensor, channel)]
    assert relative[0][0] > 0.5
    assert (relative[1] <= 0.5 / 127 * 1.001).all()


def test_dead_weights() -> None:
    spec = weight_spec(8)
    assert weight_grid(np.zeros((3, 4), np.float32), spec, None).scale == (1.0,)
    weight = np.array([[0, 0], [1, -2]], np.float32)
    quant = weight_grid(weight, spec, 0)
    assert quant.scale[0] == quant.scale[1]
    with pytest.raises(QuantError, match="not finite"):
        weight_grid(np.array([[np.nan]], np.float32), spec, None)


def test_impossible_specs_are_refused() -> None:
    with pytest.raises(QuantError, match="bits"):
        GridSpec(bits=9)
    with pytest.raises(QuantError, match="i32"):
        GridSpec(DType.I32)
