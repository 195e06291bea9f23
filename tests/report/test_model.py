"""The report as data: it survives JSON, adds up, and refuses what contradicts itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from edgevit.report import ExportReport
from edgevit.report.model import (
    MAX_FIXES,
    AccuracyReport,
    Confusion,
    Fix,
    Gate,
    MappingReport,
    SizeReport,
    SizeRow,
    SqnrReport,
    SqnrRow,
)
from tests.report.factory import export_report


def dumped(report: ExportReport) -> str:
    return json.dumps(report.model_dump(mode="json"), allow_nan=False)


@pytest.mark.parametrize("unmapped", [None, 40])
def test_json_gives_the_report_back(unmapped: int | None) -> None:
    report = export_report(depth=2, unmapped=unmapped)
    again = ExportReport.model_validate_json(dumped(report))
    assert again == report
    assert again.sqnr is not None
    assert again.sqnr.rows[1].sqnr_db == math.inf


def key_paths(value: Any, path: str = "") -> Iterator[str]:
    """Every place in a JSON value with its type; the items of a list count as one."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from key_paths(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for item in value:
            yield from key_paths(item, f"{path}[]")
    else:
        yield f"{path}: {type(value).__name__}"


def test_the_fields_of_report_json(golden: Callable[[str, str], None]) -> None:
    """Other programs read the file: a field is renamed or removed on purpose only."""
    value = json.loads(dumped(export_report(depth=2, unmapped=40)))
    golden("report/fields.txt", "".join(f"{line}\n" for line in sorted(set(key_paths(value)))))


def test_json_says_what_follows_from_the_fields() -> None:
    report = export_report(depth=2, unmapped=40)
    value = json.loads(dumped(report))
    assert value["verdict"] == "gates failed"
    assert value["mapping"]["mapped"] == 40
    assert value["mapping"]["total"] == len(value["mapping"]["rows"])
    size = value["size"]
    assert size["ratio"] == pytest.approx(size["float_bytes"] / size["file_bytes"])
    assert value["sqnr"]["rows"][1]["sqnr_db"] == "Infinity"
    assert [gate["passed"] for gate in value["gates"]] == [False, True]


def test_every_section_says_what_kind_its_figures_are() -> None:
    value = json.loads(dumped(export_report(depth=2)))
    kinds = {name: value[name]["kind"] for name in ("accuracy", "sqnr", "size", "mapping")}
    assert kinds == {"accuracy": "measured", "sqnr": "measured", "size": "measured", "mapping": "predicted"}
    assert value["mapping"]["memory"]["kind"] == "predicted"
    with pytest.raises(ValidationError, match="kind"):
        MappingReport(kind="guessed", rows=(), subgraphs=0, float_ops=0)  # type: ignore[arg-type]


def test_an_unknown_field_is_refused() -> None:
    value = json.loads(dumped(export_report(depth=1)))
    value["mapping"]["rows"][0]["colour"] = "red"
    with pytest.raises(ValidationError, match="colour"):
        ExportReport.model_validate(value)


def test_a_report_does_not_change() -> None:
    report = export_report(depth=1)
    with pytest.raises(ValidationError, match="frozen"):
        report.target = "tvm"


@pytest.mark.parametrize(
    ("sense", "value", "passed"),
    [("at least", 99.9, False), ("at least", 100.0, True), ("at most", 100.0, True), ("at most", 100.1, False)],
)
def test_a_gate_is_passed_at_its_limit(sense: Any, value: float, passed: bool) -> None:
    gate = Gate(name="g", option="--g", sense=sense, limit=100.0, value=value, unit="%")
    assert gate.passed is passed


def test_a_ratio_is_not_nan() -> None:
    with pytest.raises(ValidationError, match="not NaN"):
        SqnrRow(index=0, loc="a", op="add", sqnr_db=math.nan)


def test_the_waterfall_is_in_order_and_its_worst_rows_exist() -> None:
    rows = tuple(SqnrRow(index=index, loc=f"l{index}", op="add", sqnr_db=30.0) for index in (0, 2, 5))
    assert [row.loc for row in SqnrReport(images=1, rows=rows, worst=(5, 0)).worst_rows] == ["l5", "l0"]
    with pytest.raises(ValidationError, match=r"\[1\]"):
        SqnrReport(images=1, rows=rows, worst=(1, 2))
    with pytest.raises(ValidationError, match="execution order"):
        SqnrReport(images=1, rows=rows[::-1])


def test_the_ledger_never_holds_more_than_the_file() -> None:
    row = SizeRow(loc="a", weights_bytes=90, scales_bytes=4, other_bytes=6)
    assert SizeReport(file_bytes=100, float_bytes=360, parameters=90, rows=(row,)).structure_bytes == 0
    with pytest.raises(ValidationError, match="1 bytes more"):
        SizeReport(file_bytes=99, float_bytes=360, parameters=90, rows=(row,))


def test_accuracy_of_float_and_int8_come_together() -> None:
    unlabelled = AccuracyReport(source="s", images=10, agreement=0.9, logits_sqnr_db=20.0)
    assert not unlabelled.labelled
    assert unlabelled.drop_points is None
    with pytest.raises(ValidationError, match="together"):
        AccuracyReport(source="s", images=10, agreement=0.9, logits_sqnr_db=20.0, top1_int8=0.5)
    gain = AccuracyReport(source="s", images=10, agreement=0.9, logits_sqnr_db=20, top1_int8=0.6, top1_float=0.5)
    assert gain.drop_points == pytest.approx(-10.0)


def test_confusion_is_square() -> None:
    with pytest.raises(ValidationError, match="2 x 2"):
        Confusion(names=("a", "b"), counts=((1, 2), (3,)))


def test_no_more_fixes_than_a_person_reads() -> None:
    fix = Fix(title="t", why="w", effect="e")
    report = export_report(depth=1)
    fields = {name: getattr(report, name) for name in type(report).model_fields}
    with pytest.raises(ValidationError, match="at most 3"):
        ExportReport(**{**fields, "fixes": (fix,) * (MAX_FIXES + 1)})


def test_operators_are_counted_most_frequent_first() -> None:
    mapping = export_report(depth=2, unmapped=40).mapping
    assert mapping is not None
    counts = mapping.counts()
    totals = [count.mapped + count.unmapped for count in counts]
    assert totals == sorted(totals, reverse=True)
    assert sum(totals) == mapping.total
    assert sum(count.mapped for count in counts) == mapping.mapped == 40
