"""An export report as a DeiT-like model for the Coral Edge TPU would have it: made up, with the shape of a real one."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from edgevit.report import ExportReport
from edgevit.report.model import (
    AccuracyReport,
    Alternative,
    CalibrationReport,
    ClassAccuracy,
    Confusion,
    CostReport,
    DecisionRow,
    Fix,
    Gate,
    MappingReport,
    MappingRow,
    MemoryReport,
    ModelSummary,
    PassRow,
    SizeReport,
    SizeRow,
    SkippedImage,
    SqnrReport,
    SqnrRow,
)

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HEADS = 3
DIM = 192
Op = tuple[str, int, str]

NORM: tuple[Op, ...] = (("FULLY_CONNECTED", 4, ""), ("L2_NORMALIZATION", 2, ""), ("MUL", 2, ""), ("ADD", 2, ""))
HEAD: tuple[Op, ...] = (
    ("STRIDED_SLICE", 2, ".attn"),
    ("STRIDED_SLICE", 2, ".attn"),
    ("FULLY_CONNECTED", 4, ".attn"),
    ("SOFTMAX", 2, ".attn.softmax"),
    ("FULLY_CONNECTED", 4, ".attn"),
)


def block_ops(block: str) -> list[Op]:
    """Operator, version and module path of the ops of one transformer block."""
    norm1 = [(op, version, f"{block}.norm1") for op, version, _ in NORM]
    norm2 = [(op, version, f"{block}.norm2") for op, version, _ in NORM]
    heads = [(op, version, block + loc) for _ in range(HEADS) for op, version, loc in HEAD]
    qkv = [("FULLY_CONNECTED", 4, f"{block}.attn.qkv")]
    proj = [("CONCATENATION", 2, f"{block}.attn"), ("FULLY_CONNECTED", 4, f"{block}.attn.proj"), ("ADD", 2, block)]
    gelu = [("LOGISTIC", 2, f"{block}.mlp.act"), ("MUL", 2, f"{block}.mlp.act")]
    mlp = [("FULLY_CONNECTED", 4, f"{block}.mlp.fc1"), *gelu, ("FULLY_CONNECTED", 4, f"{block}.mlp.fc2")]
    return [*norm1, *qkv, *heads, *proj, *norm2, *mlp, ("ADD", 2, block)]


def model_ops(depth: int) -> list[Op]:
    """All ops of the model in execution order."""
    stem = [("CONV_2D", 3, "patch_embed.proj"), ("RESHAPE", 1, "patch_embed"), ("CONCATENATION", 2, "cls_token")]
    blocks = [op for i in range(depth) for op in block_ops(f"blocks.{i}")]
    head = [("STRIDED_SLICE", 2, "pool"), ("FULLY_CONNECTED", 4, "head")]
    return [*stem, ("ADD", 2, "pos_embed"), *blocks, *[(op, v, "norm") for op, v, _ in NORM], *head]


def waterfall(ops: Sequence[Op], rng: random.Random) -> SqnrReport:
    """A curve that falls from the input to the logits, with dips at normalizations."""
    rows = []
    for index, (op, _, loc) in enumerate(ops):
        dip = 9.0 if "norm" in loc and op == "L2_NORMALIZATION" else 0.0
        noise = rng.gauss(0, 1.2)
        cumulative = math.inf if index == 1 else 36 - 14 * math.sqrt(index / len(ops)) - dip / 2 + noise
        local = None if op == "RESHAPE" else 42 - dip * rng.random() * 2 + noise * 2
        rows.append(SqnrRow(index=index, loc=loc, op=op.lower(), sqnr_db=cumulative, local_sqnr_db=local))
    worst = sorted((row for row in rows if row.local_sqnr_db is not None), key=lambda row: row.local_sqnr_db or 0)[:3]
    for row in worst:
        remedy = f'[[layers]]\nmatch = "{row.loc}"\nnorm = "l2"'
        rows[row.index] = row.model_copy(update={"remedy": remedy})
    return SqnrReport(images=32, rows=tuple(rows), worst=tuple(row.index for row in worst))


def ledger(depth: int) -> SizeReport:
    """Weights by module with the sizes of a DeiT-Tiny, and a file somewhat larger than their sum."""
    weights = {"patch_embed.proj": 3 * 16 * 16 * DIM, "pos_embed": 197 * DIM, "cls_token": DIM}
    for i in range(depth):
        block = f"blocks.{i}"
        weights |= {f"{block}.norm1": 2 * DIM, f"{block}.attn.qkv": 3 * DIM * DIM, f"{block}.attn.proj": DIM * DIM}
        weights |= {f"{block}.norm2": 2 * DIM, f"{block}.mlp.fc1": 4 * DIM * DIM, f"{block}.mlp.fc2": 4 * DIM * DIM}
    weights |= {"norm": 2 * DIM, "head": 10 * DIM}
    rows = tuple(
        SizeRow(loc=loc, weights_bytes=size, scales_bytes=8 * DIM if "qkv" in loc else 16, other_bytes=24)
        for loc, size in weights.items()
    )
    total = sum(row.total_bytes for row in rows)
    parameters = sum(weights.values())
    return SizeReport(file_bytes=total + 96_512, float_bytes=4 * parameters, parameters=parameters, rows=rows)


def mapping(ops: Sequence[Op], unmapped: int | None) -> MappingReport:
    """Every op mapped, or all up to the index ``unmapped`` as one unmapped op would leave it."""
    rows = []
    for index, (op, version, loc) in enumerate(ops):
        row = MappingRow(
            index=index, operator=op, version=version, loc=loc, mapped=True, status="Mapped to Edge TPU",
            evidence="infer" if op == "SOFTMAX" else "artifact",
            notes=("SOFTMAX over 197 x 197 has not been seen mapped",) if op == "SOFTMAX" else (),
        )  # fmt: skip
        if unmapped is not None and index == unmapped:
            why, remedy = "no compiled model has GELU on the Edge TPU", "replace GELU by x*sigmoid(1.702x)"
            row = row.model_copy(update={"operator": "GELU", "mapped": False, "status": "Operation not supported"})
            row = row.model_copy(update={"why": why, "remedy": remedy, "evidence": "ran"})
        elif unmapped is not None and index > unmapped:
            why = f"depends on GELU (op {unmapped}), which runs on the CPU"
            update = {"mapped": False, "status": "More than one subgraph is not supported", "why": why}
            row = row.model_copy(update=update | {"remedy": "mend the unmapped op that it depends on"})
        rows.append(row)
    memory = MemoryReport(
        on_chip_bytes=5_580_000, streamed_bytes=0, capacity_bytes=int(7.7 * 2**20),
        largest_activation="blocks.0.mlp.fc1",
        largest_activation_bytes=197 * 768, peak_activation_bytes=3 * 197 * 768,
    )  # fmt: skip
    warnings = ("36 ops are beyond what any compiled model has shown",) if unmapped is None else ()
    return MappingReport(rows=tuple(rows), subgraphs=1, float_ops=0, memory=memory, warnings=warnings)


def accuracy(images: int, rng: random.Random) -> AccuracyReport:
    """Accuracy on ``images`` labelled images with a confusion matrix that sums to them."""
    each = images // len(CLASSES)
    counts = []
    for true in range(len(CLASSES)):
        wrong = [rng.randrange(0, 2) if other != true else 0 for other in range(len(CLASSES))]
        wrong[true] = each - sum(wrong)
        counts.append(tuple(wrong))
    right = sum(row[i] for i, row in enumerate(counts))
    per_class = tuple(
        ClassAccuracy(name=name, images=each, top1_float=min(1.0, (row[i] + 1) / each), top1_int8=row[i] / each)
        for i, (name, row) in enumerate(zip(CLASSES, counts, strict=True))
    )
    return AccuracyReport(
        source="the embedded evaluation set", images=images, top1_float=(right + 2) / images, top1_int8=right / images,
        agreement=0.983, logits_sqnr_db=23.4, note="", per_class=per_class,
        confusion=Confusion(names=CLASSES, counts=tuple(counts)),
    )  # fmt: skip


def export_report(*, depth: int = 10, unmapped: int | None = None, gates: bool = True, seed: int = 0) -> ExportReport:
    """The report; ``unmapped`` is the index of an op that stays on the CPU together with all that follow."""
    rng = random.Random(seed)
    ops = model_ops(depth)
    mapped = mapping(ops, unmapped)
    sqnr = waterfall(ops, rng)
    share = 100.0 * mapped.mapped / mapped.total
    decisions = [
        DecisionRow(
            loc=f"blocks.{i}.norm{n}", kind="norm", chosen="l2",
            alternatives=(Alternative(name="l2", sqnr_db=24.7 + i / 10), Alternative(name="moments", sqnr_db=19.1 + n)),
        )
        for i in range(depth) for n in (1, 2)
    ]  # fmt: skip
    fixes = (
        Fix(
            title="Measure weights per channel in blocks.7.mlp.fc2",
            why=f"{sqnr.worst_rows[0].loc} adds the most noise: its outputs differ 40-fold in range",
            effect="about 2 dB more at the logits, 3 KiB more of scales",
        ),
        Fix(
            title="Calibrate on 128 images", why="ranges come from 32 images", effect="steadier ranges, 12 s more"
        ),
        Fix(
            title="Compile with edgetpu_compiler 16", why="the mapping is predicted", effect="status becomes compiled"
        ),
    )  # fmt: skip
    return ExportReport(
        model=ModelSummary(
            name="deit_tiny_patch16_224", source="timm:deit_tiny_patch16_224", parameters=4_600_000,
            input_shape=(224, 224, 3), classes=10,
        ),
        target="coral",
        status="predicted, not compiled",
        gates=(
            Gate(name="ops mapped", option="--min-mapped", sense="at least", limit=100, value=share, unit="%"),
            Gate(name="top-1 drop", option="--max-drop", sense="at most", limit=0.5, value=0.2, unit="points"),
        ) if gates else (),
        fixes=fixes,
        notes=("XNNPACK kernels differ from the reference by up to 8 steps",),
        stages=("capture", "passes", "calibrate", "quantize", "lower", "emit", "evaluate", "report"),
        accuracy=accuracy(1000, rng),
        sqnr=sqnr,
        size=ledger(depth),
        cost=CostReport(parameters=5_717_416, macs=1_253_683_200, weight_bits=8, activation_bits=8),
        mapping=mapped,
        decisions=tuple(decisions),
        passes=(
            PassRow(name="raise-attention", ops_before=612, ops_after=540),
            PassRow(name="fold-constants", ops_before=540, ops_after=498),
            PassRow(name="split-heads", ops_before=498, ops_after=len(ops)),
        ),
        calibration=CalibrationReport(
            source="photos/", images=32, skipped=(SkippedImage(name="broken.jpg", reason="not a picture"),),
            notes=("32 calibration images",),
        ),
        versions={"edgevit": "0.1.0", "torch": "2.13.0", "ai-edge-litert": "2.3.0", "numpy": "1.26.4"},
        hashes={"model.tflite": "3f" * 32, "calibration": "a0" * 32},
    )  # fmt: skip
