"""The report of an export: typed data (`model`, `export`), ``report.json``, ``report.html``, a summary in the terminal.

Data flows one way: a backend and the export command fill an :class:`ExportReport`, everything else here renders it.
"""

from __future__ import annotations

from pathlib import Path

from edgevit.bundle import write_json
from edgevit.report.export import ExportReport
from edgevit.report.html import missing_packages, render_html

__all__ = ["HTML", "JSON", "ExportReport", "write_report"]

JSON = "report.json"
HTML = "report.html"


def write_report(folder: Path, report: ExportReport) -> list[Path]:
    """Write ``report.json``, and ``report.html`` where jinja2 and plotly are installed; say which were written.

    ``folder`` exists; it is meant to be one that appears whole, as `edgevit.bundle.write_bundle` gives.
    """
    data = folder / JSON
    write_json(data, report.model_dump(mode="json"))
    if missing_packages():
        return [data]
    page = folder / HTML
    page.write_text(render_html(report), encoding="utf-8", newline="\n")
    return [data, page]
