"""The survey's rows: all there, as printed, and recomputed with the outcomes of the audit."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from edgevit.metrics.eer import SURVEY_METRICS
from edgevit.metrics.survey import TOLERANCE, comparable_rows, survey_rows
from tests.tools import requires

OTHER = [
    ("II", "PVTv2-B2-LiSRA", 24.0, 24.128),
    ("III", "VTP-DeiT-B (tau=0.2)", 88.5, 89.089),
    ("III", "VTP-DeiT-B (tau=0.4)", 77.9, 78.294),
    ("III", "PS-DeiT-B", 77.3, 78.072),
    ("III", "DPS-DeiT-B", 76.2, 76.935),
    ("III", "PS-LV-ViT-S", 32.8, 28.364),
    ("III", "DPS-LV-ViT-S", 32.3, 27.796),
    ("III", "X-Pruner-DeiT-B", 74.1, 74.379),
    ("III", "DynamicViT-LV-S/07", 28.9, 28.599),
    ("IV", "DynamicViT-LV-S/07", 28.9, 28.599),
    ("V", "APQ-ViT-ViT-T W4A4", 6.3, 6.689),
    ("V", "APQ-ViT-ViT-T W4A8", 18.4, 9.996),
    ("V", "APQ-ViT-ViT-T W6A6", 18.4, 9.996),
    ("VI", "APQ-ViT-DeiT-Ti W8A8", 10.1, 13.258),
    ("VII", "PTQ4ViT-Swin-T W6A6", 12.5, 12.663),
    ("VII", "PTQ4ViT-Swin-B W8A8", 25.9, 25.833),
    ("VII", "APQ-ViT-Swin-B W8A8", 25.9, 25.833),
    ("VII", "NoisyQuant-PTQ4ViT-Swin-T W6A6", 12.5, 12.663),
    ("VII", "NoisyQuant-PTQ4ViT-Swin-B W8A8", 25.9, 25.833),
    ("VIII-catg", "DynamicViT-LV-S/07", 28.9, 28.599),
    ("VIII-all", "NoisyQuant-PTQ4ViT-Swin-B W6A6", 56.5, 56.967),
]
"""Table, row, printed and recomputed EER of the rows that neither rounding nor truncation explains."""


def test_172_rows_in_the_tables() -> None:
    rows = survey_rows()
    assert len(rows) == 172
    counts = {"II": 40, "III": 23, "IV": 24, "V": 27, "VI": 28, "VII": 22, "VIII-catg": 4, "VIII-all": 4}
    assert Counter(row.table for row in rows) == counts


def test_the_outcomes_of_the_audit() -> None:
    assert Counter(row.outcome for row in survey_rows()) == {"agrees": 113, "truncated": 35, "differs": 21, "n/a": 3}


def test_the_rows_that_differ() -> None:
    found = [(row.table, row.label, row.printed, row.recomputed) for row in survey_rows() if row.outcome == "differs"]
    assert [(table, label, printed, round(ours or 0, 3)) for table, label, printed, ours in found] == OTHER


def test_rows_without_figures() -> None:
    absent = [row for row in survey_rows() if row.outcome == "n/a"]
    assert [(row.model, row.printed, row.recomputed) for row in absent] == [
        ("Flowformer", None, None),
        ("CivT-Ti", None, None),
        ("CivT-S", None, None),
    ]


@requires("shared")
def test_the_shipped_rows_are_those_of_the_audit(shared_data: Path) -> None:
    with (shared_data / "eer_rows.csv").open(encoding="utf-8", newline="") as file:
        audited = list(csv.DictReader(file))
    shipped = Path("edgevit/metrics/data/survey.csv")
    with (Path(__file__).parents[2] / shipped).open(encoding="utf-8", newline="") as file:
        ours = list(csv.DictReader(file))
    assert len(audited) == len(ours) == 172
    for row, expected, computed in zip(ours, audited, survey_rows(), strict=True):
        assert {key: row[key] for key in row if key != "note"} == {key: expected[key] for key in row if key != "note"}
        if expected["eer_recomputed"]:
            assert computed.recomputed == pytest.approx(float(expected["eer_recomputed"]), abs=5e-5)
        agrees = {"agrees": "yes", "n/a": "n/a"}.get(computed.outcome, "no")
        assert agrees == expected["agrees"]


def test_truncation_is_what_it_says() -> None:
    truncated = [row for row in survey_rows() if row.outcome == "truncated"]
    assert all(row.printed is not None and row.recomputed is not None for row in truncated)
    assert all(TOLERANCE < (row.recomputed or 0) - (row.printed or 0) < 0.1 for row in truncated)


@pytest.mark.parametrize(
    ("model", "words", "rows"),
    [
        ("TinyViT", "without distillation", 5),
        ("Flowformer", "ICML 2022", 1),
        ("XCiT-T12/16", "XCiT-S12/16", 1),
        ("PoolFormer", "AvgPool(y) - y", 5),
        ("PTQ4ViT", "of activations, not of weights", 14),
        ("NViT", "against the remark that pruning does not change it", 4),
    ],
)
def test_errors_of_the_survey_stand_beside_their_rows(model: str, words: str, rows: int) -> None:
    noted = [row.model for row in survey_rows() if words in row.note]
    assert len(noted) == rows
    assert all(name.startswith(model) for name in noted)


def test_rows_for_other_metrics() -> None:
    """Every model once; what the row does not give is estimated and says so, and quantized rows lack FLOPs."""
    rows = comparable_rows(SURVEY_METRICS)
    assert len({(row.label, row.top1) for row in rows}) == len(rows) == 81
    castling = next(row for row in rows if row.model == "Castling-MViTv2-T")
    assert castling.figures["size"].value == pytest.approx(96.4)
    assert {name: figure.kind for name, figure in castling.figures.items()} == {
        "params": "published",
        "flops": "published",
        "bits": "estimated",
        "size": "estimated",
    }
    quantized = [row for row in rows if row.category == "Q"]
    assert [(row.label, row.table) for row in quantized] == [("NoisyQuant-PTQ4ViT-Swin-B W6A6", "VIII-catg")]
    assert comparable_rows(("latency",)) == ()
    assert sum(row.category == "Q" for row in comparable_rows(("bits", "size"))) == 77
