"""The comparison by EER, and the audit of the survey, as one HTML page each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgevit.report.eer import EerReport, EerRow, PublishedRow, SurveyLine, SurveyReport
from edgevit.report.figures import plural
from edgevit.report.html import render_page
from edgevit.report.plots import Json, Plot, plain

COLOURS = {"CA": "teal", "P": "violet", "KD": "warn"}
"""Of the survey's categories; quantization and combinations of several are neutral."""

CATEGORIES = {"CA": "compact architectures", "P": "pruning", "KD": "distillation", "Q": "quantization"}
SURVEY_SETS = (("#Par, FLOPs", "cost"), ("#Bit, Size", "bits"))
BUBBLE = 34.0
"""Diameter in CSS pixels of the model with the most parameters; the area of the others is in proportion."""

SMALLEST = 7
AXES: Json = {
    "xaxis": {"title": {"text": "EER (%), less is better"}, "rangemode": "tozero"},
    "yaxis": {"title": {"text": "Top-1 (%)"}, "automargin": True},
}


def render_eer(report: EerReport) -> str:
    """The page of a comparison. Raises ToolNotFound where jinja2 or plotly is not installed."""
    plot = eer_plot(report)
    return render_page("eer.html.j2", {plot.id: plot}, report=report)


def render_survey(report: SurveyReport) -> str:
    """The page of the audit. Raises ToolNotFound where jinja2 or plotly is not installed."""
    plots = {plot.id: plot for plot in (survey_plot(report, metrics, name) for metrics, name in SURVEY_SETS)}
    return render_page("survey.html.j2", plots, report=report)


def eer_plot(report: EerReport) -> Plot:
    """Top-1 against EER: the survey's rows behind, the user's models with their intervals and their front before."""
    judged = [row for row in report.rows if row.top1 is not None]
    front = sorted((row for row in judged if row.front), key=lambda row: row.eer)
    categories = dict.fromkeys(row.category for row in report.published)
    traces = [
        _bubbles(category, [row for row in report.published if row.category == category]) for category in categories
    ]
    if front:
        line = {"color": "accent", "width": 1.5, "dash": "dot"}
        trace = {"type": "scatter", "mode": "lines", "name": "Pareto front", "line": line, "hoverinfo": "skip"}
        traces.append(trace | {"x": [_short(row.eer) for row in front], "y": [row.top1 for row in front]})
    if judged:
        traces.append(_models(judged))
    caption = f"Top-1 against EER of {plural(len(judged), 'model')} beside {report.reference}."
    if front:
        caption += f" On the Pareto front: {', '.join(row.name for row in front)}."
    if report.published:
        caption += f" Behind: {plural(len(report.published), 'row')} of the survey, as published (Top-1 on ImageNet-1k)"
        caption += ", the area of each in proportion to its parameters."
    return Plot("plot-eer", caption, 460, traces, AXES)


def survey_plot(report: SurveyReport, metrics: str, name: str) -> Plot:
    """Top-1 against recomputed EER of the survey's rows whose EER is over ``metrics``."""
    rows = [row for row in report.rows if row.metrics == metrics and row.recomputed is not None]
    traces = []
    for category in dict.fromkeys(row.category for row in rows):
        ours = [row for row in rows if row.category == category]
        rates = [_short(row.recomputed or 0.0) for row in ours]
        traces.append(_published_trace(_category(category), category, ours, rates))
    caption = f"Top-1 on ImageNet-1k against recomputed EER over {metrics} of {plural(len(rows), 'row')}, as published."
    return Plot(f"plot-survey-{name}", caption, 400, traces, AXES)


def _models(rows: Sequence[EerRow]) -> Json:
    """The user's models. plotly reads tags in every text, so names pass through `plain`."""
    values = [row.top1 or 0.0 for row in rows]
    kinds = " and ".join(sorted({figure.kind for row in rows for figure in row.figures}))
    # Without an interval the error bar has no length.
    top1 = [row.top1_interval or (value, value) for row, value in zip(rows, values, strict=True)]
    rates = [row.eer_interval or (row.eer, row.eer) for row in rows]
    texts = [(row.name, f"{row.model} for {row.target}", row.kinds, row.images) for row in rows]
    hover = "<b>%{customdata[0]}</b><br>%{customdata[1]}<br>EER %{x:.2f} % (%{customdata[2]})<br>Top-1 %{y:.2f} %"
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": f"your models ({kinds})",
        "x": [_short(row.eer) for row in rows],
        "y": [_short(value) for value in values],
        "error_x": _error([row.eer for row in rows], rates),
        "error_y": _error(values, top1),
        "text": [plain(row.name) for row in rows],
        "textposition": "middle right",
        "cliponaxis": False,
        "customdata": [list(map(plain, words)) for words in texts],
        "marker": {
            "size": 12,
            "color": "accent",
            "symbol": ["star" if row.front else "diamond" for row in rows],
        },
        "hovertemplate": f"{hover} (%{{customdata[3]}})<extra></extra>",
    }


def _error(values: Sequence[float], bounds: Sequence[tuple[float, float]]) -> Json:
    pairs = list(zip(values, bounds, strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "array": [_short(high - value) for value, (_, high) in pairs],
        "arrayminus": [_short(value - low) for value, (low, _) in pairs],
        "thickness": 1.5,
        "width": 4,
        "color": "accent",
    }


def _bubbles(category: str, rows: Sequence[PublishedRow]) -> Json:
    trace = _published_trace(f"{_category(category)} (published)", category, rows, [_short(row.eer) for row in rows])
    sizes = [row.parameters or 0.0 for row in rows]
    # plotly's rule for areas: sizeref is 2 * largest / diameter**2, here of a model as large as the reference.
    area = {"size": sizes, "sizemode": "area", "sizeref": 2 * 86.6 / BUBBLE**2, "sizemin": SMALLEST / 2}
    return trace | {"marker": trace["marker"] | area}


def _published_trace(
    name: str, category: str, rows: Sequence[PublishedRow] | Sequence[SurveyLine], rates: Iterable[float]
) -> Json:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": list(rates),
        "y": [row.top1 for row in rows],
        "customdata": [[plain(row.model), row.table, plain(row.note)] for row in rows],
        "marker": {"size": SMALLEST, "color": COLOURS.get(category, "neutral"), "opacity": 0.55},
        "hovertemplate": "<b>%{customdata[0]}</b>, Table %{customdata[1]}<br>EER %{x:.2f} %, Top-1 %{y:.1f} %"
        "<br>%{customdata[2]}<extra>published</extra>",
    }


def _category(category: str) -> str:
    return CATEGORIES.get(category, category)


def _short(value: float) -> float:
    return round(value, 4)
