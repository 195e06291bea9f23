"""The mapping and the size ledger of a Coral export in the words of the report."""

from __future__ import annotations

from edgevit.report.model import Kind, MappingReport, MappingRow, MemoryReport, SizeReport, SizeRow

from . import limits
from .mapping import Mapping
from .model import TensorSpec, TfliteModel

SCALE_BYTES, ZERO_POINT_BYTES = 4, 8


def mapping_report(model: TfliteModel, prediction: Mapping, compiled: bool) -> MappingReport:
    """The prediction, or what the compiler confirmed, row by row."""
    kind: Kind = "measured" if compiled else "predicted"
    floats = {i for i, tensor in enumerate(model.tensors) if tensor.dtype.startswith("float")}
    memory = prediction.memory
    return MappingReport(
        kind=kind,
        rows=tuple(
            MappingRow(
                index=op.index,
                operator=op.operator,
                version=op.version,
                loc=op.loc,
                mapped=op.mapped,
                status=op.status,
                why=op.why,
                remedy=op.remedy,
                evidence=op.evidence,
                notes=op.notes,
            )
            for op in prediction.ops
        ),
        subgraphs=prediction.subgraphs,
        float_ops=sum(bool(floats & {*op.inputs, *op.outputs}) for op in model.operators),
        float_tensors=prediction.float_tensors,
        rejected=prediction.rejected,
        memory=MemoryReport(
            on_chip_bytes=memory.on_chip_bytes,
            streamed_bytes=memory.streamed_bytes,
            capacity_bytes=limits.ON_CHIP_BYTES,
            largest_activation=memory.largest_activation,
            largest_activation_bytes=memory.largest_activation_bytes,
            peak_activation_bytes=memory.peak_activation_bytes,
        ),
        warnings=prediction.warnings,
    )


def size_report(model: TfliteModel, file_bytes: int, parameters: int) -> SizeReport:
    """Bytes of the constants by module path, against the same parameters in float32.

    A constant that several operators share (the file holds it once) is counted at the first.
    """
    rows: dict[str, list[int]] = {}
    seen: set[bytes] = set()
    for op in model.operators:
        row = rows.setdefault(op.loc or op.name.lower(), [0, 0, 0])
        for index in op.inputs:
            tensor = model.tensors[index]
            if index < 0 or tensor.data is None:
                continue
            data = tensor.data.tobytes()
            if data not in seen:
                seen.add(data)
                row[0 if tensor.scale else 2] += len(data)
            row[1] += _grid_bytes(tensor)
    ledger = tuple(
        SizeRow(loc=loc, weights_bytes=weights, scales_bytes=scales, other_bytes=other)
        for loc, (weights, scales, other) in rows.items()
        if weights + scales + other
    )
    return SizeReport(file_bytes=file_bytes, float_bytes=4 * parameters, parameters=parameters, rows=ledger)


def _grid_bytes(tensor: TensorSpec) -> int:
    """Bytes of scales and zero points where there is one a channel; those of single scales belong to the file's
    structure.
    """
    return (SCALE_BYTES + ZERO_POINT_BYTES) * len(tensor.scale) if len(tensor.scale) > 1 else 0
