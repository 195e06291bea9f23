"""The summary at 80 columns, without a terminal, with one, and with names that try to control it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from edgevit.report import ExportReport
from edgevit.report.model import Fix
from edgevit.report.terminal import print_summary
from tests.report.factory import export_report


def summary(report: ExportReport, width: int = 80, terminal: bool = False, written: tuple[Path, ...] = ()) -> str:
    file = io.StringIO()
    print_summary(report, Console(file=file, width=width, force_terminal=terminal), written)
    return file.getvalue()


def test_the_summary_at_80_columns(golden: Callable[[str, str], None]) -> None:
    text = summary(export_report(), written=(Path("out/model.tflite"), Path("out/report.html")))
    golden("report/summary.txt", "\n".join(line.rstrip() for line in text.splitlines()) + "\n")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    lines = summary(export_report(unmapped=100), width).splitlines()
    assert max(map(len, lines)) <= width


def test_it_answers_what_was_asked() -> None:
    text = " ".join(summary(export_report(unmapped=117)).split())
    for words in (
        "Ops mapped 117 of 330 (35.5 %) predicted",
        "Subgraphs 1 ",
        "Float ops left 0 ",
        "Size 4.51 MiB, 3.90× smaller than float (17.62 MiB) measured",
        "Top-1 float ",
        "Top-1 int8 ",
        "Agreement 98.30 % on 1,000 images",
        "Verdict Gates failed: ops mapped 35.45 % (at least 100 %)",
        "2. Calibrate on 128 images",
    ):
        assert words in text


def test_without_a_terminal_there_is_no_escape() -> None:
    assert "\x1b" not in summary(export_report())


def test_a_terminal_gets_colour_unless_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1;32m" in summary(export_report(), terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", summary(export_report(), terminal=True))


def test_names_neither_control_the_terminal_nor_are_markup() -> None:
    report = export_report(depth=1)
    fix = Fix(title="[bold]\x1b[31mred\x1b[0m[/bold]", why="a\rb\u202ec", effect="")
    text = summary(report.model_copy(update={"fixes": (fix,)}))
    assert "1. [bold]\\x1b[31mred\\x1b[0m[/bold]" in text
    assert "a\\rb\\u202ec" in text
    assert "\x1b" not in text


def test_a_path_is_one_line() -> None:
    path = Path("out") / ("x" * 100) / "report.html"
    assert f"wrote {path}" in summary(export_report(depth=1), written=(path,)).splitlines()


def test_a_stream_without_unicode_gets_stand_ins() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    report = export_report(depth=1)
    named = report.model.model_copy(update={"name": "größe"})
    print_summary(report.model_copy(update={"model": named}), Console(file=file, width=80))
    file.flush()
    text = raw.getvalue().decode("ascii")
    assert "3.90x smaller" in text or "x smaller than float" in text
    assert "gr\\xf6\\xdfe" in text


def test_without_evaluation_or_mapping() -> None:
    report = export_report(depth=1)
    text = summary(report.model_copy(update={"accuracy": None, "mapping": None, "fixes": ()}))
    assert "not evaluated" in text
    assert "Ops mapped" not in text
    assert "fixes" not in text
