"""Numbers in words: units, rounding that does not flatter, and the verdict as a sentence."""

from __future__ import annotations

import math

import pytest

from edgevit.report.figures import NONE, byte_text, decibel, headline, key_figures, percent, points
from tests.report.factory import export_report


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (8_074_035, "7.70 MiB"), (2**42, "4096.00 GiB")],
)
def test_bytes(count: int, text: str) -> None:
    assert byte_text(count) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0.0 %"), (1.0, "100.0 %"), (2999 / 3000, "99.9 %"), (1 / 3000, "0.1 %"), (0.5, "50.0 %")]
)
def test_only_all_is_100_percent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, NONE), (math.inf, "exact"), (-math.inf, "no signal"), (23.44, "23.4 dB")]
)
def test_decibel(value: float | None, text: str) -> None:
    assert decibel(value) == text


@pytest.mark.parametrize(("drop", "text"), [(0.2, "−0.20 points"), (-1.0, "+1.00 points"), (0.001, "±0 points")])
def test_a_drop_is_shown_as_the_change(drop: float, text: str) -> None:
    assert points(drop) == text


def test_the_verdict_names_the_worst_first() -> None:
    good = export_report(depth=1)
    assert headline(good).text == "Ok: every gate passed"
    failed = headline(export_report(depth=1, unmapped=10))
    assert failed.level == "bad"
    assert failed.text.startswith("Gates failed: ops mapped ")
    assert "(at least 100 %)" in failed.text
    assert "drop" not in failed.text
    partial = headline(export_report(depth=1, unmapped=10, gates=False))
    assert (partial.level, partial.text) == ("warn", "Ok, but 32 ops of 42 not on the accelerator")
    mapping = good.mapping
    assert mapping is not None
    rejected = good.model_copy(update={"mapping": mapping.model_copy(update={"rejected": "GELU is unknown"})})
    assert (headline(rejected).level, "GELU is unknown" in headline(rejected).text) == ("bad", True)


def test_five_figures_each_with_its_kind() -> None:
    figures = key_figures(export_report(depth=1))
    labels = [figure.label for figure in figures]
    assert labels == ["Ops mapped", "Size", "Top-1 int8", "Agreement", "Logits SQNR"]
    assert [figure.kind for figure in figures] == ["predicted", *["measured"] * 4]
    assert (figures[0].value, figures[0].level) == ("42 of 42", "good")
    assert key_figures(export_report(depth=1, unmapped=3))[0].level == "bad"


def test_what_was_not_evaluated_has_no_figure() -> None:
    report = export_report(depth=1)
    bare = report.model_copy(update={"accuracy": None, "mapping": None, "sqnr": None})
    assert [figure.value for figure in key_figures(bare)][2:] == [NONE] * 3
    assert [figure.kind for figure in key_figures(bare)] == [None, "measured", None, None, None]
    assert report.accuracy is not None
    unlabelled = report.accuracy.model_copy(update={"top1_float": None, "top1_int8": None})
    top1 = key_figures(report.model_copy(update={"accuracy": unlabelled}))[2]
    assert (top1.value, top1.detail) == (NONE, "1,000 images without labels")
