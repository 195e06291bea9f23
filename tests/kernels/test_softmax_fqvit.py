"""The logarithmic codes of FQ-ViT's softmax and their product with the values."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevit.errors import QuantError
from edgevit_kernels.softmax.fqvit import ref, spec
from edgevit_kernels.softmax.fqvit_repaired import ref as repaired_ref
from edgevit_kernels.softmax.fqvit_repaired import spec as repaired


def test_a_code_is_the_power_of_two_next_to_the_ratio() -> None:
    for ratio in [*range(1, 5000), *(2**k + offset for k in range(13, 24) for offset in (-1, 0, 1))]:
        octave = next(k for k in range(30) if 2 ** (k + 1) > ratio)
        expected = octave + (Fraction(ratio, 2**octave) >= Fraction(3, 2))
        assert spec.log_code(ratio) == min(expected, 16)


@given(st.integers(1, 2**29), st.integers(1, 2**29))
def test_thresholds_are_the_published_rule_without_its_division(e: int, others: int) -> None:
    total = e + others
    by_limits = sum(e <= 2 * total // divisor for divisor in repaired.DIVISORS)
    assert by_limits == spec.log_code((2 * total + e) // (2 * e))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.sampled_from([2.0**-10, 0.01, 0.0625, 0.3, 1.0]))
def test_the_product_by_shifts_is_the_product(seed: int, length: int, scale: float) -> None:
    generator = np.random.default_rng(seed)
    x = generator.integers(-128, 128, (2, 3, length))
    v = generator.integers(-128, 128, (2, length, 5))
    wide: Any = spec.prepare(scale, length, exponential_bits=64)
    for params, form, form_spec in ((wide, ref, spec), (repaired.prepare(scale, length), repaired_ref, repaired)):
        code = form.codes(x, params)
        result = form.attend(code, v)
        assert np.array_equal(result, form.apply(x, params) @ v)
        column = v[1, :, 4].tolist()
        assert form_spec.attend(form_spec.codes(x[1, 2].tolist(), params), column) == result[1, 2, 4]


@given(st.integers(1, 2**20), st.integers(0, 2**30))
def test_a_probability_grows_by_half_at_most(e: int, others: int) -> None:
    """The premise of the accumulator's bound in ``attend``."""
    total = e + others
    assert spec.power(spec.log_code((2 * total + e) // (2 * e))) * total * 2 <= 3 * e * 2**15


@pytest.mark.parametrize("scale", [2.0**-10, 0.0625, 0.223, 1.0])
def test_thirty_two_bits_do_not_hold_the_published_exponential(scale: float) -> None:
    with pytest.raises(QuantError, match=r"softmax form 'fqvit': exponential reaches .*\nhint: .*fqvit_repaired"):
        spec.prepare(scale, 1)


def test_seventeen_values_do_not_fit_four_bits() -> None:
    """The published code stores 0 to 15 and masks what lies beyond: zero is one value more."""
    codes = spec.codes([127, *range(127 - 255, 127)], spec.prepare(0.0625, 256, exponential_bits=64))
    assert set(codes) >= {15, 16}
    assert [spec.power(code) for code in (0, 15, 16)] == [2**15, 1, 0]
