"""The comparison as data: rates, front, notes, CSV; and the figures that a bundle holds."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from edgevit.errors import UsageError
from edgevit.metrics.eer import SURVEY_METRICS, Figure, uniform
from edgevit.report.eer import SURVEY_REFERENCE, EerReport, audit, compare, to_csv
from tests.report.eer_factory import candidate

ALL = uniform(SURVEY_METRICS)


def test_rates_and_front() -> None:
    small, large, worse = candidate("small", 5.0, 80.0), candidate("large", 50.0, 85.0), candidate("worse", 60.0, 84.0)
    report = compare([small, large, worse], ALL)
    assert [row.front for row in report.rows] == [True, True, False]
    first = report.rows[0]
    assert first.eer == pytest.approx(100 * (5 / 86.6 + 0.5 / 17.6 + 8 / 32 + 5 / 330) / 4)
    assert first.eer_literal == pytest.approx(first.eer / 4)
    assert first.kinds == "measured against published"
    assert report.reference == SURVEY_REFERENCE
    assert not report.weighted
    assert report.notes == ()


def test_a_bundle_as_reference_has_100_percent() -> None:
    base = candidate("base", 50.0, 85.0)
    report = compare([base, candidate("half", 25.0, 80.0)], {"params": 0.3, "size": 0.7}, reference=base)
    assert [row.eer for row in report.rows] == pytest.approx([100, 50])
    assert report.reference == "base"
    assert report.weighted
    assert report.rows[0].kinds == "measured"


def test_a_model_without_top1_is_not_on_the_front_and_hides_nobody() -> None:
    report = compare([candidate("blind", 1.0, None), candidate("seen", 5.0, 80.0)], ALL)
    assert [row.front for row in report.rows] == [False, True]
    assert report.notes == ("without Top-1, and so not on the front: blind (no labelled images)",)


def test_accuracies_on_different_images_are_said() -> None:
    other = replace(candidate("b", 5.0, 80.0), images="10 images of cats")
    (note,) = compare([candidate("a", 5.0, 80.0), other], ALL).notes
    assert "10 images of cats; 1000 images of val" in note


def test_the_surveys_rows_use_the_same_weights_and_reference() -> None:
    base = candidate("base", 24.1, 85.0)
    report = compare([base], {"params": 0.25, "flops": 0.75}, reference=base, survey=True)
    row = next(row for row in report.published if row.model == "Castling-MViTv2-T")
    assert row.eer == pytest.approx(100 * (0.25 * 24.1 / 24.1 + 0.75 * 4.5 / 2.41))
    assert row.kinds == "published against measured"
    estimated = next(row for row in compare([base], ALL, survey=True).published if row.model == "Castling-MViTv2-T")
    assert estimated.kinds == "published (bits estimated, size estimated) against published"
    assert estimated.eer == pytest.approx(45.6524, abs=1e-3)
    assert not any(row.front for row in report.rows if row.name != "base")


def test_a_mixture_is_refused_or_shown() -> None:
    mixed = candidate("mixed", 5.0, 80.0)
    mixed = replace(mixed, figures={**mixed.figures, "size": Figure(5.0, "MB", "estimated")})
    with pytest.raises(UsageError, match="mixed: figures of several kinds"):
        compare([mixed], ALL)
    (row,) = compare([mixed], ALL, allow_mixed=True).rows
    assert row.kinds == "measured (size estimated) against published"


def test_raw_samples_give_an_interval() -> None:
    samples = tuple(4.0 + 0.01 * (i % 50) for i in range(200))
    ours = replace(candidate("a", 5.0, 80.0), figures={"latency": Figure(4.25, "ms", "measured", "host", samples)})
    base = replace(candidate("b", 5.0, 80.0), figures={"latency": Figure(8.5, "ms", "measured", "host")})
    (row,) = compare([ours], {"latency": 1.0}, reference=base).rows
    assert row.eer == pytest.approx(50)
    assert row.eer_interval is not None
    low, high = row.eer_interval
    assert 49 < low < 50 < high < 51


def test_json_comes_back() -> None:
    report = compare([candidate("a", 5.0, 80.0)], ALL, survey=True)
    text = json.dumps(report.model_dump(mode="json"), allow_nan=False)
    assert EerReport.model_validate_json(text) == report


def test_csv_has_every_row_and_keeps_names_whole() -> None:
    awkward = 'a,"b"\nc'
    report = compare([candidate(awkward, 5.0, 80.0)], ALL, survey=True)
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert len(rows) == 1 + len(report.published) == 82
    assert rows[0]["name"] == awkward
    assert float(rows[0]["params (M)"]) == 5.0
    assert (rows[0]["top1_low"], rows[0]["eer_low"], rows[1]["front"]) == ("79.0", "", "")
    assert rows[1]["kinds"].startswith("published (bits estimated")


def test_the_audit_counts_and_lists() -> None:
    report = audit()
    assert report.counts == {"agrees": 113, "truncated": 35, "differs": 21, "n/a": 3}
    assert report.model_dump(mode="json")["counts"] == report.counts
    assert {row.outcome for row in report.rows if row not in report.remarkable} == {"agrees"}
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert len(rows) == 172
    assert rows[0] == {
        "table": "II", "model": "PVT-Tiny", "category": "CA", "metrics": "#Par, FLOPs", "top1": "75.1",
        "printed": "13.0", "recomputed": rows[0]["recomputed"], "outcome": "agrees", "note": "",
    }  # fmt: skip
    assert float(rows[0]["recomputed"]) == pytest.approx(13.019, abs=5e-4)
