"""The stages of an export that write nothing: from a model's name to the target form and what it costs in accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgevit import backend as backends
from edgevit.backend import Backend, Lowered, Prepared
from edgevit.data.imageset import ImageSet
from edgevit.data.opening import EMBEDDED, open_images
from edgevit.errors import ToolNotFound, UnsupportedOp, UsageError
from edgevit.export.options import ExportOptions, Monitor, source_name
from edgevit.files import check_destination
from edgevit.frontend import LoadedModel, load_model, lower
from edgevit.ir.graph import Graph
from edgevit.ir.verify import verify
from edgevit.metrics.accuracy import Accuracy, batch_size, measure
from edgevit.passes.pipeline import PassRecord
from edgevit.quant.bias_correction import correct_biases
from edgevit.quant.calibrate import Note, calibrate
from edgevit.quant.quantize import QuantizeGraph
from edgevit.quant.sqnr import Pair, Row, compare, pair_by_place
from edgevit.quant.weights import Decision, choose_granularity

WATERFALL_IMAGES = 8
GOLDEN_IMAGES = 8
DRY_RUN_IMAGES = 4
LOW_AGREEMENT = 0.9
"""Below this agreement with float an export is not called good without a remark."""


@dataclass(frozen=True, eq=False)
class Compiled:
    """All that the stages before emission found out."""

    options: ExportOptions
    model: LoadedModel
    backend: Backend
    reference: Graph
    prepared: Prepared
    calibrated: Graph
    quantized: Graph
    lowered: Lowered
    weights: Sequence[Decision]
    calibration: ImageSet
    evaluation: ImageSet | None
    accuracy: Accuracy
    waterfall: Sequence[Row]
    passes: Sequence[PassRecord]
    notes: Sequence[str]
    golden: NDArray[np.uint8]


def compile_model(options: ExportOptions, monitor: Monitor) -> Compiled:
    """Every stage up to the target form, and what it costs in accuracy. Nothing is written.

    Raises the errors of each stage; all of them are EdgevitError.
    """
    backend = backends.load_backend(options.target)
    _check_tools(backend)
    if not options.dry_run:
        check_destination(options.output, force=options.force)
    notes: list[str] = []
    records: list[PassRecord] = []
    with monitor.stage("load and capture"):
        model = load_model(
            options.model,
            weights=options.weights,
            input_size=options.input_size,
            preprocess=options.preprocess,
            seed=options.seed,
        )
        reference = lower(model)
    with monitor.stage("read images"):
        calibration, images = _calibration(options, model)
        evaluation = None if options.dry_run else _evaluation(options, model)
        _report(calibration.warnings("calibration"), notes, monitor, calibration.origin)
    policy = backend.policy(options.target_options)
    with monitor.stage("rewrite for the target"):
        prepared = backend.prepare(reference, images, options.config, policy, lambda record, _: records.append(record))
        verify(prepared.graph)
        _check_ops(backend, prepared.graph)
    with monitor.stage("choose weight scales"):
        weights = choose_granularity(prepared.graph, [images], options.config)
    with monitor.stage("calibrate") as progress:
        found: list[Note] = []
        calibrated = calibrate(
            prepared.graph,
            [images],
            options.config,
            constraints=policy,
            decisions=weights,
            progress=progress,
            notes=found,
        )
        calibrated = backend.calibrated(calibrated)
        _report([f"{note.loc or 'calibration'}: {note.text}" for note in found], notes, monitor)
    with monitor.stage("quantize and lower"):
        quantized = QuantizeGraph(options.config, policy, tuple(weights)).run(calibrated)
        if not options.config.sequential:
            # Sequential calibration corrects biases on its way; without it they are corrected afterwards.
            quantized = correct_biases(prepared.graph, quantized, [images], options.config)
        verify(quantized)
        lowered = backend.lower(quantized)
        verify(lowered.graph)
    with monitor.stage("compare layer by layer") as progress:
        shown = images[: DRY_RUN_IMAGES if options.dry_run else WATERFALL_IMAGES]
        pairs = _pairs(prepared.graph, quantized, lowered)
        waterfall = compare(prepared.graph, lowered.graph, [shown], pairs=pairs, local=True, progress=progress)
    accuracy = _evaluate(reference, lowered.graph, model, calibration, evaluation, notes, monitor)
    golden = next(iter((evaluation or calibration).batches(GOLDEN_IMAGES))).images
    return Compiled(
        options, model, backend, reference, prepared, calibrated, quantized, lowered, weights, calibration, evaluation,
        accuracy, waterfall, records, notes, golden,
    )  # fmt: skip


def _evaluate(
    reference: Graph,
    target: Graph,
    model: LoadedModel,
    calibration: ImageSet,
    evaluation: ImageSet | None,
    notes: list[str],
    monitor: Monitor,
) -> Accuracy:
    """Accuracy on the evaluation images, or on those of calibration where there are none; doubts go to ``notes``."""
    tested = calibration if evaluation is None else evaluation
    classes = model.num_classes if tested.classes is None else len(tested.classes)
    # More classes than the model has are an error where a person named the images to evaluate on: `measure` raises it.
    ours = classes == model.num_classes or (evaluation is not None and classes > model.num_classes)
    with monitor.stage("evaluate") as progress:
        total = len(tested)
        accuracy = measure(
            reference,
            target,
            tested.batches(batch_size(reference)),
            model.num_classes,
            use_labels=ours,
            progress=lambda done: progress(done, total),
        )
    found = [] if evaluation is None else evaluation.warnings("evaluation")
    if evaluation is None:
        found.append("no evaluation images: agreement is measured on the calibration images; give --eval")
    if tested.labelled and not ours:
        found.append(f"labels of {classes} classes for a model of {model.num_classes}: top-1 is not computed")
    if accuracy.agreement < LOW_AGREEMENT:
        found.append(f"only {accuracy.agreement:.0%} of the predictions agree with float: look at the weakest layers")
    _report(found, notes, monitor, tested.origin)
    return accuracy


def _check_tools(backend: Backend) -> None:
    missing = backends.missing_tools(backend)
    if missing:
        listing = ", ".join(f"{tool.name} ({tool.purpose})" for tool in missing)
        raise ToolNotFound(
            f"not installed: {listing}", where=backend.name, hint="; ".join(tool.remedy for tool in missing)
        )


def _check_ops(backend: Backend, graph: Graph) -> None:
    problems = backend.check(graph)
    if problems:
        listing = "\n  ".join(map(str, problems))
        raise UnsupportedOp(
            f"{len(problems)} ops have no lowering for {backend.name}:\n  {listing}",
            where=graph.name,
            hint="`edgevit inspect MODEL --why` shows which rewrites did not fire and why",
        )


def _calibration(options: ExportOptions, model: LoadedModel) -> tuple[ImageSet, NDArray[np.uint8]]:
    spec = options.calibration or (EMBEDDED if options.model == EMBEDDED else None)
    if spec is None:
        raise UsageError(
            "no calibration data",
            where=model.name,
            hint="give a folder of representative images or an .npz with --calib (32 to 256 images are enough)",
        )
    limit = DRY_RUN_IMAGES if options.dry_run else options.calibration_limit
    images = _open(spec, model, limit, options.seed, "calibration")
    pixels = np.concatenate([batch.images for batch in images.batches(32)])
    return images, pixels


def _evaluation(options: ExportOptions, model: LoadedModel) -> ImageSet | None:
    spec = options.evaluation or (EMBEDDED if options.model == EMBEDDED else None)
    return None if spec is None else _open(spec, model, options.evaluation_limit, options.seed, "evaluation")


def _open(
    spec: str, model: LoadedModel, limit: int | None, seed: int, purpose: Literal["calibration", "evaluation"]
) -> ImageSet:
    how = model.preprocess
    return open_images(
        spec,
        size=how.size,
        crop_pct=how.crop_pct,
        interpolation=how.interpolation,
        limit=limit,
        seed=seed,
        purpose=purpose,
    )


def _pairs(prepared: Graph, quantized: Graph, lowered: Lowered) -> list[Pair]:
    """Which op of the target form has the value of which op of the prepared float graph."""
    exact = {pair.candidate: pair.reference for pair in pair_by_place(prepared, quantized)}
    return [
        Pair(exact[old], op) for op in lowered.graph.ops if (old := lowered.origin.get(op)) in exact and old is not None
    ]


def _report(texts: Sequence[str], notes: list[str], monitor: Monitor, origin: str = "") -> None:
    """A person is told the whole path ``origin``; the report, which no path of a machine may enter, has its name."""
    for text in texts:
        notes.append(text.replace(origin, source_name(origin)) if origin else text)
        monitor.note(text)
