"""Every form of the integer softmax: numpy equals the specification, no stage overflows, bad scales are refused."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevit.errors import QuantError
from edgevit_kernels.softmax import Form, forms
from edgevit_kernels.softmax.contract import TYPES, Bound, checked_scale, dyadic

# Options with which a form accepts every scale of SCALES at 1024 elements: the published ones only in 64 bits.
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("ivit", {}),
    ("ivit", {"output_bits": 16}),
    ("ivit", {"code": "tvm"}),
    ("ivit_repaired", {}),
    ("ivit_repaired", {"unit": 32767}),
    ("ibert", {"exponential_bits": 64}),
    ("ibert", {"exponential_bits": 64, "output_bits": 16}),
    ("ibert_repaired", {}),
    ("ibert_repaired", {"unit": 32767}),
    ("fqvit", {"exponential_bits": 64}),
    ("fqvit_repaired", {}),
    ("table", {}),
    ("table", {"unit": 127}),
    ("table", {"unit": 32767}),
]
NAMES = [f"{name}-{'-'.join(map(str, options.values()))}".rstrip("-") for name, options in VARIANTS]
LONGEST = 1024
# The stages that take 64 bits by design; everything else of a form that is not published stays in 32.
WIDE = {"ivit_repaired": ("reciprocal", "product"), "ibert_repaired": ("narrowing",)}
SCALES = st.one_of(
    st.fractions(Fraction(1, 2**10), Fraction(1), max_denominator=2**12),
    st.floats(2.0**-10, 1.0),
    st.sampled_from([2.0**-e for e in range(11)]),
)

every_variant = pytest.mark.parametrize(("name", "options"), VARIANTS, ids=NAMES)
few = settings(max_examples=25, deadline=None)


@st.composite
def rows(draw: st.DrawFn, bits: int) -> list[int]:
    """Rows of 1 to 1024 scores: any, all equal, one-hot, the two extremes, near the largest."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    length = draw(st.one_of(st.integers(1, 12), st.sampled_from([64, 65, 197, 577, LONGEST])))
    kind = draw(st.sampled_from(["any", "equal", "one-hot", "extremes", "narrow"]))
    if kind == "equal":
        return [draw(st.integers(low, high))] * length
    if kind == "one-hot":
        row = [low] * length
        row[draw(st.integers(0, length - 1))] = high
        return row
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind == "extremes":
        return [int(v) for v in generator.choice([low, high], length)]
    span = (low, high) if kind == "any" else (max(low, high - 40), high)
    return [int(v) for v in generator.integers(span[0], span[1], length, endpoint=True)]


def form(name: str) -> Form:
    return forms()[name]


@every_variant
@few
@given(data=st.data(), scale=SCALES, bits=st.sampled_from([4, 8, 16]))
def test_numpy_equals_the_specification(
    name: str, options: dict[str, Any], data: st.DataObject, scale: float | Fraction, bits: int
) -> None:
    params = form(name).spec.prepare(scale, LONGEST, score_bits=bits, **options)
    row = data.draw(rows(bits))
    result = form(name).spec.apply(row, params)
    assert form(name).ref.apply(row, params).tolist() == result
    low, high = params.output_limits
    assert all(low <= value <= high for value in result)


@every_variant
@few
@given(data=st.data(), scale=SCALES, bits=st.sampled_from([8, 16]))
def test_every_stage_lies_within_its_bounds(
    name: str, options: dict[str, Any], data: st.DataObject, scale: float | Fraction, bits: int
) -> None:
    """The intervals are sound: each stage of the specification has one and stays within it."""
    params = form(name).spec.prepare(scale, LONGEST, score_bits=bits, **options)
    stages = form(name).spec.trace(data.draw(rows(bits)), params)
    bounds = form(name).spec.bounds(params)
    assert list(stages) == list(bounds)
    for stage, values in stages.items():
        assert bounds[stage].low <= min(values), stage
        assert max(values) <= bounds[stage].high, stage


