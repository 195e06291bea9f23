"""The 172 rows of Tables II to VIII of the survey (arXiv 2309.02031v2), and their EER computed again.

``data/survey.csv`` holds what is printed: #Par in M, FLOPs in G (multiply-accumulates), bits of weights and of
activations, Size in MB, Top-1 on ImageNet-1k and EER in percent; ``note`` is ours and names errors of the row. Table
VIII is there twice, for the EER within a category (``VIII-catg``) and over all four metrics (``VIII-all``).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from edgevit.metrics.eer import SURVEY_METRICS, VIT_B16, Figure, Figures, efficient_error_rate, uniform

Outcome = Literal["agrees", "truncated", "differs", "n/a"]
"""Of the printed EER beside ours: within TOLERANCE; cut off instead of rounded; neither; no figures to compute from."""

TOLERANCE = 0.05
"""Percentage points; half of the last printed digit."""

ROUNDING = 1e-9
QUANTIZED = "Q"
FLOAT_BYTES = 4


@dataclass(frozen=True)
class SurveyRow:
    """One row: its figures (published), Top-1 and EER in percent as printed, and what is wrong with it, if anything."""

    table: str
    model: str
    category: str
    weight_bits: float | None
    activation_bits: float | None
    figures: Figures
    top1: float
    printed: float | None
    note: str

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the row's EER is over."""
        if self.table == "VIII-all":
            return SURVEY_METRICS
        return ("bits", "size") if self.category == QUANTIZED else ("params", "flops")

    @property
    def recomputed(self) -> float | None:
        """Eq. 26 against ViT-B/16, in percent; None where a figure is not given."""
        if not set(self.metrics) <= set(self.figures):
            return None
        return 100 * efficient_error_rate(self.figures, VIT_B16, uniform(self.metrics), name=self.model).value

    @property
    def outcome(self) -> Outcome:
        """How the printed EER compares with the recomputed one."""
        printed, ours = self.printed, self.recomputed
        if printed is None or ours is None:
            return "n/a"
        if abs(printed - ours) <= TOLERANCE + ROUNDING:
            return "agrees"
        return "truncated" if abs(math.floor(10 * ours) / 10 - printed) < ROUNDING else "differs"

    @property
    def label(self) -> str:
        """The model, with the bits of weights and activations where it is quantized."""
        if self.category != QUANTIZED:
            return self.model
        return f"{self.model} W{self.weight_bits:g}A{self.activation_bits:g}"


@cache
def survey_rows() -> tuple[SurveyRow, ...]:
    """All rows in the order of the tables."""
    text = (files("edgevit.metrics") / "data" / "survey.csv").read_text(encoding="utf-8")
    return tuple(_row(record) for record in csv.DictReader(text.splitlines()))


def comparable_rows(metrics: Sequence[str]) -> tuple[SurveyRow, ...]:
    """The rows that have all of ``metrics``, each model once. A float32 row without bits and size gets 32 bits and four
    bytes a parameter, as the survey itself does for its Table VIII; these two are marked estimated.
    """
    found: dict[tuple[object, ...], SurveyRow] = {}
    for row in survey_rows():
        complete = _completed(row)
        if set(metrics) <= set(complete.figures):
            key = (row.category, row.label, row.top1) if row.category == QUANTIZED else (row.model, row.top1)
            found.setdefault(key, complete)
    return tuple(found.values())


def _completed(row: SurveyRow) -> SurveyRow:
    if row.category == QUANTIZED or "params" not in row.figures:
        return row
    estimates = {
        "bits": Figure(8 * FLOAT_BYTES, "bit", "estimated"),
        "size": Figure(FLOAT_BYTES * row.figures["params"].value, "MB", "estimated"),
    }
    return SurveyRow(**{**vars(row), "figures": {**estimates, **row.figures}})


def _row(record: dict[str, str]) -> SurveyRow:
    weight_bits, activation_bits = _number(record["bits_w"]), _number(record["bits_a"])
    mean_bits = None if weight_bits is None or activation_bits is None else (weight_bits + activation_bits) / 2
    values = {
        "params": (_number(record["params_m"]), "M"),
        "flops": (_number(record["flops_g"]), "GMAC"),
        "bits": (mean_bits, "bit"),
        "size": (_number(record["size_mb"]), "MB"),
    }
    return SurveyRow(
        table=record["table"],
        model=record["model"],
        category=record["category"],
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        figures={name: Figure(value, unit, "published") for name, (value, unit) in values.items() if value is not None},
        top1=float(record["top1"]),
        printed=_number(record["eer_printed"]),
        note=record["note"],
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
