"""Dyadic requantization: the numpy form equals the specification, within the stated error and inside 64 bits."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgevit.errors import QuantError
from edgevit_kernels.requantize import ref, spec

ACC = st.integers(-(2**31), 2**31 - 1)
EDGES = [-(2**31), -(2**31) + 1, -(2**30) - 1, -2, -1, 0, 1, 2, 2**30, 2**31 - 2, 2**31 - 1]
RATIO = st.floats(2.0**-32, 2.0**30 - 1)
LIMITS = st.sampled_from([spec.INT8, spec.UINT8, spec.INT16])

few = settings(max_examples=150, deadline=None)


@given(RATIO)
@example(2.0**-32)
@example(1.0)
@example(1 - 2.0**-53)
@example(math.nextafter(1.0, 2))
@example(1 - 2.0**-32)
def test_the_dyadic_is_frexp_with_the_significand_rounded_half_up(ratio: float) -> None:
    result = spec.dyadic(ratio)
    significand, exponent = math.frexp(ratio)
    # significand * 2**31 and the sum are exact in double: 53 bits, of which 22 or fewer lie below the point.
    assert result.value == Fraction(math.floor(significand * 2.0**31 + 0.5)) * Fraction(2) ** (exponent - 31)
    assert 2**30 <= result.multiplier < 2**31
    assert result == spec.dyadic(Fraction(ratio))
    assert abs(result.value / Fraction(ratio) - 1) <= Fraction(1, 2**31)


def test_the_relative_error_bound_is_reached() -> None:
    """Half a unit of the smallest multiplier, 2**30: the bound 2**-31 on the relative error cannot be lowered much."""
    ratio = Fraction(2**31 + 1, 2**32)
    assert spec.dyadic(ratio) == spec.Dyadic(2**30 + 1, 31)
    error = spec.dyadic(ratio).value / ratio - 1
    assert Fraction(999, 1000) / 2**31 < error <= Fraction(1, 2**31)


def test_a_ratio_of_fractions_is_not_rounded_to_a_double_first() -> None:
    just_below = Fraction(2**31 + 1, 2**32) - Fraction(1, 10**30)
    assert float(just_below) == float(Fraction(2**31 + 1, 2**32))
    assert spec.dyadic(just_below).multiplier == 2**30


@pytest.mark.parametrize("ratio", [0.0, -1.0, math.inf, math.nan, 2.0**30, 2.0**-33, 5e-324])
def test_ratios_out_of_range_are_refused(ratio: float) -> None:
    with pytest.raises(QuantError):
        spec.dyadic(ratio)


def test_refusals_name_what_to_change() -> None:
    with pytest.raises(QuantError, match=r"shift of 63.*(\n.*)*output scale"):
        spec.dyadic(2.0**-33)
    with pytest.raises(QuantError, match="zero point 200"):
        spec.prepare(1.0, 1.0, 200, spec.INT8)
    with pytest.raises(QuantError, match="output scale is 0"):
        spec.prepare(1.0, 0)
    with pytest.raises(QuantError, match="no channels"):
        spec.prepare([], 1.0)


@few
@given(st.lists(st.tuples(ACC, RATIO), min_size=1, max_size=30), LIMITS)
@example([(a, r) for a in EDGES for r in (2.0**-32, 2.0**-31, 0.5, 1.0, 3.7, 2.0**29, 2.0**30 - 1)], spec.INT16)
def test_ref_is_spec(pairs: list[tuple[int, float]], limits: spec.Limits) -> None:
    acc, ratios = zip(*pairs, strict=True)
    for zero in (limits[0], 3, limits[1]):
        channels = spec.prepare(ratios, 1, zero, limits)
        expected = spec.apply(acc, channels)
        assert ref.apply(acc, channels).tolist() == expected
        stacked = ref.apply(np.array([[acc], [acc[::-1]]]), channels)
        assert stacked.tolist() == [[expected], [spec.apply(acc[::-1], channels)]]
        tensor = spec.prepare(ratios[0], 1, zero, limits)
        assert ref.apply(acc, tensor).tolist() == spec.apply(acc, tensor)
        assert ref.apply(acc[0], tensor).shape == ()


@pytest.mark.parametrize(("low", "high", "bits"), [(*spec.INT8, 8), (*spec.INT16, 16)])
def test_every_output_value_and_every_tie(low: int, high: int, bits: int) -> None:
    """At the ratio 1/2 each odd accumulator is a tie, which goes upwards, on both sides of zero."""
    acc = range(2 * low - 3, 2 * high + 4)
    params = spec.prepare(0.5, 1, 0, (low, high))
    expected = [max(low, min(high, math.ceil(Fraction(a, 2)))) for a in acc]
    assert ref.apply(acc, params).tolist() == expected
    assert len(set(expected)) == 2**bits
    if bits == 8:
        assert spec.apply(acc, params) == expected


@given(ACC, RATIO)
@example(2**31 - 1, 1 - 2.0**-33)
def test_error_in_output_steps(acc: int, ratio: float) -> None:
    """At most 1/2 + 2**-31 |acc r| steps: 0.50000012 at 8 bits (|out| <= 255), 0.50004 at 16 bits (|out| <= 65535)."""
    exact = acc * Fraction(ratio)
    assert abs(spec.rescale(acc, spec.dyadic(ratio)) - exact) <= Fraction(1, 2) + abs(exact) / 2**31
    assert Fraction(255, 2**31) < Fraction(12, 10**8)
    assert Fraction(65535, 2**31) < Fraction(4, 10**5)


@pytest.mark.parametrize(("limits", "disagreements"), [(spec.INT8, 0), (spec.INT16, 10)], ids=["8 bits", "16 bits"])
def test_agreement_with_the_correctly_rounded_quotient(limits: spec.Limits, disagreements: int) -> None:
    """Of a million random accumulators over 100 ratios: 0 at 8 bits and 2 at 16 bits differ, by one step."""
    rng = np.random.default_rng(1)
    differing = 0
    for ratio in rng.uniform(2.0**-12, 2.0**-11, 100):
        acc = rng.integers(int(limits[0] / ratio), int(limits[1] / ratio), 10_000)
        numerator, denominator = ratio.as_integer_ratio()
        exact = [(2 * a * numerator + denominator) // (2 * denominator) for a in acc.tolist()]
        got = ref.apply(acc, spec.prepare(ratio, 1, 0, spec.INT32))
        difference = np.abs(got - np.array(exact))
        assert difference.max() <= 1
        differing += int(np.count_nonzero(difference))
    assert differing <= disagreements


def test_no_intermediate_exceeds_64_bits() -> None:
    """Worst case over the whole accepted range: every accumulator edge, multiplier edge, shift and zero point."""
    largest = 0
    for acc in spec.INT32:
        for multiplier in (2**30, 2**31 - 1):
            for shift in range(spec.MIN_SHIFT, spec.MAX_SHIFT + 1):
                product = acc * multiplier
                total = product + 2 ** (shift - 1)
                quotient = total >> shift
                for value in (product, total, quotient, *(quotient + zero for zero in spec.INT32)):
                    largest = max(largest, abs(value))
                factor = spec.Dyadic(multiplier, shift)
                assert spec.rescale(acc, factor) == quotient
                assert ref.rescale(acc, (factor,)).tolist() == quotient
    assert largest < 2**63
    # One shift more would still fit, but nothing below 2**-32 has a result other than zero.
    assert all(abs(acc) * Fraction(1, 2**32) <= Fraction(1, 2) for acc in spec.INT32)
