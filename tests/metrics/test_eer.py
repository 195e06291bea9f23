"""Eq. 26 and both forms of Eq. 28, and that unlike figures do not meet unseen."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.errors import UsageError
from edgevit.metrics.eer import (
    METRICS,
    SURVEY_METRICS,
    VIT_B16,
    Figure,
    Figures,
    efficient_error_rate,
    equation_26,
    equation_28,
    equation_28_literal,
    parse_metrics,
    parse_weights,
    uniform,
)

RATIOS = st.lists(st.floats(0, 1e6), min_size=1, max_size=9)
SWIN_B: Figures = {
    "params": Figure(88.0, "M", "published"),
    "flops": Figure(15.4, "GMAC", "published"),
    "bits": Figure(6, "bit", "published"),
    "size": Figure(66.0, "MB", "published"),
}
PHONE = Figure(12.0, "ms", "measured", "phone, 4 threads")


@given(RATIOS)
def test_the_normalized_form_is_equation_26_for_equal_weights(ratios: list[float]) -> None:
    weights = [1 / len(ratios)] * len(ratios)
    assert equation_28(ratios, weights) == pytest.approx(equation_26(ratios), rel=1e-12, abs=1e-12)


@given(RATIOS)
def test_the_literal_form_is_smaller_by_the_number_of_metrics(ratios: list[float]) -> None:
    weights = [1 / len(ratios)] * len(ratios)
    assert equation_28_literal(ratios, weights) == pytest.approx(
        equation_26(ratios) / len(ratios), rel=1e-12, abs=1e-12
    )


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=9))
def test_the_reference_has_1_by_the_normalized_form_only(raw: list[float]) -> None:
    weights = [value / math.fsum(raw) for value in raw]
    ones = [1.0] * len(weights)
    assert equation_28(ones, weights) == pytest.approx(1)
    assert equation_28_literal(ones, weights) == pytest.approx(1 / len(weights))


def test_worked_example() -> None:
    rate = efficient_error_rate(SWIN_B, VIT_B16, {"bits": 0.25, "size": 0.75})
    assert rate.value == pytest.approx(0.25 * 6 / 32 + 0.75 * 66 / 330)
    assert rate.literal == pytest.approx(rate.value / 2)
    assert efficient_error_rate(SWIN_B, VIT_B16, uniform(("bits", "size"))).value == pytest.approx(0.19375)


def test_the_result_says_what_it_is_made_of() -> None:
    measured = {name: replace(figure, kind="measured") for name, figure in SWIN_B.items()}
    weights = uniform(SURVEY_METRICS)
    assert efficient_error_rate(SWIN_B, VIT_B16, weights).kinds == "published"
    assert efficient_error_rate(measured, VIT_B16, weights).kinds == "measured against published"
    mixed = {**measured, "size": replace(measured["size"], kind="estimated")}
    rate = efficient_error_rate(mixed, measured, weights, allow_mixed=True)
    assert rate.kinds == "measured (size estimated) against measured"


def test_a_mixture_is_refused_unless_it_is_asked_for() -> None:
    mixed = {**SWIN_B, "size": Figure(66.0, "MB", "estimated")}
    with pytest.raises(UsageError, match=r"several kinds: .*bits published, size estimated"):
        efficient_error_rate(mixed, VIT_B16, uniform(SURVEY_METRICS))
    assert efficient_error_rate(mixed, VIT_B16, uniform(("bits", "params"))).kinds == "published"


@pytest.mark.parametrize(
    "other",
    [
        Figure(24.0, "ms", "published", "phone, 4 threads"),
        Figure(24.0, "ms", "estimated", "phone, 4 threads"),
        Figure(24.0, "ms", "measured", "phone, 1 thread"),
        Figure(24.0, "ms", "measured"),
    ],
)
def test_a_device_figure_meets_only_its_like(other: Figure) -> None:
    same = replace(PHONE, value=24.0)
    assert efficient_error_rate({"latency": PHONE}, {"latency": same}, {"latency": 1.0}).value == 0.5
    with pytest.raises(UsageError, match=r"latency is measured \(phone, 4 threads\), that of the reference"):
        efficient_error_rate({"latency": PHONE}, {"latency": other}, {"latency": 1.0}, allow_mixed=True)


@pytest.mark.parametrize(
    ("figures", "reference", "message"),
    [
        ({}, VIT_B16, "mine: no figure for size"),
        (SWIN_B, {}, "the reference: no figure for size"),
        ({"size": Figure(1, "MiB", "measured")}, VIT_B16, "size is in MiB, not in MB"),
        (SWIN_B, {"size": Figure(0, "MB", "measured")}, "the reference: size is 0"),
    ],
)
def test_figures_that_do_not_fit(figures: Figures, reference: Figures, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        efficient_error_rate(figures, reference, {"size": 1.0}, name="mine")


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_a_figure_is_finite_and_not_negative(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Figure(value, "MB", "measured")
    with pytest.raises(ValueError, match="finite"):
        Figure(1.0, "MB", "measured", samples=(1.0, value))


def test_weights_and_metrics_are_read() -> None:
    assert parse_weights(" latency = 0.5 ,size=0.5") == {"latency": 0.5, "size": 0.5}
    assert parse_weights("size=1", ("size",)) == {"size": 1.0}
    assert parse_metrics("params, flops") == ("params", "flops")
    thirds = parse_weights("params=0.333333,flops=0.333333,size=0.333334")
    assert set(thirds) == {"params", "flops", "size"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no weight"),
        ("size", "'size' has no weight"),
        ("sise=1", "did you mean size"),
        ("size=heavy", "no number"),
        ("size=nan", "size=nan"),
        ("size=-1,bits=2", "size=-1"),
        ("size=0,bits=1", "size=0"),
        ("size=0.5,bits=0.4", "sum to 0.9"),
        ("size=0.5,size=0.5", "size more than once"),
        ("params=1", "they name params, --metrics names size"),
    ],
)
def test_weights_that_do_not_fit(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as found:
        parse_weights(text, ("size",))
    assert found.value.hint


@pytest.mark.parametrize(
    ("text", "message"), [("", "no metric ''"), ("flop", "did you mean flops"), ("size,size", "once")]
)
def test_metrics_that_do_not_fit(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_metrics(text)


def test_the_surveys_metrics_are_no_device_figures() -> None:
    assert not any(METRICS[name].device for name in SURVEY_METRICS)
    assert all(METRICS[name].device for name in METRICS if name not in SURVEY_METRICS)
