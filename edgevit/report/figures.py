"""Numbers in words, the same in the terminal and on the page: the verdict, the five key figures, the units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from edgevit.report.export import ExportReport
from edgevit.report.model import AccuracyReport, Gate, Kind, MappingReport, SizeReport, SqnrReport

NONE = "—"
Level = Literal["good", "warn", "bad", "plain"]


@dataclass(frozen=True)
class Figure:
    """One key figure. ``kind`` is None where nothing was found out; ``level`` is how it is marked."""

    label: str
    value: str
    detail: str
    kind: Kind | None
    level: Level = "plain"


@dataclass(frozen=True)
class Headline:
    """The verdict as a sentence, and how it is marked."""

    text: str
    level: Level


def byte_text(count: int) -> str:
    """Bytes in the largest binary unit that leaves at least 1."""
    size, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{count} B" if unit == "B" else f"{size:.2f} {unit}"


def percent(share: float, digits: int = 1) -> str:
    """A share in 0..1 as percent. Rounding never makes 100 % of less, nor 0 % of more."""
    least = 10.0**-digits
    value = 100.0 * share
    if 0.0 < share < 1.0:
        value = min(max(value, least), 100.0 - least)
    return f"{value:.{digits}f} %"


def decibel(value: float | None) -> str:
    """A ratio in dB; an infinite one says what it means."""
    if value is None:
        return NONE
    if math.isinf(value):
        return "exact" if value > 0 else "no signal"
    return f"{value:.1f} dB"


def points(drop: float) -> str:
    """A loss in percentage points, signed as the change that it is."""
    return f"{-drop:+.2f} points".replace("-", "−") if abs(drop) >= 0.005 else "±0 points"


def plural(count: int, noun: str) -> str:
    """``1 op``, ``2 ops``."""
    return f"{count} {noun}" if count == 1 else f"{count:,} {noun}s"


def gate_text(gate: Gate) -> str:
    """A gate with what was found and what was asked for."""
    return f"{gate.name} {gate.value:.4g} {gate.unit} ({gate.sense} {gate.limit:.4g} {gate.unit})"


def headline(report: ExportReport) -> Headline:
    """The verdict in one sentence. Ops off the accelerator are said even where no gate asks for them."""
    if failed := report.failed_gates:
        return Headline("Gates failed: " + "; ".join(map(gate_text, failed)), "bad")
    mapping = report.mapping
    if mapping is not None and mapping.rejected:
        return Headline(f"The compiler would reject the model: {mapping.rejected}", "bad")
    if mapping is not None and mapping.mapped < mapping.total:
        left = plural(mapping.total - mapping.mapped, "op")
        return Headline(f"Ok, but {left} of {mapping.total} not on the accelerator", "warn")
    return Headline("Ok: every gate passed" if report.gates else "Ok", "good")


def key_figures(report: ExportReport) -> tuple[Figure, ...]:
    """The five figures at the top of the page, always in this order."""
    return (
        _mapped(report.mapping),
        _size(report.size),
        _top1(report.accuracy),
        _agreement(report.accuracy),
        _sqnr(report.accuracy, report.sqnr),
    )


def _mapped(mapping: MappingReport | None) -> Figure:
    if mapping is None:
        return Figure("Ops mapped", NONE, "the target maps no ops", None)
    full = mapping.mapped == mapping.total
    detail = f"{plural(mapping.subgraphs, 'subgraph')}, {plural(mapping.float_ops, 'float op')} left"
    return Figure("Ops mapped", f"{mapping.mapped} of {mapping.total}", detail, mapping.kind, "good" if full else "bad")


def _size(size: SizeReport) -> Figure:
    detail = f"{size.ratio:.2f}× smaller than float ({byte_text(size.float_bytes)})"
    return Figure("Size", byte_text(size.file_bytes), detail, size.kind)


def _top1(accuracy: AccuracyReport | None) -> Figure:
    if accuracy is None:
        return Figure("Top-1 int8", NONE, "not evaluated", None)
    if accuracy.top1_float is None or accuracy.top1_int8 is None or accuracy.drop_points is None:
        return Figure("Top-1 int8", NONE, f"{plural(accuracy.images, 'image')} without labels", None)
    detail = f"float {percent(accuracy.top1_float, 2)}, {points(accuracy.drop_points)}"
    return Figure("Top-1 int8", percent(accuracy.top1_int8, 2), detail, accuracy.kind)


def _agreement(accuracy: AccuracyReport | None) -> Figure:
    if accuracy is None:
        return Figure("Agreement", NONE, "not evaluated", None)
    detail = f"same class as float on {plural(accuracy.images, 'image')}"
    return Figure("Agreement", percent(accuracy.agreement, 2), detail, accuracy.kind)


def _sqnr(accuracy: AccuracyReport | None, sqnr: SqnrReport | None) -> Figure:
    if accuracy is None:
        return Figure("Logits SQNR", NONE, "not evaluated", None)
    worst = sqnr.worst_rows[:1] if sqnr is not None else ()
    detail = "".join(f"worst layer {row.loc or row.op}" for row in worst) or f"on {plural(accuracy.images, 'image')}"
    return Figure("Logits SQNR", decibel(accuracy.logits_sqnr_db), detail, accuracy.kind)
