"""The table form: correctly rounded entries, the stated error of the division, and its use in a fused attention."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevit.errors import QuantError
from edgevit_kernels.softmax.normalize import PEAK, reciprocal_shift, trace_normalized
from edgevit_kernels.softmax.table import ref, spec
from tests.kernels.softmax_rows import SCALE, measure, scores


@pytest.mark.parametrize("scale", [2.0**-14, 2.0**-10, 0.01, 0.0625, 1.0])
def test_entries_are_rounded_to_nearest(scale: float) -> None:
    params = spec.prepare(scale, 8)
    real = PEAK * np.exp(-scale * np.arange(256))
    assert len(params.near) == 256
    assert not params.far
    assert np.abs(np.array(params.near) - real).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("scale", [2.0**-14, 2.0**-10, 0.01])
def test_two_tables_are_within_a_unit_and_a_half(scale: float) -> None:
    """All 65536 differences of 16-bit scores; measured largest error 1.01 of an entry of 32767."""
    params = spec.prepare(scale, 8, score_bits=16)
    pairs = np.stack([np.full(65536, 32767), np.arange(32767, -32769, -1)], axis=-1)
    values, totals = ref.exponentials(pairs, params)
    assert np.abs(values[:, 1] - PEAK * np.exp(-scale * np.arange(65536))).max() <= 1.5
    assert np.array_equal(totals[:, 0], values.sum(axis=-1))
    assert (values[:, 0] == PEAK).all()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, PEAK), max_size=300), st.sampled_from([15, 127, 255, 32767]))
def test_the_division_is_rounded_to_nearest_within_its_stated_error(others: list[int], unit: int) -> None:
    """|out - unit e / T| <= 1/2 + 2**(15 - s): 0.504 for 255, 1 for 32767."""
    e = [PEAK, *others]
    shift = reciprocal_shift(unit)
    result = trace_normalized(e, unit, shift)["output"]
    for value, exponential in zip(result, e, strict=True):
        assert abs(value - Fraction(unit * exponential, sum(e))) <= Fraction(1, 2) + Fraction(2**15, 2**shift)


def test_a_single_score_has_probability_one() -> None:
    for unit in (15, 127, 255, 32767):
        assert spec.apply([3], spec.prepare(0.1, 1, unit=unit)) == [unit]


@pytest.mark.parametrize(("length", "sqnr"), [(65, 44.0), (197, 38.4)])
def test_undivided_weights_are_more_accurate_than_divided_ones(length: int, sqnr: float) -> None:
    """Product with the values: 44.2 and 38.5 dB divided after it, 35.4 and 26.1 dB before it, both by 8-bit weights."""
    x = scores(length)
    values, totals = ref.exponentials(x, ref.prepare(SCALE, length, peak=255))
    assert values.max() == 255
    after = measure(values / totals, x, 255)
    before = measure(ref.apply(x, ref.prepare(SCALE, length)) / 255, x, 255)
    assert after.product_sqnr > sqnr
    assert before.product_sqnr < sqnr - 8
    assert after.mass == pytest.approx(1)
    row, params = x[0].tolist(), spec.prepare(SCALE, length, peak=255)
    assert spec.exponentials(row, params) == (values[0].tolist(), int(totals[0, 0]))


def test_no_stage_overflows_with_8_bit_exponentials() -> None:
    """128 * 255 * 16384 is the largest accumulator of a fused attention; it fits 31 bits, as does every stage."""
    params = spec.prepare(SCALE, 2**14, peak=255)
    bounds = spec.bounds(params)
    assert bounds["exponential"].high == 255
    assert all(bound.fits for bound in bounds.values())
    assert 128 * bounds["total"].high < 2**30
    stages = spec.trace([127] + [-128] * 100, params)
    assert all(bounds[stage].low <= value <= bounds[stage].high for stage in stages for value in stages[stage])


def test_a_peak_that_no_width_has_is_refused() -> None:
    for bits, peak in ((8, 1000), (16, 255)):
        with pytest.raises(QuantError, match=f"exponentials up to {peak}"):
            spec.prepare(0.01, 8, score_bits=bits, peak=peak)
