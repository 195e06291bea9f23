"""The summary of an export in the terminal: readable as plain text at 80 columns, coloured where the terminal can.

Names come from models and are not trusted: control characters, which could move the cursor or recolour the terminal,
are shown as escapes, and nothing is read as markup. A stream that cannot encode a sign gets its ASCII stand-in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgevit.report.export import ExportReport
from edgevit.report.figures import Level, byte_text, decibel, headline, percent, plural, points
from edgevit.report.model import AccuracyReport, Kind, MappingReport

_STYLE: dict[Level, str] = {"good": "bold green", "warn": "bold yellow", "bad": "bold red", "plain": "bold"}
_ASCII = str.maketrans({"×": "x", "−": "-", "±": "+/-", "—": "-"})
_Line = tuple[str, str, Kind | None]


def print_summary(report: ExportReport, console: Console, written: Sequence[Path] = ()) -> None:
    """Print the figures, the verdict, the most useful fixes and the files ``written`` to ``console``."""
    encoding = console.encoding

    def text(words: str, style: str = "") -> Text:
        return Text(printable(words, encoding), style=style)

    console.print(text(f"{report.model.name} for {report.target}: {report.status}", "bold"))
    console.print()
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    for label, value, kind in _lines(report):
        table.add_row(text(label), text(value), text(kind or "", "dim"))
    console.print(Padding(table, (0, 0, 0, 2), expand=False))
    console.print()
    verdict = headline(report)
    console.print(Text.assemble(text("Verdict  ", "bold"), text(verdict.text, _STYLE[verdict.level])))
    if report.fixes:
        console.print()
        console.print(text("Most useful fixes", "bold"))
        for number, fix in enumerate(report.fixes, 1):
            console.print(Padding(text(f"{number}. {fix.title}"), (0, 0, 0, 2)))
            for line in filter(None, (fix.why, fix.effect)):
                console.print(Padding(text(line, "dim"), (0, 0, 0, 5)))
    if written:
        console.print()
    for path in written:
        # A path is to be copied or clicked: it is never broken into lines.
        console.print(text(f"wrote {path}"), soft_wrap=True)


def _lines(report: ExportReport) -> list[_Line]:
    size = report.size
    ratio = f"{byte_text(size.file_bytes)}, {size.ratio:.2f}× smaller than float ({byte_text(size.float_bytes)})"
    return [*_mapping(report.mapping), ("Size", ratio, size.kind), *_accuracy(report.accuracy)]


def _mapping(mapping: MappingReport | None) -> list[_Line]:
    if mapping is None:
        return []
    # Without ops there is no share to name.
    share = f" ({percent(mapping.mapped / mapping.total)})" if mapping.total else ""
    return [
        ("Ops mapped", f"{mapping.mapped} of {mapping.total}{share}", mapping.kind),
        ("Subgraphs", str(mapping.subgraphs), mapping.kind),
        # Whatever the mapping is, these were counted in the file.
        ("Float ops left", str(mapping.float_ops), "measured"),
    ]


def _accuracy(accuracy: AccuracyReport | None) -> list[_Line]:
    if accuracy is None:
        return [("Accuracy", "not evaluated", None)]
    lines: list[_Line] = []
    if accuracy.top1_float is not None and accuracy.top1_int8 is not None and accuracy.drop_points is not None:
        bounds = accuracy.interval(accuracy.top1_int8)
        spread = f"95 % CI {100 * bounds.low:.1f} to {percent(bounds.high)}"
        int8 = f"{percent(accuracy.top1_int8, 2)} ({points(accuracy.drop_points)}, {spread})"
        lines = [("Top-1 float", percent(accuracy.top1_float, 2), accuracy.kind), ("Top-1 int8", int8, accuracy.kind)]
    agreement = f"{percent(accuracy.agreement, 2)} on {plural(accuracy.images, 'image')}"
    lines += [
        ("Agreement", agreement, accuracy.kind),
        ("Logits SQNR", decibel(accuracy.logits_sqnr_db), accuracy.kind),
    ]
    return [*lines, ("Note", accuracy.note, None)] if accuracy.note else lines


def printable(words: str, encoding: str) -> str:
    """``words`` without control characters, in signs that a stream of this encoding has."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in words)
    if encoding.lower().startswith("utf"):
        return shown
    return shown.translate(_ASCII).encode(encoding, "backslashreplace").decode(encoding)
