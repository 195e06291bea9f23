from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.errors import IRError
from edgevit.ir.types import DType, Dyadic, Quant, TensorType, dequantize_array, dtype_of, quantize_array


def test_every_element_type_has_its_numpy_type_and_limits() -> None:
    for dtype in DType:
        assert dtype_of(np.zeros(1, dtype.numpy)) is dtype
        assert dtype.bits == 8 * np.zeros(1, dtype.numpy).nbytes
        if dtype.is_integer:
            info = np.iinfo(str(dtype.numpy))
            assert dtype.limits == (info.min, info.max)
    for dtype in (DType.F32, DType.BOOL):
        with pytest.raises(IRError, match="no integer limits"):
            assert dtype.limits


def test_element_types_that_the_ir_does_not_have_are_refused() -> None:
    for array in (np.zeros(1), np.zeros(1, np.float16), np.zeros(1, np.complex64), np.array([None])):
        with pytest.raises(IRError, match="no IR element type"):
            dtype_of(array)


@given(st.integers(0, 2**52), st.integers(0, 900))
def test_a_dyadic_scale_is_its_exact_number(multiplier: int, shift: int) -> None:
    assert Fraction(float(Dyadic(multiplier, shift))) == Fraction(multiplier, 2**shift)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), Dyadic(0, 3)])
def test_a_scale_is_positive_and_finite(scale: float | Dyadic) -> None:
    with pytest.raises(IRError, match="positive and finite"):
        Quant.per_tensor(scale)


def test_scales_and_zero_points_belong_together() -> None:
    with pytest.raises(IRError, match="2 scales but 1 zero points"):
        Quant((1.0, 2.0), (0,), 0)
    with pytest.raises(IRError, match="one scale, got 2"):
        Quant((1.0, 2.0), (0, 0))


@given(
    st.floats(2.0**-20, 2.0**20),
    st.integers(-128, 127),
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20),
)
def test_rounding_onto_a_grid_is_the_nearest_point_within_the_limits(
    scale: float, zero_point: int, values: list[float]
) -> None:
    type = TensorType((len(values),), DType.I8, Quant.per_tensor(scale, zero_point))
    q = quantize_array(np.array(values, np.float32), type)
    assert q.dtype == np.int8
    lo, hi = scale * (-128 - zero_point), scale * (127 - zero_point)
    for real, stored in zip(values, dequantize_array(q, type), strict=True):
        assert abs(stored - min(max(real, lo), hi)) <= scale / 2 * (1 + 1e-9)


def test_halves_round_to_even() -> None:
    type = TensorType((6,), DType.I8, Quant.per_tensor(1.0))
    halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)
    assert quantize_array(halves, type).tolist() == [-2, -2, 0, 0, 2, 2]


@given(st.sampled_from([DType.I8, DType.U8, DType.I16]), st.floats(1e-20, 1e20), st.data())
def test_grid_points_survive_a_round_trip(dtype: DType, scale: float, data: st.DataObject) -> None:
    lo, hi = dtype.limits
    zero_point = data.draw(st.integers(lo, hi))
    q = np.array(data.draw(st.lists(st.integers(lo, hi), min_size=1)), dtype.numpy)
    type = TensorType(q.shape, dtype, Quant.per_tensor(scale, zero_point))
    assert np.array_equal(quantize_array(dequantize_array(q, type), type), q)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_grid_along_an_axis_ignores_leading_axes(axis: int) -> None:
    shape = (2, 3, 4)
    count = shape[axis]
    quant = Quant(tuple(0.5 * (i + 1) for i in range(count)), tuple(range(count)), axis)
    type = TensorType(shape, DType.I8, quant)
    q = np.random.default_rng(0).integers(-100, 100, (5, *shape)).astype(np.int8)
    real = dequantize_array(q, type)
    for i in range(count):
        part = np.take(q, i, axis + 1).astype(float)
        assert np.array_equal(np.take(real, i, axis + 1), 0.5 * (i + 1) * (part - i))
    assert np.array_equal(quantize_array(real, type), q)


def test_sizes() -> None:
    type = TensorType((2, 3), DType.I16)
    assert (type.rank, type.size, type.nbytes) == (2, 6, 12)
    assert (TensorType(()).rank, TensorType(()).size) == (0, 1)
    assert type.with_shape((6,)).with_range(-1, 2) == TensorType((6,), DType.I16, range=(-1, 2))
