"""What an export found out, as typed data: the content of ``report.json`` and the only input of the other renderings.

It is the report of any backend. It holds no time, date or path of the machine, so that two exports with the same
inputs are equal byte for byte. Numbers are plain: shares in 0..1, sizes in bytes, ratios of signal to noise in dB.
Quantities that follow from the fields are properties; those in ``DERIVED`` are written to JSON too and ignored when
it is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from edgevit.report.wilson import Interval, wilson

Kind = Literal["measured", "predicted", "published"]
"""Where a figure comes from: computed or timed here, estimated by a model of the target, or read from a publication."""

MAX_FIXES = 3
MAX_CONFUSION_CLASSES = 128
GUIDE_DB = 20.0
"""Guide line of the waterfall: at 20 dB the noise has a tenth of the signal's root mean square."""


def _not_nan(value: float) -> float:
    if math.isnan(value):
        raise ValueError("a ratio is a number or infinite, not NaN")
    return value


def _json_number(value: float) -> float | str:
    # JSON has no infinity; the word is what a float is parsed from again.
    return value if math.isfinite(value) else ("Infinity" if value > 0 else "-Infinity")


Decibel = Annotated[float, AfterValidator(_not_nan), PlainSerializer(_json_number, when_used="json")]
"""A ratio in dB: infinite without noise, minus infinity for noise without signal (in JSON the words ``Infinity`` and
``-Infinity``)."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]


class Part(BaseModel):
    """Base of all parts: frozen, without unknown fields, properties named in ``DERIVED`` included in its dumps."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    DERIVED: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _with_derived(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {**handler(self), **{name: getattr(self, name) for name in self.DERIVED}}

    @model_validator(mode="before")
    @classmethod
    def _without_derived(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if key not in cls.DERIVED}


class ModelSummary(Part):
    """The model that was exported. ``input_shape`` is (height, width, channels) of one image."""

    name: str
    source: str
    parameters: Count
    input_shape: tuple[int, ...]
    classes: Count


class Gate(Part):
    """A limit that the user set, by command line option, and what was found; both in ``unit`` (``%``, ``points``,
    ``dB``)."""

    DERIVED: ClassVar[tuple[str, ...]] = ("passed",)

    name: str
    option: str
    sense: Literal["at least", "at most"]
    limit: float
    value: Decibel
    unit: str

    @property
    def passed(self) -> bool:
        """Whether the value keeps the limit."""
        return self.value >= self.limit if self.sense == "at least" else self.value <= self.limit


class Fix(Part):
    """What to change next: ``title`` is the action, ``why`` the finding behind it, ``effect`` what it would bring."""

    title: str
    why: str
    effect: str


class ClassAccuracy(Part):
    """Images of one class and the shares (0..1) of them classified correctly in float and in int8."""

    name: str
    images: Count
    top1_float: Share
    top1_int8: Share


class Confusion(Part):
    """``counts[true][predicted]`` images, predicted by the int8 model, in the order of ``names``."""

    names: Annotated[tuple[str, ...], Field(max_length=MAX_CONFUSION_CLASSES)]
    counts: tuple[tuple[Count, ...], ...]

    @model_validator(mode="after")
    def _square(self) -> Confusion:
        size = len(self.names)
        if len(self.counts) != size or any(len(row) != size for row in self.counts):
            raise ValueError(f"counts must be {size} x {size}, one row and one column for each name")
        return self


class AccuracyReport(Part):
    """Predictions of the exported model on ``images`` images against float ones, and against labels if there are any.

    ``top1_float``, ``top1_int8`` and ``agreement`` (same class from both) are shares in 0..1, ``logits_sqnr_db`` is in
    dB. ``source`` names the images; ``note`` is the caution for a small sample, or empty.
    """

    DERIVED: ClassVar[tuple[str, ...]] = ("labelled", "drop_points")

    kind: Kind = "measured"
    source: str
    images: Annotated[int, Field(ge=1)]
    top1_float: Share | None = None
    top1_int8: Share | None = None
    agreement: Share
    logits_sqnr_db: Decibel
    note: str = ""
    per_class: tuple[ClassAccuracy, ...] = ()
    confusion: Confusion | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> AccuracyReport:
        if (self.top1_float is None) != (self.top1_int8 is None):
            raise ValueError("top1_float and top1_int8 come together or not at all")
        return self

    @property
    def labelled(self) -> bool:
        """Whether the images had labels, so that accuracy is known and not only agreement."""
        return self.top1_int8 is not None

    @property
    def drop_points(self) -> float | None:
        """Percentage points of top-1 lost from float to int8; negative for a gain, None without labels."""
        if self.top1_float is None or self.top1_int8 is None:
            return None
        return 100.0 * (self.top1_float - self.top1_int8)

    def interval(self, share: float) -> Interval:
        """95 % confidence interval of a share (0..1) of these images."""
        return wilson(share, self.images)


class SqnrRow(Part):
    """The value of one op against float, in dB: ``sqnr_db`` with all noise before it, ``local_sqnr_db`` what it adds
    alone (None where not asked for). ``index`` is its place in execution order; ``remedy`` is for the configuration.
    """

    index: Count
    loc: str
    op: str
    sqnr_db: Decibel
    local_sqnr_db: Decibel | None = None
    remedy: str = ""


