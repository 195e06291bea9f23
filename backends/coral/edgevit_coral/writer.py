"""A TfliteModel as a TensorFlow Lite flatbuffer, directly with the schema package: no converter, no TensorFlow.

The bytes depend on the model alone. Nothing in them is newer than the TensorFlow Lite of mid-2021: buffers are
inline, the operator code is in its old and its new field, no signature, no external buffer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgevit.errors import BackendError

from .model import OperatorSpec, OptionValue, TensorSpec, TfliteModel
from .schema import BARE, ENUMERATIONS, IDENTIFIER, OPTIONS, PLACEHOLDER_CODE, VERSION, numbers, schema, snake_case

# A flatbuffer's offsets are 32 bits, signed in part.
MAX_BYTES = 2**31 - 2**20

# The runtime that first had every operator version a model may use here: TensorFlow 2.5, of mid-2021.
MIN_RUNTIME = "2.5.0"
_RUNTIME_KEY = "min_runtime_version"


def write(model: TfliteModel) -> bytes:
    """The bytes of the .tflite file. Raises BackendError for a model that the format cannot hold."""
    s = schema()
    import flatbuffers

    if model.subgraph_count != 1:
        raise BackendError(f"{model.subgraph_count} subgraphs", hint="only models of one subgraph are written")
    buffers = _Buffers()
    codes: dict[tuple[str, int], int] = {}
    subgraph = s.SubGraphT()
    subgraph.tensors = [_tensor(s, spec, buffers) for spec in model.tensors]
    subgraph.operators = [_operator(s, op, codes, len(model.tensors)) for op in model.operators]
    subgraph.inputs, subgraph.outputs = _indices(model.inputs), _indices(model.outputs)
    # Sixteen bytes, zero-padded, as the official converter writes it.
    metadata = s.MetadataT()
    metadata.name, metadata.buffer = _RUNTIME_KEY, buffers.index(MIN_RUNTIME.encode().ljust(16, b"\0"))
    root = s.ModelT()
    root.version, root.description = VERSION, model.description
    root.operatorCodes = [_code(s, name, version) for name, version in codes]
    root.subgraphs, root.buffers, root.metadata = [subgraph], buffers.packed(), [metadata]
    if buffers.total > MAX_BYTES:
        raise BackendError(f"{buffers.total} bytes of constants", hint="a .tflite file holds at most 2 GiB")
    builder = flatbuffers.Builder(buffers.total + 1024)
    builder.Finish(root.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


@dataclass(frozen=True)
class _Buffer:
    """A buffer table with its data on a multiple of 16 bytes, as the schema demands and the object API does not do."""

    data: bytes

    def Pack(self, builder: Any) -> int:
        s = schema()
        vector = None
        if self.data:
            builder.StartVector(1, len(self.data), 16)
            head = builder.Head() - len(self.data)
            builder.head = head
            builder.Bytes[head : head + len(self.data)] = self.data
            vector = builder.EndVector()
        s.BufferStart(builder)
        if vector is not None:
            s.BufferAddData(builder, vector)
        return int(s.BufferEnd(builder))


class _Buffers:
    """All buffers of the file: 0 is empty, equal data is stored once."""

    def __init__(self) -> None:
        self._index: dict[bytes, int] = {b"": 0}
        self.total = 0

    def index(self, data: bytes) -> int:
        if data not in self._index:
            self._index[data] = len(self._index)
            self.total += len(data) + 32
        return self._index[data]

    def packed(self) -> list[_Buffer]:
        return [_Buffer(data) for data in self._index]


def _indices(values: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.array(values, dtype=np.int32)


def _tensor(s: Any, spec: TensorSpec, buffers: _Buffers) -> Any:
    tensor = s.TensorT()
    tensor.shape, tensor.name = _indices(spec.shape), spec.name
    kinds = numbers("TensorType")
    if spec.dtype.upper() not in kinds:
        raise BackendError(f"type {spec.dtype}", where=spec.name, hint="the schema has no such tensor type")
    tensor.type = kinds[spec.dtype.upper()]
    if spec.data is not None:
        data = spec.data.astype(spec.data.dtype.newbyteorder("<"), copy=False)
        tensor.buffer = buffers.index(data.tobytes())
    if spec.scale or spec.zero_point:
        if len(spec.scale) != len(spec.zero_point):
            raise BackendError(
                f"{len(spec.scale)} scales, {len(spec.zero_point)} zero points",
                where=spec.name,
                hint="give as many of each",
            )
        tensor.quantization = s.QuantizationParametersT()
        tensor.quantization.scale = np.array(spec.scale, dtype=np.float32)
        tensor.quantization.zeroPoint = np.array(spec.zero_point, dtype=np.int64)
        tensor.quantization.quantizedDimension = spec.axis
    return tensor


def _operator(s: Any, op: OperatorSpec, codes: dict[tuple[str, int], int], tensors: int) -> Any:
    if not all(-1 <= index < tensors for index in (*op.inputs, *op.outputs)):
        raise BackendError(
            f"{op.name} names a tensor that is not there", where=op.loc, hint=f"there are {tensors} tensors"
        )
    operator = s.OperatorT()
    operator.opcodeIndex = codes.setdefault((op.name, op.version), len(codes))
    operator.inputs, operator.outputs = _indices(op.inputs), _indices(op.outputs)
    table = OPTIONS.get(op.name)
    if table is not None:
        operator.builtinOptionsType = numbers("BuiltinOptions")[table]
        operator.builtinOptions = _options(getattr(s, table + "T")(), op.options, op)
    elif op.name not in BARE:
        raise BackendError(f"operator {op.name}", where=op.loc, hint="the writer does not know its options table")
    elif op.options:
        raise BackendError(f"{op.name} with options {sorted(op.options)}", where=op.loc, hint="this operator has none")
    return operator


def _options(table: Any, options: Mapping[str, OptionValue], op: OperatorSpec) -> Any:
    fields = {snake_case(field): field for field in vars(table)}
    for name, value in options.items():
        if name not in fields:
            raise BackendError(
                f"{op.name} has no option {name}", where=op.loc, hint=f"its options: {', '.join(fields)}"
            )
        if name in ENUMERATIONS and isinstance(value, str):
            choices = numbers(ENUMERATIONS[name])
            if value not in choices:
                raise BackendError(f"{name} {value}", where=op.loc, hint=f"one of {', '.join(choices)}")
            value = choices[value]
        setattr(table, fields[name], _indices(value) if isinstance(value, tuple) else value)
    return table


def _code(s: Any, name: str, version: int) -> Any:
    kinds = numbers("BuiltinOperator")
    if name not in kinds:
        raise BackendError(f"operator {name}", hint="the schema has no such builtin operator")
    code = s.OperatorCodeT()
    code.builtinCode, code.version = kinds[name], version
    code.deprecatedBuiltinCode = min(kinds[name], PLACEHOLDER_CODE)
    return code
