"""The plots of the page as plotly.js figures, in plain JSON types.

Colours are names of the style sheet's custom properties; the page puts their values in, so that one figure serves the
light, the dark and the printed page. plotly renders a few HTML tags in every text, so names from the model pass
through `plain` first.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgevit.report.export import ExportReport
from edgevit.report.figures import byte_text, decibel, percent, plural
from edgevit.report.model import AccuracyReport, Confusion, MappingReport, SizeReport, SqnrReport, SqnrRow
from edgevit.report.module_tree import module_tree

Json = dict[str, Any]
MAX_NAME = 60


@dataclass(frozen=True)
class Plot:
    """A figure with its place on the page: ``id`` of its element, height in CSS pixels, a caption that says in words
    what it shows.
    """

    id: str
    caption: str
    height: int
    data: list[Json]
    layout: Json = field(default_factory=dict)


def plain(text: str) -> str:
    """``text`` as plotly shows it letter by letter, shortened in the middle where it is long."""
    if len(text) > MAX_NAME:
        text = f"{text[: MAX_NAME // 2]}…{text[-MAX_NAME // 2 + 1 :]}"
    return html.escape(text, quote=False)


def report_plots(report: ExportReport) -> dict[str, Plot]:
    """The plots that the parts of ``report`` allow, by id."""
    plots: list[Plot] = []
    if report.accuracy is not None:
        plots.append(accuracy_plot(report.accuracy))
        if report.accuracy.confusion is not None:
            plots.append(confusion_plot(report.accuracy.confusion))
    if report.sqnr is not None and report.sqnr.rows:
        plots.append(waterfall_plot(report.sqnr))
    plots += [size_plot(report.size), ledger_plot(report.size)]
    if report.mapping is not None and report.mapping.rows:
        plots += [operators_plot(report.mapping), strip_plot(report.mapping)]
    return {plot.id: plot for plot in plots}


def accuracy_plot(accuracy: AccuracyReport) -> Plot:
    """Shares of the images with their 95 % confidence intervals."""
    shares = [("Agreement", accuracy.agreement, "accent")]
    if accuracy.top1_float is not None and accuracy.top1_int8 is not None:
        shares += [("Top-1 int8", accuracy.top1_int8, "violet"), ("Top-1 float", accuracy.top1_float, "neutral")]
    traces, words = [], []
    for name, share, colour in shares:
        bounds = accuracy.interval(share)
        words.append(f"{name} {percent(share, 2)} ({percent(bounds.low)} to {percent(bounds.high)})")
        error = {
            "type": "data",
            "symmetric": False,
            "array": [_short(100 * (bounds.high - share))],
            "arrayminus": [_short(100 * (share - bounds.low))],
            "thickness": 2,
            "width": 7,
        }
        trace = {"type": "scatter", "mode": "markers", "x": [_short(100 * share)], "y": [name], "error_x": error}
        hover = f"{words[-1]}<extra></extra>"
        traces.append(trace | {"marker": {"size": 13, "color": colour}, "hovertemplate": hover, "showlegend": False})
    caption = f"{plural(accuracy.images, 'image')}, 95 % confidence intervals (Wilson): {'; '.join(reversed(words))}."
    layout: Json = {"xaxis": {"title": {"text": "share of the images (%)"}}}
    # Markers of the outermost categories would be cut at the edge.
    layout["yaxis"] = {"automargin": True, "range": [-0.6, len(shares) - 0.4]}
    return Plot("plot-accuracy", caption, 120 + 40 * len(shares), traces, layout)


def confusion_plot(confusion: Confusion) -> Plot:
    """Images by true class and class predicted in int8."""
    names = [plain(name) for name in confusion.names]
    trace = {
        "type": "heatmap",
        "z": [list(row) for row in confusion.counts],
        "x": names,
        "y": names,
        "colorscale": [[0, "surface"], [1, "accent"]],
        "hovertemplate": "true %{y}, predicted %{x}: %{z}<extra></extra>",
        "colorbar": {"thickness": 10, "title": {"text": "images"}},
    }
    right = sum(row[i] for i, row in enumerate(confusion.counts))
    total = sum(map(sum, confusion.counts))
    layout = {
        "xaxis": {"title": {"text": "predicted (int8)"}, "type": "category", "automargin": True},
        "yaxis": {"title": {"text": "true"}, "type": "category", "autorange": "reversed", "automargin": True},
    }
    caption = f"Confusion of the int8 model: {right} of {plural(total, 'image')} on the diagonal."
    return Plot("plot-confusion", caption, 420, [trace], layout)


def waterfall_plot(sqnr: SqnrReport) -> Plot:
    """SQNR by execution order; values without noise leave a gap, values without signal lie at the bottom."""
    finite = [v for row in sqnr.rows for v in (row.sqnr_db, row.local_sqnr_db) if v is not None and math.isfinite(v)]
    floor = min([0.0, *finite])
    worst = sqnr.worst_rows
    traces = [
        _sqnr_trace("with all noise before it", sqnr.rows, [row.sqnr_db for row in sqnr.rows], floor)
        | {"mode": "lines+markers", "line": {"width": 1.5, "color": "accent"}, "marker": {"size": 4, "color": "accent"}}
    ]
    if any(row.local_sqnr_db is not None for row in sqnr.rows):
        local = _sqnr_trace("its own noise alone", sqnr.rows, [row.local_sqnr_db for row in sqnr.rows], floor)
        marker = {"size": 4, "color": "neutral", "symbol": "circle-open"}
        traces.insert(0, local | {"mode": "markers", "marker": marker})
    if worst:
        values = list(map(_own, worst))
        marker = {"size": 11, "color": "bad", "symbol": "x"}
        traces.append(_sqnr_trace("worst layers", worst, values, floor) | {"mode": "markers", "marker": marker})
    level = sqnr.threshold_db
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": level, "y1": level}
    note = {"xref": "paper", "x": 0, "xanchor": "left", "y": level, "yanchor": "bottom", "showarrow": False}
    layout: Json = {
        "xaxis": {"title": {"text": "op, in execution order"}},
        "yaxis": {"title": {"text": "SQNR (dB)"}},
        "shapes": [line | {"line": {"width": 1.5, "dash": "dash", "color": "warn"}}],
        "annotations": [note | {"text": f"{level:g} dB", "font": {"color": "warn"}, "bgcolor": "page"}],
    }
    named = ", ".join(f"{row.loc or row.op} ({decibel(_own(row))})" for row in worst)
    exact = sum(row.sqnr_db == math.inf for row in sqnr.rows)
    caption = f"Signal-to-quantization-noise ratio of {plural(len(sqnr.rows), 'op')} on {plural(sqnr.images, 'image')}."
    caption += f" Worst layers: {named}." if named else ""
    caption += f" {plural(exact, 'op')} without any noise left out." if exact else ""
    return Plot("plot-sqnr", caption, 380, traces, layout)


def _own(row: SqnrRow) -> float:
    """The ratio by which layers are judged: of their own noise, where it is known."""
    return row.sqnr_db if row.local_sqnr_db is None else row.local_sqnr_db


def _sqnr_trace(name: str, rows: Sequence[SqnrRow], values: Iterable[float | None], floor: float) -> Json:
    drawn = [None if v is None or v == math.inf else _short(max(v, floor)) for v in values]
    custom = [[plain(row.loc), plain(row.op), decibel(row.sqnr_db), decibel(row.local_sqnr_db)] for row in rows]
    hover = "%{x} · <b>%{customdata[0]}</b><br>%{customdata[1]}<br>%{customdata[2]}, own noise %{customdata[3]}"
    trace = {"type": "scatter", "name": name, "x": [row.index for row in rows], "y": drawn, "customdata": custom}
    return trace | {"hovertemplate": f"{hover}<extra></extra>", "connectgaps": False}


def size_plot(size: SizeReport) -> Plot:
    """The file, by what it holds, below the same parameters in float32."""
    parts = [
        ("weights", sum(row.weights_bytes for row in size.rows), "accent"),
        ("scales", sum(row.scales_bytes for row in size.rows), "violet"),
        ("other", sum(row.other_bytes for row in size.rows), "teal"),
        ("structure", size.structure_bytes, "neutral"),
    ]
    traces = [_size_trace("float32", "parameters in float32", size.float_bytes, "warn")]
    traces += [_size_trace("file", name, count, colour) for name, count, colour in parts if count]
    caption = f"File {byte_text(size.file_bytes)}: "
    caption += ", ".join(f"{name} {byte_text(count)}" for name, count, _ in parts if count)
    caption += f". In float32 the parameters take {byte_text(size.float_bytes)}."
    layout: Json = {"barmode": "stack", "xaxis": {"title": {"text": "MiB"}, "rangemode": "tozero"}}
    layout["yaxis"] = {"automargin": True, "categoryorder": "array", "categoryarray": ["file", "float32"]}
    return Plot("plot-size", caption, 210, traces, layout)


def _size_trace(bar: str, name: str, count: int, colour: str) -> Json:
    hover = f"{name}: {byte_text(count)} ({count:,} B)<extra></extra>"
    trace = {"type": "bar", "orientation": "h", "name": name, "y": [bar], "x": [_short(count / 2**20)]}
    return trace | {"marker": {"color": colour}, "hovertemplate": hover}


def ledger_plot(size: SizeReport) -> Plot:
    """The file by module, as a treemap that opens where it is clicked."""
    nodes = module_tree(size)
    hover = "<b>%{customdata[0]}</b><br>%{customdata[1]}, %{percentRoot:.1%} of the file<br>%{customdata[2]}"
    trace = {
        "type": "treemap",
        "ids": [node.id for node in nodes],
        "parents": [node.parent for node in nodes],
        "labels": [plain(node.label) for node in nodes],
        "values": [node.total_bytes for node in nodes],
        "customdata": [
            [
                plain(node.path),
                byte_text(node.total_bytes),
                f"weights {byte_text(node.weights_bytes)}, scales {byte_text(node.scales_bytes)}, "
                f"other {byte_text(node.other_bytes)}",
            ]
            for node in nodes
        ],
        "branchvalues": "total",
        "maxdepth": 4,
        "texttemplate": "%{label}<br>%{customdata[1]}",
        "hovertemplate": f"{hover}<extra></extra>",
        "root": {"color": "soft"},
        "marker": {"depthfade": False, "line": {"color": "page", "width": 1}},
        "textfont": {"color": "page"},
        "tiling": {"pad": 2},
        "pathbar": {"visible": True},
    }
    largest = sorted(size.rows, key=lambda row: (-row.total_bytes, row.loc))[:3]
    named = ", ".join(f"{row.loc or 'no module'} ({byte_text(row.total_bytes)})" for row in largest)
    caption = f"The file by module; click one to open it. Largest: {named}." if named else "The file by module."
    # A name that does not fit legibly is left to the hover text and the table.
    layout = {"margin": {"l": 2, "r": 2, "t": 24, "b": 2}, "uniformtext": {"minsize": 8, "mode": "hide"}}
    return Plot("plot-ledger", caption, 440, [trace], layout)


def operators_plot(mapping: MappingReport) -> Plot:
    """Ops by operator, on the accelerator and not."""
    counts = mapping.counts()
    names = [plain(count.operator) for count in counts]
    traces: list[Json] = []
    for name, values, colour in (
        ("mapped", [count.mapped for count in counts], "accent"),
        ("not mapped", [count.unmapped for count in counts], "bad"),
    ):
        bar = {"type": "bar", "orientation": "h", "name": name, "y": names, "x": values, "marker": {"color": colour}}
        traces.append(bar | {"hovertemplate": f"%{{y}}: %{{x}} {name}<extra></extra>"})
    layout: Json = {"barmode": "stack", "xaxis": {"title": {"text": "ops"}}}
    layout["yaxis"] = {"type": "category", "autorange": "reversed", "automargin": True}
    off = ", ".join(f"{count.unmapped} {count.operator}" for count in counts if count.unmapped)
    caption = f"{mapping.mapped} of {plural(mapping.total, 'op')} mapped." + (f" Not mapped: {off}." if off else "")
    return Plot("plot-operators", caption, 130 + 24 * len(counts), traces, layout)


def strip_plot(mapping: MappingReport) -> Plot:
    """All ops in execution order, one cell each, by whether they are mapped."""
    traces: list[Json] = []
    for name, mapped, colour in (("mapped", True, "accent"), ("not mapped", False, "bad")):
        rows = [row for row in mapping.rows if row.mapped is mapped]
        custom = [[plain(row.operator), plain(row.loc), plain(row.why or row.status)] for row in rows]
        hover = "%{x} · <b>%{customdata[0]}</b><br>%{customdata[1]}<br>%{customdata[2]}<extra></extra>"
        bar = {"type": "bar", "name": name, "x": [row.index for row in rows], "y": [1] * len(rows), "width": 1}
        bar |= {"customdata": custom, "marker": {"color": colour, "line": {"width": 0}}, "hovertemplate": hover}
        traces.append(bar)
    layout: Json = {"bargap": 0, "barmode": "overlay", "xaxis": {"title": {"text": "op, in execution order"}}}
    layout["yaxis"] = {"visible": False, "range": [0, 1], "fixedrange": True}
    first = next((row for row in mapping.rows if not row.mapped), None)
    caption = "Ops in execution order; all are on the accelerator."
    if first is not None:
        caption = f"Ops in execution order. The first one off the accelerator is op {first.index}, {first.operator}."
    return Plot("plot-strip", caption, 150, traces, layout)


def _short(value: float) -> float:
    return round(value, 4)