class SqnrReport(Part):
    """The waterfall over ``images`` images, in execution order. ``worst`` are indices of rows, worst first."""

    kind: Kind = "measured"
    images: Annotated[int, Field(ge=1)]
    rows: tuple[SqnrRow, ...]
    worst: tuple[int, ...] = ()
    threshold_db: float = GUIDE_DB

    @model_validator(mode="after")
    def _worst_are_rows(self) -> SqnrReport:
        indices = [row.index for row in self.rows]
        if any(low >= high for low, high in pairwise(indices)):
            raise ValueError("the rows must be in execution order, each index once")
        if unknown := sorted(set(self.worst) - set(indices)):
            raise ValueError(f"worst names {unknown}, which are indices of no row")
        return self

    @property
    def worst_rows(self) -> tuple[SqnrRow, ...]:
        """The rows that ``worst`` names, in its order."""
        by_index = {row.index: row for row in self.rows}
        return tuple(by_index[index] for index in self.worst)


class SizeRow(Part):
    """Bytes in the artifact that belong to one module: weights and biases, their scales and zero points, the rest."""

    DERIVED: ClassVar[tuple[str, ...]] = ("total_bytes",)

    loc: str
    weights_bytes: Count
    scales_bytes: Count = 0
    other_bytes: Count = 0

    @property
    def total_bytes(self) -> int:
        """Sum of the three."""
        return self.weights_bytes + self.scales_bytes + self.other_bytes


class SizeReport(Part):
    """Where the bytes of the artifact went, against ``float_bytes`` for the same parameters in float32.

    The rows may not hold more than ``file_bytes``; what they leave is the structure of the file.
    """

    DERIVED: ClassVar[tuple[str, ...]] = ("ratio", "bytes_per_parameter", "structure_bytes")

    kind: Kind = "measured"
    file_bytes: Annotated[int, Field(ge=1)]
    float_bytes: Count
    parameters: Count
    rows: tuple[SizeRow, ...]

    @model_validator(mode="after")
    def _adds_up(self) -> SizeReport:
        if self.structure_bytes < 0:
            raise ValueError(f"the rows hold {-self.structure_bytes} bytes more than the file")
        return self

    @property
    def ratio(self) -> float:
        """How many times smaller the file is than the float parameters."""
        return self.float_bytes / self.file_bytes

    @property
    def bytes_per_parameter(self) -> float:
        """File bytes for each parameter; 0 for a model without parameters."""
        return self.file_bytes / self.parameters if self.parameters else 0.0

    @property
    def structure_bytes(self) -> int:
        """File bytes in no row: ops, shapes, names, alignment."""
        return self.file_bytes - sum(row.total_bytes for row in self.rows)


class CostReport(Part):
    """What the model costs whatever runs it, for one image. ``macs`` are the multiply-accumulates of the float model,
    the bits those of the configuration, as means where layers differ.
    """

    kind: Kind = "measured"
    parameters: Count
    macs: Count
    weight_bits: Annotated[float, Field(gt=0)]
    activation_bits: Annotated[float, Field(gt=0)]


class MappingRow(Part):
    """Verdict on one op of the artifact, in execution order. ``status`` is in the words of the target's compiler;
    ``why`` and ``remedy`` are empty when mapped; ``evidence`` says how that is known, ``notes`` what is unproven.
    """

    index: Count
    operator: str
    version: int
    loc: str
    mapped: bool
    status: str
    why: str = ""
    remedy: str = ""
    evidence: str = ""
    notes: tuple[str, ...] = ()


class MemoryReport(Part):
    """Bytes on the accelerator: parameters kept on chip, parameters sent at every inference, the largest activation
    and the most activation bytes alive at once. ``capacity_bytes`` is the room for parameters, None if unknown.
    """

    kind: Kind = "predicted"
    on_chip_bytes: Count
    streamed_bytes: Count
    capacity_bytes: Count | None = None
    largest_activation: str
    largest_activation_bytes: Count
    peak_activation_bytes: Count


class OperatorCount(Part):
    """Ops of one operator, on the accelerator and not."""

    operator: str
    mapped: Count
    unmapped: Count


class MappingReport(Part):
    """Which ops run on the accelerator. ``rejected`` is why its compiler would take nothing, or empty.

    ``float_ops`` counts ops with a floating-point operand or result, ``float_tensors`` names such tensors,
    ``subgraphs`` counts partitions on the accelerator.
    """

    DERIVED: ClassVar[tuple[str, ...]] = ("total", "mapped")

    kind: Kind = "predicted"
    rows: tuple[MappingRow, ...]
    subgraphs: Count
    float_ops: Count
    float_tensors: tuple[str, ...] = ()
    rejected: str = ""
    memory: MemoryReport | None = None
    warnings: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Ops in the artifact."""
        return len(self.rows)

    @property
    def mapped(self) -> int:
        """Ops on the accelerator."""
        return sum(row.mapped for row in self.rows)

    def counts(self) -> tuple[OperatorCount, ...]:
        """Ops by operator, the most frequent first, equals by name."""
        table: dict[str, list[int]] = {}
        for row in self.rows:
            table.setdefault(row.operator, [0, 0])[row.mapped] += 1
        ordered = sorted(table.items(), key=lambda item: (-sum(item[1]), item[0]))
        return tuple(OperatorCount(operator=name, mapped=on, unmapped=off) for name, (off, on) in ordered)


class Alternative(Part):
    """A form that was tried and the SQNR in dB that was measured with it."""

    name: str
    sqnr_db: Decibel


class DecisionRow(Part):
    """The form chosen for one layer: of a normalization, of GELU, or of its weights, among those measured."""

    loc: str
    kind: Literal["norm", "gelu", "weights"]
    chosen: str
    alternatives: tuple[Alternative, ...] = ()


class PassRow(Part):
    """One pass of the pipeline and the number of ops, without constants, before and after it."""

    name: str
    ops_before: Count
    ops_after: Count


class SkippedImage(Part):
    """A picture that could not be used, and why."""

    name: str
    reason: str


class CalibrationReport(Part):
    """The images from which ranges were taken."""

    source: str
    images: Count
    skipped: tuple[SkippedImage, ...] = ()
    notes: tuple[str, ...] = ()
