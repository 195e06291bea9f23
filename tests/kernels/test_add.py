"""Residual addition: both forms equal their specification, keep to the stated error and fit their accumulators."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevit.errors import QuantError
from edgevit_kernels.add import ref, spec
from edgevit_kernels.requantize.spec import INT8, INT16, INT32, UINT8

few = settings(max_examples=60, deadline=None)
SCALE = st.floats(1e-3, 10)


@st.composite
def operands(draw: st.DrawFn) -> spec.Operand:
    limits = draw(st.sampled_from([INT8, UINT8, INT16]))
    return spec.Operand(draw(SCALE), draw(st.integers(*limits)), limits)


def _worst(operand: spec.Operand) -> list[int]:
    return [*operand.limits, operand.zero_point, min(operand.zero_point + 1, operand.limits[1])]


@few
@given(operands(), operands(), operands(), st.data())
def test_ref_is_spec(a: spec.Operand, b: spec.Operand, out: spec.Operand, data: st.DataObject) -> None:
    left = _worst(a) + data.draw(st.lists(st.integers(*a.limits), min_size=5, max_size=5))
    right = _worst(b) + data.draw(st.lists(st.integers(*b.limits), min_size=5, max_size=5))
    pairs = list(product(left, right))
    x, y = np.array(left)[:, None], np.array(right)[None, :]
    separate = spec.prepare_separate(a, b, out)
    assert ref.apply_separate(x, y, separate).ravel().tolist() == [spec.apply_separate(*p, separate) for p in pairs]
    common = spec.prepare_common(a, b, out, max_excess=Fraction(1))
    assert ref.apply_common(x, y, common).ravel().tolist() == [spec.apply_common(*p, common) for p in pairs]


def test_ref_is_spec_for_every_pair_of_bytes() -> None:
    a, b, out = spec.Operand(0.031, 7), spec.Operand(0.0173, 0, UINT8), spec.Operand(0.047, -20)
    every = np.arange(-128, 128)[:, None], np.arange(256)[None, :]
    separate, common = spec.prepare_separate(a, b, out), spec.prepare_common(a, b, out, bits=32)
    pairs = list(product(range(-128, 128), range(256)))
    assert ref.apply_separate(*every, separate).ravel().tolist() == [spec.apply_separate(*p, separate) for p in pairs]
    assert ref.apply_common(*every, common).ravel().tolist() == [spec.apply_common(*p, common) for p in pairs]


def _errors(apply: str, bits: int, out_limits: tuple[int, int]) -> tuple[float, float]:
    """(max, mean) error in output steps over random operands at 50 random ratios of scales, clamped sums left out."""
    rng = np.random.default_rng(7)
    largest = total = 0.0
    limits = out_limits
    for _ in range(50):
        a, b = (spec.Operand(float(rng.uniform(0.2, 1)), int(rng.integers(-9, 9)), limits) for _ in range(2))
        out = spec.Operand(1.1 * (float(a.scale) + float(b.scale)), 3, limits)
        x, y = rng.integers(limits[0], limits[1] + 1, (2, 4000))
        real = ((x - a.zero_point) * float(a.scale) + (y - b.zero_point) * float(b.scale)) / float(out.scale) + 3
        if apply == "separate":
            got = ref.apply_separate(x, y, spec.prepare_separate(a, b, out))
        else:
            got = ref.apply_common(x, y, spec.prepare_common(a, b, out, bits=bits))
        error = np.abs(got - real)
        assert np.all((got > limits[0]) & (got < limits[1]))
        largest, total = max(largest, float(error.max())), total + float(error.mean())
    return largest, total / 50


@pytest.mark.parametrize("limits", [INT8, INT16], ids=["8 bits", "16 bits"])
def test_error_of_the_separate_form(limits: tuple[int, int]) -> None:
    """Measured: max 0.995 (8 bits) and 0.998 (16 bits) steps of the output, mean 0.333; the bound is 1."""
    largest, mean = _errors("separate", 64, limits)
    assert 0.95 < largest <= 1 + 1e-4
    assert mean == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize(("limits", "bits"), [(INT8, 32), (INT8, 64), (INT16, 64)])
def test_error_of_the_common_form(limits: tuple[int, int], bits: int) -> None:
    """Measured: max 0.500 steps of the output, mean 0.250, as a sum that is rounded once in real numbers."""
    largest, mean = _errors("common", bits, limits)
    assert largest <= 0.5 + 1e-4
    assert mean == pytest.approx(0.25, abs=0.01)


@few
@given(operands(), operands(), operands(), st.sampled_from([32, 64]), st.data())
def test_stated_error_bounds(
    a: spec.Operand, b: spec.Operand, out: spec.Operand, bits: int, data: st.DataObject
) -> None:
    """Exact, in fractions: |separate - real| <= 1 + 2**-31 (|a| + |b|) and |common - real| <= max_error."""
    x, y = data.draw(st.integers(*a.limits)), data.draw(st.integers(*b.limits))
    wide = spec.Operand(out.scale, 0, INT32)
    scale = Fraction(out.scale)
    parts = [(q - o.zero_point) * Fraction(o.scale) / scale for q, o in ((x, a), (y, b))]
    got = spec.apply_separate(x, y, spec.prepare_separate(a, b, wide))
    assert abs(got - sum(parts)) <= 1 + (abs(parts[0]) + abs(parts[1])) / 2**31
    try:
        common = spec.prepare_common(a, b, wide, bits=bits)
    except QuantError:
        assert bits == 32
        return
    assert abs(spec.apply_common(x, y, common) - sum(parts)) <= common.max_error <= Fraction(1, 2) + spec.MAX_EXCESS


def test_the_error_bound_of_the_common_form_is_tight() -> None:
    """int16 in 32 bits, whose few fraction bits make the bound large: at the corners 87 % of it is reached."""
    rng = np.random.default_rng(11)
    nearest = 0.0
    for scale_a, scale_b in rng.uniform(0.5, 1, (400, 2)):
        a, b = spec.Operand(float(scale_a), 0, INT16), spec.Operand(float(scale_b), 0, INT16)
        params = spec.prepare_common(a, b, spec.Operand(1.0, 0, INT32), bits=32, max_excess=Fraction(4))
        for x, y in product(INT16, INT16):
            error = abs(spec.apply_common(x, y, params) - x * Fraction(scale_a) - y * Fraction(scale_b))
            nearest = max(nearest, float(error / params.max_error))
    assert 0.85 < nearest <= 1


@few
@given(operands(), operands(), operands(), st.sampled_from([32, 64]))
def test_no_intermediate_of_the_common_form_exceeds_its_accumulator(
    a: spec.Operand, b: spec.Operand, out: spec.Operand, bits: int
) -> None:
    """Both products, their sum and the sum with the half, at every corner of the operands' limits."""
    params = spec.prepare_common(a, b, out, bits=bits, max_excess=Fraction(10**9))
    assert params.max_sum < 2 ** (bits - 1)
    assert all(0 <= multiplier < 2**31 for multiplier in params.multipliers)
    half = 2 ** (params.shift - 1)
    for x, y in product(a.limits, b.limits):
        left, right = (x - a.zero_point) * params.multipliers[0], (y - b.zero_point) * params.multipliers[1]
        for value in (left, right, left + right, left + right + half, left + half, right + half):
            assert -(2 ** (bits - 1)) <= value <= params.max_sum


