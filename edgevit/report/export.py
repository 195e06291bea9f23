"""The report of one export: all its parts, and the verdict that follows from them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from edgevit.report.model import (
    MAX_FIXES,
    AccuracyReport,
    CalibrationReport,
    CostReport,
    DecisionRow,
    Fix,
    Gate,
    MappingReport,
    ModelSummary,
    Part,
    PassRow,
    SizeReport,
    SqnrReport,
)

Verdict = Literal["ok", "gates failed"]


class ExportReport(Part):
    """Everything that an export found out; a part is None or empty where it was not asked for or the target has none.

    ``status`` says how far the artifact is known to work, as in "predicted, not compiled". ``versions`` are those of
    the packages that took part, ``hashes`` SHA-256 by the name of what was hashed, ``stages`` names in order.
    """

    DERIVED: ClassVar[tuple[str, ...]] = ("verdict",)

    format: Literal[1] = 1
    model: ModelSummary
    target: str
    status: str
    gates: tuple[Gate, ...] = ()
    fixes: Annotated[tuple[Fix, ...], Field(max_length=MAX_FIXES)] = ()
    notes: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    accuracy: AccuracyReport | None = None
    sqnr: SqnrReport | None = None
    size: SizeReport
    cost: CostReport | None = None
    mapping: MappingReport | None = None
    decisions: tuple[DecisionRow, ...] = ()
    passes: tuple[PassRow, ...] = ()
    calibration: CalibrationReport | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    hashes: dict[str, str] = Field(default_factory=dict)

    @property
    def failed_gates(self) -> tuple[Gate, ...]:
        """The gates that were not passed."""
        return tuple(gate for gate in self.gates if not gate.passed)

    @property
    def verdict(self) -> Verdict:
        """``ok`` unless a gate failed."""
        return "gates failed" if self.failed_gates else "ok"
