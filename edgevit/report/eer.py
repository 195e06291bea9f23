"""The comparison of exported models by accuracy and EER, and the audit of the survey's tables, as typed data."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from edgevit.metrics.bootstrap import eer_interval
from edgevit.metrics.eer import METRICS, VIT_B16, Eer, Figures, Kind, efficient_error_rate
from edgevit.metrics.pareto import pareto_front
from edgevit.metrics.survey import Outcome, SurveyRow, comparable_rows, survey_rows
from edgevit.report.eer_source import Candidate
from edgevit.report.model import Part

SURVEY_REFERENCE = "ViT-B/16 of the survey"
OUTCOMES: tuple[Outcome, ...] = ("agrees", "truncated", "differs", "n/a")


class EerFigure(Part):
    """One metric of one model beside the reference's, both in ``unit``."""

    metric: str
    unit: str
    value: float
    kind: Kind
    reference: float
    reference_kind: Kind


class EerRow(Part):
    """One model of the user. Top-1 and all rates are in percent; the intervals are 95 %.

    ``eer`` is the normalized Eq. 28 (Eq. 26 for equal weights), ``eer_literal`` Eq. 28 as printed. ``kinds`` says what
    the rate was made of. Without labelled images there is no Top-1, and the model is not on the front.
    """

    name: str
    model: str
    target: str
    images: str
    top1: float | None
    top1_interval: tuple[float, float] | None
    eer: float
    eer_literal: float
    eer_interval: tuple[float, float] | None
    kinds: str
    front: bool
    figures: tuple[EerFigure, ...]


class PublishedRow(Part):
    """One row of the survey over the same metrics, weights and reference. ``parameters`` is in millions."""

    table: str
    model: str
    category: str
    top1: float
    eer: float
    eer_literal: float
    kinds: str
    parameters: float | None
    note: str


