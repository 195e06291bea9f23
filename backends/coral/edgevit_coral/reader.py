"""A TensorFlow Lite flatbuffer as a TfliteModel. The file is not trusted.

Offsets in a flatbuffer may point anywhere and many of them to one place, so a small file can claim gigabytes. Every
count is bounded by the file before anything is built from it, and all that is copied is charged to a budget that an
honest file stays below.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit.errors import BackendError, EdgevitError, ToolNotFound

from .model import OperatorSpec, OptionValue, TensorSpec, TfliteModel
from .schema import ENUMERATIONS, IDENTIFIER, VERSION, names, schema, snake_case

MAX_BYTES = 2**31
MAX_ITEMS = 1 << 20  # tensors, operators, operator codes, buffers
MAX_RANK = 32
MAX_OPTION_LENGTH = 1 << 10

_SUBBYTE_BITS = {"int4": 4, "uint4": 4, "int2": 2}
_HINT = "export or download the file again"

# What the flatbuffers package and numpy raise on offsets that lead outside the buffer.
_MALFORMED = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError, struct.error)

# The first slot of a table's field in its vtable: 4 + 2 * position in the schema.
_TENSOR_NAME = _MODEL_DESCRIPTION = 10


def read(data: bytes | Path) -> TfliteModel:
    """The first subgraph of a file, or of its bytes. Constant data are read-only views of them.

    An operator that the schema does not know is named ``UNKNOWN_<code>``, a custom one ``CUSTOM``. Raises
    BackendError for anything that is not a well-formed file of schema version 3 with inline buffers.
    """
    where = str(data) if isinstance(data, Path) else ""
    content = _load(data) if isinstance(data, Path) else data
    if len(content) > MAX_BYTES:
        raise BackendError(f"{len(content)} bytes", where=where, hint="a .tflite file holds at most 2 GiB")
    if len(content) < 8 or content[4:8] != IDENTIFIER:
        raise BackendError("not a TensorFlow Lite file", where=where, hint="it has no TFL3 identifier")
    try:
        return _Reader(content).model()
    except ToolNotFound:
        raise
    except EdgevitError as error:
        raise BackendError(error.what, where=where or error.where, hint=error.hint) from error
    except _MALFORMED as error:
        raise BackendError(f"a damaged TensorFlow Lite file ({error})", where=where, hint=_HINT) from error


def _load(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BackendError("more than 2 GiB", where=str(path), hint="a .tflite file holds at most 2 GiB")
        return path.read_bytes()
    except OSError as error:
        raise BackendError(
            f"cannot be read: {error.strerror}", where=str(path), hint="check path and permissions"
        ) from error


def _text(raw: Any) -> str:
    return raw.decode("utf-8", errors="replace") if isinstance(raw, bytes) else ""


class _Reader:
    """One file. All public work happens in ``model``."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.schema = schema()
        self.budget = 4 * len(content) + (1 << 16)

    def spend(self, cost: int) -> None:
        """Charge ``cost`` bytes of what is copied from the file."""
        self.budget -= cost
        if cost < 0 or self.budget < 0:
            raise BackendError("the file refers to the same bytes too often", hint=_HINT)

    def count(self, length: int, what: str, limit: int = MAX_ITEMS) -> range:
        """The indices of a vector whose length was checked."""
        if not 0 <= length <= min(limit, len(self.content) // 4):
            raise BackendError(f"{length} {what}", hint=_HINT)
        self.spend(4 * length)
        return range(length)

    def string(self, table: Any, slot: int) -> str:
        """A string field of a table, by its vtable slot; empty where it is absent."""
        offset = table.Offset(slot)
        if not offset:
            return ""
        self.spend(table.VectorLen(offset))
        return _text(table.String(offset + table.Pos))

    def model(self) -> TfliteModel:
        root = self.schema.Model.GetRootAs(self.content, 0)
        if root.Version() != VERSION:
            raise BackendError(f"schema version {root.Version()}", hint=f"only version {VERSION} is read")
        codes = [self.code(root.OperatorCodes(i)) for i in self.count(root.OperatorCodesLength(), "operator codes")]
        buffers = [self.buffer(root.Buffers(i)) for i in self.count(root.BuffersLength(), "buffers")]
        subgraphs = self.count(root.SubgraphsLength(), "subgraphs")
        if not subgraphs:
            raise BackendError("a file without a subgraph", hint=_HINT)
        graph = root.Subgraphs(0)
        tensors = tuple(self.tensor(graph.Tensors(i), buffers) for i in self.count(graph.TensorsLength(), "tensors"))
        operators = tuple(
            self.operator(graph.Operators(i), codes, len(tensors))
            for i in self.count(graph.OperatorsLength(), "operators")
        )
        inputs, outputs = (self.indices(graph, field, len(tensors), 0) for field in ("Inputs", "Outputs"))
        description = self.string(root._tab, _MODEL_DESCRIPTION)
        return TfliteModel(tensors, operators, inputs, outputs, description, len(subgraphs))

    def code(self, code: Any) -> tuple[str, int]:
        """(name, version) of an operator code; the larger of its two fields counts, as in TFLite."""
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        return names("BuiltinOperator").get(number, f"UNKNOWN_{number}"), code.Version()

    def buffer(self, buffer: Any) -> bytes | memoryview:
        """The bytes of a buffer: in it, or behind the flatbuffer at an offset of the file. Empty for an activation."""
        offset, size = buffer.Offset(), buffer.Size()
        if offset > 1:
            if offset + size > len(self.content):
                raise BackendError("a buffer beyond the end of the file", hint=_HINT)
            return memoryview(self.content)[offset : offset + size]
        if buffer.DataLength() == 0:
            return b""
        return memoryview(buffer.DataAsNumpy())

    def indices(self, table: Any, field: str, tensors: int, least: int) -> tuple[int, ...]:
        """A vector of tensor indices in [least, tensors)."""
        values = tuple(getattr(table, field)(i) for i in self.count(getattr(table, f"{field}Length")(), "indices"))
        if not all(least <= value < tensors for value in values):
            raise BackendError("a tensor index that is not there", hint=_HINT)
        return values

    def tensor(self, tensor: Any, buffers: list[bytes | memoryview]) -> TensorSpec:
        name = self.string(tensor._tab, _TENSOR_NAME)
        shape = tuple(tensor.Shape(i) for i in self.count(tensor.ShapeLength(), "dimensions", MAX_RANK))
        if any(size < 0 for size in shape):
            raise BackendError(f"shape {shape}", where=name, hint="only static shapes are read")
        dtype = names("TensorType").get(tensor.Type(), f"unknown_{tensor.Type()}").lower()
        if tensor.ExternalBuffer():
            raise BackendError("an external buffer", where=name, hint="write the file with inline buffers")
        if tensor.Sparsity() is not None:
            raise BackendError("a sparse tensor", where=name, hint="write the file with dense weights")
        if not 0 <= tensor.Buffer() < max(len(buffers), 1):
            raise BackendError("a buffer that is not there", where=name, hint=_HINT)
        raw = buffers[tensor.Buffer()] if buffers else b""
        data = _decode(raw, shape, dtype, name) if len(raw) else None
        scale, zero_point, axis = self.quantization(tensor.Quantization(), shape, name)
        return TensorSpec(name, shape, dtype, scale, zero_point, axis, data)

    def quantization(self, q: Any, shape: tuple[int, ...], name: str) -> tuple[tuple[float, ...], tuple[int, ...], int]:
        """Scales, zero points (as many) and axis; empty without a scale."""
        if q is None or q.ScaleLength() == 0:
            return (), (), 0
        self.count(q.ScaleLength() + 2 * q.ZeroPointLength(), "quantization parameters", 1 << 26)
        scale = tuple(float(value) for value in q.ScaleAsNumpy())
        zero_point = tuple(int(value) for value in q.ZeroPointAsNumpy()) if q.ZeroPointLength() else (0,) * len(scale)
        axis = q.QuantizedDimension()
        if len(zero_point) == 1:
            zero_point *= len(scale)
        fits = len(scale) == 1 or (0 <= axis < len(shape) and shape[axis] == len(scale))
        if len(scale) != len(zero_point) or not fits:
            what = f"{len(scale)} scales and {len(zero_point)} zero points for {shape}"
            raise BackendError(what, where=name, hint=_HINT)
        return scale, zero_point, axis

    def operator(self, op: Any, codes: list[tuple[str, int]], tensors: int) -> OperatorSpec:
        if not 0 <= op.OpcodeIndex() < len(codes):
            raise BackendError("an operator code that is not there", hint=_HINT)
        name, version = codes[op.OpcodeIndex()]
        inputs, outputs = self.indices(op, "Inputs", tensors, -1), self.indices(op, "Outputs", tensors, 0)
        return OperatorSpec(name, version, inputs, outputs, self.options(op))

    def options(self, op: Any) -> dict[str, OptionValue]:
        """The options table in snake case, whichever it is, without what is neither a number nor integers."""
        table = op.BuiltinOptions()
        kind = names("BuiltinOptions").get(op.BuiltinOptionsType(), "NONE")
        if table is None or kind == "NONE":
            return {}
        fields = vars(getattr(self.schema, f"{kind}T").InitFromBuf(table.Bytes, table.Pos))
        options: dict[str, OptionValue] = {}
        for field, value in fields.items():
            name = snake_case(field)
            if isinstance(value, np.ndarray):
                self.count(value.size, "option values", MAX_OPTION_LENGTH)
                options[name] = tuple(int(item) for item in value)
            elif name in ENUMERATIONS:
                options[name] = names(ENUMERATIONS[name]).get(value, f"UNKNOWN_{value}")
            elif isinstance(value, bool | int | float):
                options[name] = value
        return options


def _decode(raw: bytes | memoryview, shape: tuple[int, ...], dtype: str, name: str) -> NDArray[np.generic]:
    """The constant: an array of ``shape``, or plain bytes for a type that numpy does not have."""
    elements = math.prod(shape)
    try:
        kind = np.dtype(dtype).newbyteorder("<")
    except TypeError:
        kind = None
    if kind is None or kind.kind not in "biufc":
        bits = _SUBBYTE_BITS.get(dtype)
        if bits is not None and len(raw) != -(-elements * bits // 8):
            raise BackendError(f"{len(raw)} bytes for {dtype}{list(shape)}", where=name, hint=_HINT)
        return np.frombuffer(raw, dtype=np.uint8)
    if len(raw) != elements * kind.itemsize:
        raise BackendError(f"{len(raw)} bytes for {dtype}{list(shape)}", where=name, hint=_HINT)
    return np.frombuffer(raw, dtype=kind).reshape(shape)