def test_no_intermediate_of_the_separate_form_exceeds_64_bits() -> None:
    """Worst operands of 32 bits at the largest dyadics and the furthest zero point."""
    far = spec.Operand(2.0**30 - 1, 0, INT32)
    params = spec.prepare_separate(far, far, spec.Operand(1.0, INT32[0], INT32))
    assert params.dyadics[0].multiplier == 2**31 - 2
    assert params.dyadics[0].shift == 1
    for x, y in product(INT32, INT32):
        parts = [q * d.multiplier + 2 ** (d.shift - 1) for q, d in zip((x, y), params.dyadics, strict=True)]
        shifted = [part >> 1 for part in parts]
        assert all(abs(v) < 2**63 for v in [*parts, *shifted, sum(shifted), sum(shifted) + INT32[0]])
        assert ref.apply_separate(x, y, params).tolist() == spec.apply_separate(x, y, params)


def test_refusals_say_what_to_change() -> None:
    fine, coarse = spec.Operand(1.0, 0, INT16), spec.Operand(1.0, 0, INT16)
    with pytest.raises(QuantError, match=r"32 bits leaves 14 fraction bits(.*\n)*.*64-bit"):
        spec.prepare_common(fine, coarse, coarse, bits=32)
    assert spec.prepare_common(fine, coarse, coarse).bits == 64
    with pytest.raises(QuantError, match="does not fit its grid"):
        spec.prepare_common(spec.Operand(2.0**40), fine, coarse)
    with pytest.raises(QuantError, match="48 bits"):
        spec.prepare_common(fine, coarse, coarse, bits=48)
    with pytest.raises(QuantError, match="zero point"):
        spec.prepare_separate(spec.Operand(1.0, 200), fine, coarse)
    with pytest.raises(QuantError, match="reaches 2147483649"):
        spec.prepare_separate(spec.Operand(1.0, 1, INT32), fine, coarse)