class EerReport(Part):
    """Models beside one reference; ``weights`` sum to 1. ``published`` is empty where it was not asked for."""

    format: Literal[1] = 1
    reference: str
    weights: dict[str, float]
    rows: tuple[EerRow, ...]
    published: tuple[PublishedRow, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def weighted(self) -> bool:
        """Whether the weights differ, so that Eq. 28 is not Eq. 26."""
        return len(set(self.weights.values())) > 1


class SurveyLine(Part):
    """One row of the survey: what is printed, EER in percent, and the EER that follows from its own figures."""

    table: str
    model: str
    category: str
    metrics: str
    top1: float
    printed: float | None
    recomputed: float | None
    outcome: Outcome
    note: str


class SurveyReport(Part):
    """The audit of the survey's tables."""

    DERIVED: ClassVar[tuple[str, ...]] = ("counts",)

    format: Literal[1] = 1
    reference: str = SURVEY_REFERENCE
    rows: tuple[SurveyLine, ...] = Field(min_length=1)

    @property
    def counts(self) -> dict[Outcome, int]:
        """Rows by outcome."""
        return {outcome: sum(row.outcome == outcome for row in self.rows) for outcome in OUTCOMES}

    @property
    def remarkable(self) -> tuple[SurveyLine, ...]:
        """The rows that do not agree, and those with a note."""
        return tuple(row for row in self.rows if row.outcome != "agrees" or row.note)


def compare(
    candidates: Sequence[Candidate],
    weights: Mapping[str, float],
    *,
    reference: Candidate | None = None,
    survey: bool = False,
    allow_mixed: bool = False,
) -> EerReport:
    """Rates of ``candidates`` beside ``reference`` (None: the survey's ViT-B/16) and their front; with ``survey`` its
    rows over the same metrics too. Raises UsageError as `efficient_error_rate` does.
    """
    base = VIT_B16 if reference is None else reference.figures
    rates = [
        efficient_error_rate(candidate.figures, base, weights, name=candidate.name, allow_mixed=allow_mixed)
        for candidate in candidates
    ]
    judged = [index for index, candidate in enumerate(candidates) if candidate.top1 is not None]
    on_front = pareto_front([candidates[i].top1 or 0.0 for i in judged], [rates[i].value for i in judged])
    front = {index for index, best in zip(judged, on_front, strict=True) if best}
    rows = tuple(
        _row(candidate, rate, base, weights, index in front)
        for index, (candidate, rate) in enumerate(zip(candidates, rates, strict=True))
    )
    published = tuple(_published(row, base, weights) for row in comparable_rows(tuple(weights))) if survey else ()
    name = SURVEY_REFERENCE if reference is None else reference.name
    notes = _notes(candidates, published, survey)
    return EerReport(reference=name, weights=dict(weights), rows=rows, published=published, notes=notes)


def audit() -> SurveyReport:
    """The 172 rows of the survey, recomputed."""
    return SurveyReport(
        rows=tuple(
            SurveyLine(
                table=row.table,
                model=row.label,
                category=row.category,
                metrics=", ".join(METRICS[name].symbol for name in row.metrics),
                top1=row.top1,
                printed=row.printed,
                recomputed=row.recomputed,
                outcome=row.outcome,
                note=row.note,
            )
            for row in survey_rows()
        )
    )


def to_csv(report: EerReport | SurveyReport) -> str:
    """The rows as CSV with a heading; the user's models first, then those of the survey. Empty where not known."""
    records: list[dict[str, object]] = []
    if isinstance(report, SurveyReport):
        records += [row.model_dump() for row in report.rows]
    else:
        for row in report.rows:
            figures = {f"{figure.metric} ({figure.unit})": figure.value for figure in row.figures}
            values = row.model_dump(exclude={"figures", "top1_interval", "eer_interval"})
            records.append({**values, **_ends("top1", row.top1_interval), **_ends("eer", row.eer_interval), **figures})
        records += [{"name": row.model, **row.model_dump(exclude={"parameters"})} for row in report.published]
    out = io.StringIO()
    fields = list(dict.fromkeys(key for record in records for key in record))
    writer = csv.DictWriter(out, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def _ends(name: str, interval: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def _row(candidate: Candidate, rate: Eer, base: Figures, weights: Mapping[str, float], front: bool) -> EerRow:
    bounds = eer_interval(candidate.figures, base, weights)
    return EerRow(
        name=candidate.name,
        model=candidate.model,
        target=candidate.target,
        images=candidate.images,
        top1=candidate.top1,
        top1_interval=candidate.top1_interval,
        eer=100 * rate.value,
        eer_literal=100 * rate.literal,
        eer_interval=None if bounds is None else (100 * bounds.low, 100 * bounds.high),
        kinds=rate.kinds,
        front=front,
        figures=tuple(
            EerFigure(
                metric=metric,
                unit=METRICS[metric].unit,
                value=candidate.figures[metric].value,
                kind=candidate.figures[metric].kind,
                reference=base[metric].value,
                reference_kind=base[metric].kind,
            )
            for metric in weights
        ),
    )


def _published(row: SurveyRow, base: Figures, weights: Mapping[str, float]) -> PublishedRow:
    # A float row has no bits or size of its own; the estimates that stand in are named in its kinds.
    rate = efficient_error_rate(row.figures, base, weights, name=row.model, allow_mixed=True)
    parameters = row.figures.get("params")
    return PublishedRow(
        table=row.table,
        model=row.label,
        category=row.category,
        top1=row.top1,
        eer=100 * rate.value,
        eer_literal=100 * rate.literal,
        kinds=rate.kinds,
        parameters=None if parameters is None else parameters.value,
        note=row.note,
    )


def _notes(candidates: Sequence[Candidate], published: Sequence[PublishedRow], survey: bool) -> tuple[str, ...]:
    notes = []
    unlabelled = [candidate.name for candidate in candidates if candidate.top1 is None]
    if unlabelled:
        notes.append(f"without Top-1, and so not on the front: {', '.join(unlabelled)} (no labelled images)")
    sources = sorted({candidate.images for candidate in candidates if candidate.top1 is not None})
    if len(sources) > 1:
        notes.append(f"Top-1 is on different images, so that the front compares unlike figures: {'; '.join(sources)}")
    if survey and published:
        notes.append("the survey's Top-1 is on ImageNet-1k; its rows do not take part in the front")
    if survey and not published:
        notes.append("no row of the survey has all these metrics")
    return tuple(notes)
