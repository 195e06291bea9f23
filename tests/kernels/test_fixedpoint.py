"""The numpy primitives equal the specification, which approximates the real functions as well as it says."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgevit_kernels.fixedpoint import ref, spec

INT32 = st.integers(-(2**31), 2**31 - 1)
EDGES = [-(2**31), -(2**31) + 1, -(2**30), -1, 0, 1, 2**30 - 1, 2**30, 2**31 - 1]
MULTIPLIER = st.one_of(st.just(0), st.integers(2**30, 2**31 - 1))

few = settings(max_examples=150, deadline=None)


@few
@given(st.lists(st.tuples(INT32, INT32), min_size=1, max_size=40))
@example([(a, b) for a in EDGES for b in EDGES])
def test_high_mul(pairs: list[tuple[int, int]]) -> None:
    a, b = zip(*pairs, strict=True)
    expected = [spec.saturating_rounding_doubling_high_mul(x, y) for x, y in pairs]
    assert ref.saturating_rounding_doubling_high_mul(a, b).tolist() == expected


@few
@given(st.lists(st.tuples(INT32, st.integers(0, 31)), min_size=1, max_size=40))
@example([(x, e) for x in EDGES for e in range(32)])
def test_rounding_division(pairs: list[tuple[int, int]]) -> None:
    x, exponent = zip(*pairs, strict=True)
    expected = [spec.rounding_divide_by_pot(v, e) for v, e in pairs]
    assert ref.rounding_divide_by_pot(x, exponent).tolist() == expected
    for (v, e), rounded in zip(pairs, expected, strict=True):
        nearest = math.copysign(math.floor(abs(Fraction(v, 2**e)) + Fraction(1, 2)), v)
        assert rounded == nearest


@few
@given(st.lists(INT32, min_size=1, max_size=40), st.integers(-31, 31))
@example(EDGES, 5)
@example(EDGES, -5)
def test_multiplication_by_a_power_of_two(values: list[int], exponent: int) -> None:
    expected = [spec.saturating_rounding_multiply_by_pot(value, exponent) for value in values]
    assert ref.saturating_rounding_multiply_by_pot(values, exponent).tolist() == expected


@few
@given(st.lists(st.floats(0, 2.0**30, allow_subnormal=True), min_size=1, max_size=40))
@example([0.0, 1.0, 0.5, 1 - 2**-53, 2.0**-31, 2.0**-32, 2.0**-33, 1 - 2.0**-32, 1 - 2.0**-33, 5e-324])
def test_quantize_multiplier(values: list[float]) -> None:
    multiplier, shift = ref.quantize_multiplier(values)
    assert list(zip(multiplier.tolist(), shift.tolist(), strict=True)) == [spec.quantize_multiplier(v) for v in values]


@given(st.floats(2.0**-31, 2.0**30))
def test_a_quantized_multiplier_is_within_half_a_unit(real: float) -> None:
    multiplier, shift = spec.quantize_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    assert abs(Fraction(multiplier) * Fraction(2) ** (shift - 31) - Fraction(real)) <= Fraction(2) ** (shift - 32)


@few
@given(st.lists(st.tuples(st.integers(-(2**15), 2**15), MULTIPLIER, st.integers(-31, 16)), min_size=1, max_size=40))
@example([(x, 2**31 - 1, s) for x in (-(2**15), -1, 0, 1, 2**15 - 1) for s in (-31, -1, 0, 1, 16)])
def test_multiplication_by_a_quantized_multiplier(triples: list[tuple[int, int, int]]) -> None:
    x, multiplier, shift = zip(*triples, strict=True)
    expected = [spec.multiply_by_quantized_multiplier(*triple) for triple in triples]
    assert ref.multiply_by_quantized_multiplier(x, multiplier, shift).tolist() == expected


def test_rounding_twice_differs_from_rounding_once() -> None:
    # 162 * 0.3601 = 58.34, but 2 * 58.34 rounds to 117, and half of that away from zero to 59.
    assert spec.multiply_by_quantized_multiplier(-162, 1546654439, -1) == -59


@few
@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=40))
@example([0, 1, 2, 3, 4, 2**27 - 1, 2**27, 2**29 - 1, 2**29, 2**31 - 1, 255 * 255])
def test_inverse_square_root(values: list[int]) -> None:
    multiplier, shift = ref.inverse_sqrt_multiplier(values)
    pairs = list(zip(multiplier.tolist(), shift.tolist(), strict=True))
    assert pairs == [spec.inverse_sqrt_multiplier(value) for value in values]
    for value, (m, s) in zip(values, pairs, strict=True):
        assert s <= 0
        assert 0 < m < 2**31
        assert m * 2.0 ** (s - 31) * math.sqrt(max(value, 1)) == pytest.approx(1, abs=2**-19)


@few
@given(st.lists(st.integers(-(2**31), 0), min_size=1, max_size=40))
@example([0, -1, -(2**24), -(2**24) - 1, -(2**31), -(2**26), -(2**30)])
def test_exponential(values: list[int]) -> None:
    result = ref.exp_on_negative(values)
    assert result.tolist() == [spec.exp_on_negative(value) for value in values]
    np.testing.assert_allclose(result / 2**31, np.exp(np.array(values) / 2**26), atol=2**-21)


@few
@given(st.lists(st.integers(1, 2**31 - 1), min_size=1, max_size=40), st.integers(0, 31))
@example([1, 2, 2**19, 2**19 + 1, 2**31 - 1], 12)
def test_reciprocal(values: list[int], integer_bits: int) -> None:
    result, over = ref.reciprocal(values, integer_bits)
    assert list(zip(result.tolist(), over.tolist(), strict=True)) == [spec.reciprocal(v, integer_bits) for v in values]
    real = np.array(values) / 2.0 ** (31 - integer_bits)
    np.testing.assert_allclose(result / 2.0**31 * 2.0**-over * real, 1, atol=2**-27)
