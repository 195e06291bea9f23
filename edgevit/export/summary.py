"""The report of an export: everything that its stages found out."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence

from edgevit import __version__
from edgevit.backend import Emitted
from edgevit.export.compile import WATERFALL_IMAGES, Compiled
from edgevit.export.options import source_name
from edgevit.metrics.accuracy import Accuracy
from edgevit.metrics.cost import graph_cost
from edgevit.quant.remedies import Advice, worst_layers
from edgevit.report.export import ExportReport
from edgevit.report.model import (
    MAX_FIXES,
    AccuracyReport,
    Alternative,
    CalibrationReport,
    ClassAccuracy,
    Confusion,
    CostReport,
    DecisionRow,
    Fix,
    Gate,
    ModelSummary,
    PassRow,
    SkippedImage,
    SqnrReport,
    SqnrRow,
)

PACKAGES = ("numpy", "scipy", "torch", "timm", "ai-edge-litert")
WORST = 5
SMALL_SAMPLE = 200


def build_report(compiled: Compiled, emitted: Emitted, stages: Sequence[str], artifact_sha256: str) -> ExportReport:
    """The report of a compiled model and what emission wrote."""
    options, model = compiled.options, compiled.model
    layers = worst_layers(compiled.waterfall, options.config, len(compiled.waterfall))
    advice = layers[:WORST]
    calibration = compiled.calibration
    return ExportReport(
        model=ModelSummary(
            name=model.name,
            source=options.source,
            parameters=model.parameters,
            input_shape=compiled.reference.inputs[0].shape[1:],
            classes=model.num_classes,
        ),
        target=options.target,
        status=emitted.status,
        gates=gates(compiled, emitted),
        fixes=_fixes(emitted, layers),
        notes=tuple(compiled.notes),
        stages=tuple(stages),
        accuracy=_accuracy(compiled, compiled.accuracy),
        sqnr=_sqnr(compiled, advice),
        size=emitted.size,
        cost=_cost(compiled),
        mapping=emitted.mapping,
        decisions=(*compiled.prepared.decisions, *_weight_rows(compiled)),
        passes=tuple(PassRow(name=r.spec, ops_before=r.ops_before, ops_after=r.ops_after) for r in compiled.passes),
        calibration=CalibrationReport(
            source=source_name(calibration.origin),
            images=len(calibration),
            skipped=tuple(SkippedImage(name=name, reason=reason) for name, reason in calibration.skipped),
        ),
        versions=versions(),
        hashes={
            emitted.artifact: artifact_sha256,
            "weights": model.weights_sha256,
            "calibration": calibration.sha256(),
        },
    )


def versions() -> dict[str, str]:
    """Versions of edgevit, Python and the packages that take part in an export and are installed."""
    found = {"edgevit": __version__, "python": platform.python_version()}
    installed = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
    return found | {name: importlib.metadata.version(name) for name in PACKAGES if name in installed}


def gates(compiled: Compiled, emitted: Emitted) -> tuple[Gate, ...]:
    """The limits that a person set, with what was found. A drop cannot be judged without labels, so its gate fails."""
    options, accuracy, mapping = compiled.options, compiled.accuracy, emitted.mapping
    found = []
    if options.min_mapped is not None and mapping is not None:
        share = 100 * mapping.mapped / mapping.total if mapping.total else 0.0
        found.append(
            Gate(
                name="mapped ops",
                option="--min-mapped",
                sense="at least",
                limit=options.min_mapped,
                value=share,
                unit="%",
            )
        )
    if options.max_drop is not None:
        drop = float("inf") if accuracy.drop is None else accuracy.drop
        found.append(
            Gate(
                name="loss of top-1",
                option="--max-drop",
                sense="at most",
                limit=options.max_drop,
                value=drop,
                unit="points",
            )
        )
    if options.min_sqnr is not None:
        ratio = accuracy.logits_sqnr_db
        found.append(
            Gate(
                name="SQNR of the logits",
                option="--min-sqnr",
                sense="at least",
                limit=options.min_sqnr,
                value=ratio,
                unit="dB",
            )
        )
    return tuple(found)


def _fixes(emitted: Emitted, layers: Sequence[Advice]) -> tuple[Fix, ...]:
    fixes = list(emitted.fixes)
    for item in layers:
        if item.remedy:
            ratio = item.row.sqnr_db if item.row.local_db is None else item.row.local_db
            change = item.remedy.splitlines()[-1]
            fixes.append(
                Fix(
                    title=f"{change} for {item.row.loc or 'the input'}",
                    why=f"its {item.row.op} keeps {ratio:.1f} dB, among the least of those that settings can change",
                    effect="in the file of --save-config, read back by --config",
                )
            )
    return tuple(fixes[:MAX_FIXES])


def _cost(compiled: Compiled) -> CostReport:
    cost = graph_cost(compiled.reference, compiled.model.parameters, compiled.options.config)
    return CostReport(
        parameters=cost.parameters,
        macs=cost.macs,
        weight_bits=cost.weight_bits,
        activation_bits=cost.activation_bits,
    )


def _accuracy(compiled: Compiled, accuracy: Accuracy) -> AccuracyReport:
    tested = compiled.evaluation if compiled.evaluation is not None else compiled.calibration
    note = ""
    if compiled.evaluation is None:
        note = "measured on the calibration images, which the ranges were chosen for"
    elif accuracy.images < SMALL_SAMPLE:
        note = f"{accuracy.images} images are few: see the confidence interval"
    names = compiled.model.classes or tested.classes or tuple(str(place) for place in range(compiled.model.num_classes))
    return AccuracyReport(
        source=source_name(tested.origin),
        images=accuracy.images,
        top1_float=accuracy.top1_float,
        top1_int8=accuracy.top1_target,
        agreement=accuracy.agreement,
        logits_sqnr_db=accuracy.logits_sqnr_db,
        note=note,
        per_class=_per_class(accuracy, names),
        confusion=Confusion(names=names, counts=accuracy.confusion) if accuracy.confusion else None,
    )


def _per_class(accuracy: Accuracy, names: Sequence[str]) -> tuple[ClassAccuracy, ...]:
    """Top-1 of every class that has images; nothing without labels or with very many classes."""
    return tuple(
        ClassAccuracy(name=name, images=sum(row), top1_float=hits / sum(row), top1_int8=row[place] / sum(row))
        for place, (name, row, hits) in enumerate(zip(names, accuracy.confusion, accuracy.hits_float, strict=False))
        if sum(row)
    )


def _sqnr(compiled: Compiled, advice: Sequence[Advice]) -> SqnrReport:
    remedies = {item.row.candidate: item.remedy for item in advice}
    places = {row.candidate: index for index, row in enumerate(compiled.waterfall)}
    rows = tuple(
        SqnrRow(
            index=index,
            loc=row.loc,
            op=row.op,
            sqnr_db=row.sqnr_db,
            local_sqnr_db=row.local_db,
            remedy=remedies.get(row.candidate, ""),
        )
        for index, row in enumerate(compiled.waterfall)
    )
    images = min(WATERFALL_IMAGES, len(compiled.calibration))
    return SqnrReport(images=images, rows=rows, worst=tuple(places[item.row.candidate] for item in advice))


def _weight_rows(compiled: Compiled) -> list[DecisionRow]:
    return [
        DecisionRow(
            loc=decision.loc,
            kind="weights",
            chosen=decision.chosen,
            alternatives=(
                Alternative(name="per-tensor", sqnr_db=decision.sqnr_tensor),
                Alternative(name="per-channel", sqnr_db=decision.sqnr_channel),
            ),
        )
        for decision in compiled.weights
    ]
