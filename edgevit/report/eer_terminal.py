"""The comparison by EER, and the audit of the survey, in the terminal. Names from bundles are not read as markup."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgevit.report.eer import EerReport, EerRow, SurveyReport
from edgevit.report.figures import NONE
from edgevit.report.terminal import printable

MARK = "*"


def print_eer(report: EerReport, console: Console) -> None:
    """Print the models with their figures, the front marked, and the notes."""
    table = Table(box=None, pad_edge=False)
    table.add_column("model", overflow="fold")
    table.add_column("front", justify="center")
    units = [f"{figure.metric}\n{figure.unit}" for figure in report.rows[0].figures]
    rates = ["EER\n%", *(["Eq. 28\nliteral"] if report.weighted else [])]
    for heading in ("Top-1\n%", *units, *rates):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("made of", overflow="fold")
    for row in report.rows:
        mark = Text(MARK if row.front else "", "bold green")
        table.add_row(_text(row.name, console), mark, *_numbers(row, report), Text(row.kinds, "dim"))
    console.print(table)
    console.print()
    weights = ", ".join(f"{name} {weight:g}" if report.weighted else name for name, weight in report.weights.items())
    equation = "Eq. 28 normalized" if report.weighted else "Eq. 26"
    console.print(_text(f"EER: {equation} over {weights}, beside {report.reference}; less is better", console))
    if report.published:
        console.print(f"{len(report.published)} rows of the survey (published) are in --json, --csv and --html")
    console.print(f"{MARK} on the Pareto front of Top-1 against EER")
    for note in report.notes:
        console.print(_text(f"note: {note}", console, "yellow"))


def print_survey(report: SurveyReport, console: Console) -> None:
    """Print how many rows agree, and those that do not or have a note."""
    counts = report.counts
    console.print(
        f"{len(report.rows)} rows of Tables II to VIII, recomputed: {counts['agrees']} agree within 0.05 points, "
        f"{counts['truncated']} are truncated, {counts['differs']} differ, {counts['n/a']} have no figures"
    )
    console.print()
    table = Table(box=None, pad_edge=False)
    for heading in ("table", "model", "printed", "recomputed", "outcome", "note"):
        is_number = heading in ("printed", "recomputed")
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    numbers = {note: f"[{number}]" for number, note in enumerate(_distinct_notes(report), 1)}
    for row in report.remarkable:
        printed = NONE if row.printed is None else f"{row.printed:.1f}"
        ours = NONE if row.recomputed is None else f"{row.recomputed:.3f}"
        note = numbers.get(row.note, "")
        table.add_row(*(_text(cell, console) for cell in (row.table, row.model, printed, ours, row.outcome, note)))
    console.print(table)
    console.print()
    for note, number in numbers.items():
        console.print(_text(f"{number} {note}", console))


def _distinct_notes(report: SurveyReport) -> list[str]:
    """Each note once, in the order of the rows."""
    return list(dict.fromkeys(row.note for row in report.rows if row.note))


def _numbers(row: EerRow, report: EerReport) -> list[str]:
    top1 = NONE if row.top1 is None else f"{row.top1:.2f}"
    rate = f"{row.eer:.2f}"
    if row.eer_interval is not None:
        rate += f" ({row.eer_interval[0]:.2f} to {row.eer_interval[1]:.2f})"
    literal = [f"{row.eer_literal:.2f}"] if report.weighted else []
    return [top1, *(f"{figure.value:.4g}" for figure in row.figures), rate, *literal]


def _text(words: str, console: Console, style: str = "") -> Text:
    return Text(printable(words, console.encoding), style)