@every_variant
def test_no_stage_overflows_at_any_accepted_scale(name: str, options: dict[str, Any]) -> None:
    """Worst case of every stage by interval arithmetic, for scales 1/64 of an octave apart and the longest rows."""
    # The bounds of the table do not depend on the scale, and its entries take time.
    for step in range(0, 10 * 64 + 1, 160 if name == "table" else 1):
        scale = 2.0 ** (-step / 64)
        for length in (1, 197, LONGEST):
            params = form(name).spec.prepare(scale, length, score_bits=16, **options)
            for stage, bound in form(name).spec.bounds(params).items():
                assert bound.fits, (scale, length, stage, bound)
                if options.get("exponential_bits") != 64:
                    assert bound.type != "s64" or stage in WIDE.get(name, ()), (stage, bound)


@every_variant
def test_leading_axes_are_rows(name: str, options: dict[str, Any]) -> None:
    params = form(name).spec.prepare(0.05, 65, **options)
    scores = np.random.default_rng(3).integers(-128, 128, (2, 3, 65))
    result = form(name).ref.apply(scores, params)
    assert result.shape == scores.shape
    assert result.dtype == np.int64
    for index in np.ndindex(2, 3):
        assert result[index].tolist() == form(name).spec.apply(scores[index].tolist(), params)


@every_variant
@few
@given(data=st.data(), scale=SCALES, shift=st.integers(-60, 60))
def test_a_common_shift_of_the_scores_changes_nothing(
    name: str, options: dict[str, Any], data: st.DataObject, scale: float | Fraction, shift: int
) -> None:
    """The zero point of the scores cancels."""
    params = form(name).spec.prepare(scale, LONGEST, **options)
    row = [score // 2 for score in data.draw(rows(8))]
    assert form(name).spec.apply([score + shift for score in row], params) == form(name).spec.apply(row, params)


@pytest.mark.parametrize("name", forms())
@pytest.mark.parametrize(
    ("scale", "length", "bits", "message"),
    [
        (0.0, 8, 8, "scale"),
        (-0.1, 8, 8, "scale"),
        (1.01, 8, 8, "scale"),
        (2.0**-15, 8, 8, "scale"),
        (float("nan"), 8, 8, "scale"),
        (float("inf"), 8, 8, "scale"),
        (0.1, 0, 8, "row of 0"),
        (0.1, 2**14 + 1, 8, "row of 16385"),
        (0.1, 8, 1, "scores of 1 bits"),
        (0.1, 8, 17, "scores of 17 bits"),
    ],
)
def test_arguments_outside_the_range_are_refused(name: str, scale: float, length: int, bits: int, message: str) -> None:
    with pytest.raises(QuantError, match=rf"softmax form '{name}': .*{message}"):
        form(name).spec.prepare(scale, length, score_bits=bits)


@pytest.mark.parametrize("name", ["ivit_repaired", "ibert_repaired", "table"])
@pytest.mark.parametrize("unit", [0, 14, 32768])
def test_units_outside_the_range_are_refused(name: str, unit: int) -> None:
    with pytest.raises(QuantError, match=f"unit {unit} lies outside"):
        form(name).spec.prepare(0.1, 8, unit=unit)


@pytest.mark.parametrize("name", forms())
def test_rows_that_the_parameters_do_not_admit_are_refused(name: str) -> None:
    options = {"exponential_bits": 64} if name in ("ibert", "fqvit") else {}
    params = form(name).spec.prepare(0.1, 4, **options)
    for row in ([], [0] * 5, [128], [-129]):
        with pytest.raises(ValueError, match=r"1 to 4 scores in \[-128, 127\]"):
            form(name).spec.apply(row, params)


@given(st.fractions(Fraction(1, 2**50), 2**20, max_denominator=2**50).filter(lambda ratio: ratio > 0))
def test_a_dyadic_is_within_half_a_unit(ratio: Fraction) -> None:
    multiplier, shift = dyadic(ratio)
    assert 2**30 <= multiplier < 2**31
    assert abs(multiplier / Fraction(2) ** shift - ratio) <= Fraction(1, 2) / Fraction(2) ** shift


def test_the_scale_is_taken_exactly() -> None:
    assert checked_scale("table", 0.1, 8, 8) == Fraction(0.1) != Fraction(1, 10)


def test_a_bound_fits_its_type_up_to_both_ends() -> None:
    for type_, (low, high) in TYPES.items():
        assert Bound(low, high, type_).fits
        assert not Bound(low - 1, high, type_).fits
        assert not Bound(low, high + 1, type_).fits
