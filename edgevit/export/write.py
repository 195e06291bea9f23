"""The stages of an export that write: emission, golden outputs, reports, gates, and the bundle as a whole."""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgevit.bundle import ImagesRecord, Manifest, ModelRecord, file_hash, seal, write_bundle, write_golden, write_json
from edgevit.data.imageset import ImageSet
from edgevit.errors import AccuracyGate, BackendError, BundleError, EdgevitError, MappingGate
from edgevit.export.compile import Compiled, compile_model
from edgevit.export.options import ExportOptions, Monitor, StageNames, source_name
from edgevit.export.summary import build_report, versions
from edgevit.ir.interp import run
from edgevit.quant.walk import as_input
from edgevit.report import write_report
from edgevit.report.export import ExportReport

NUMERICS = "numerics.json"
LABELS = "labels.txt"


@dataclass(frozen=True)
class ExportResult:
    """The report, and the bundle with its files and their sizes in bytes; no path when nothing was written.

    ``failure`` is the gate that failed, if one did.
    """

    report: ExportReport
    path: str
    files: tuple[tuple[str, int], ...]
    failure: EdgevitError | None


class _NotWritten(Exception):
    """Leaves the block in which a bundle is written, so that the temporary folder vanishes."""


def export_bundle(options: ExportOptions, monitor: Monitor) -> ExportResult:
    """Compile a model and write its bundle.

    With a failed gate, or as a dry run, nothing is written; ``force`` writes the bundle in spite of a failed gate.
    Raises the errors of each stage, after which nothing is left behind.
    """
    stages = StageNames(monitor)
    compiled = compile_model(options, stages)
    with contextlib.suppress(_NotWritten), _destination(options) as folder:
        with stages.stage("emit"):
            emitted = compiled.backend.emit(
                compiled.lowered.graph, folder, compiled.model.parameters, options.target_options
            )
            _write_golden(compiled, folder)
        with stages.stage("report"):
            report = build_report(compiled, emitted, stages.names, file_hash(folder / emitted.artifact))
            failure = _failure(report)
            if options.dry_run or (failure is not None and not options.force):
                raise _NotWritten
            parts = report.model_dump(mode="json", include={"accuracy", "sqnr", "decisions", "calibration"})
            write_json(folder / NUMERICS, parts)
            if compiled.model.classes is not None:
                (folder / LABELS).write_text("".join(f"{name}\n" for name in compiled.model.classes), encoding="utf-8")
            write_report(folder, report)
            seal(folder, _manifest(compiled, emitted.artifact, emitted.status))
        files = tuple((entry.name, entry.stat().st_size) for entry in sorted(folder.iterdir()))
    written = not options.dry_run and (failure is None or options.force)
    return ExportResult(report, str(options.output) if written else "", files if written else (), failure)


@contextlib.contextmanager
def _destination(options: ExportOptions) -> Iterator[Path]:
    """The folder that becomes the bundle; for a dry run one that nobody sees."""
    if options.dry_run:
        try:
            with tempfile.TemporaryDirectory(prefix="edgevit-") as name:
                yield Path(name)
        except OSError as error:
            where, hint = tempfile.gettempdir(), "free some space there, or name another folder in TMPDIR"
            raise BundleError(f"cannot be written: {error.strerror or error}", where=where, hint=hint) from error
    else:
        with write_bundle(options.output) as folder:
            yield folder


def _write_golden(compiled: Compiled, folder: Path) -> None:
    """Golden inputs as the artifact takes them, and outputs on which the artifact, read back, and the graph agree."""
    inputs = compiled.backend.artifact_input(compiled.golden, compiled.options.target_options)
    outputs = compiled.backend.run(folder, inputs, "reference")
    graph = compiled.lowered.graph
    (expected,) = run(graph, [as_input(graph, compiled.golden[:, None])])
    if not np.array_equal(outputs.reshape(expected.shape), expected):
        raise BackendError(
            "the artifact does not compute what the interpreter does",
            where=compiled.options.target,
            hint="this is a defect of edgevit",
        )
    write_golden(folder, inputs, outputs)


def _failure(report: ExportReport) -> EdgevitError | None:
    """The first failed gate as the error that it exits with."""
    first = report.fixes[0] if report.fixes else None
    advice = None if first is None else f"{first.title} ({first.effect})"
    for gate in report.failed_gates:
        bound = f"{gate.sense} {gate.limit:g} {gate.unit}"
        if gate.option == "--min-mapped":
            what = f"{gate.value:.1f} % of the ops are mapped, {gate.option} asks for {bound}"
            hint = advice or "`edgevit inspect --why` shows which rewrites did not fire"
            return MappingGate(what, where=report.target, hint=hint)
        unknown = gate.option == "--max-drop" and math.isinf(gate.value)
        found = "unknown without labels" if unknown else f"{gate.value:.2f} {gate.unit}"
        hint = (
            "give labelled images with --eval" if unknown else advice or "try --method mse, or more calibration images"
        )
        return AccuracyGate(f"{gate.name} is {found}, {gate.option} asks for {bound}", where=report.target, hint=hint)
    return None


def _manifest(compiled: Compiled, artifact: str, status: str) -> Manifest:
    options, model = compiled.options, compiled.model
    height, width = model.preprocess.size
    return Manifest(
        target=options.target,
        artifact=artifact,
        status=status,
        model=ModelRecord(
            name=model.name,
            source=options.source,
            weights_sha256=model.weights_sha256,
            parameters=model.parameters,
            input=f"{options.io}[1,{height},{width},3]",
            classes=model.num_classes,
        ),
        calibration=_images(compiled.calibration),
        evaluation=None if compiled.evaluation is None else _images(compiled.evaluation),
        versions=versions(),
        options={
            "io": options.io,
            "preprocess": model.preprocess.model_dump(mode="json"),
            "quantization": options.config.model_dump(mode="json", exclude_none=True),
        },
        seed=options.seed,
        files={},
    )


def _images(images: ImageSet) -> ImagesRecord:
    return ImagesRecord(source=source_name(images.origin), sha256=images.sha256(), count=len(images))
