"""The text form of a graph. ``edgevit.ir.parse`` reads it back.

    graph @mlp form=float
      %0 = input(name="x") : f32[1,4]
      %1 = const(data=@9f86d081884c) : f32[8,4]
      %2 = linear(x=%0, weight=%1, bias=none) : f32[1,8] in [-1.5, 2.0] loc "mlp.fc1"
      return %2

A type is an element type and a shape, then the calibrated range (``in [lo, hi]``) or the grid (``q(scale:zero_point,
...)``, with ``axis n`` when it is per channel). A name that is no plain word is a JSON string. Arrays of more than 8
elements are named by the first 12 digits of the SHA-256 of their content and travel beside the text, in
``resources(graph)``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

import numpy as np

from edgevit.errors import IRError
from edgevit.ir.graph import Graph
from edgevit.ir.op import Op, field_names
from edgevit.ir.types import Array, Dyadic, Quant, Scale, TensorType

INLINE_ELEMENTS = 8
_PLAIN_NAME = re.compile(r"[\w.:/-]+", re.ASCII)


def print_graph(graph: Graph) -> str:
    """The text form, one op a line in execution order, ending with a newline."""
    ids = {op: f"%{i}" for i, op in enumerate(graph.ops)}
    lines = [f"graph @{_print_name(graph.name)} form={graph.form.value}"]
    lines += [f"  {print_op(op, ids)}" for op in graph.ops]
    lines.append(f"  return {', '.join(ids[op] for op in graph.outputs)}")
    return "\n".join(lines) + "\n"


def print_op(op: Op, ids: Mapping[Op, str] | None = None) -> str:
    """One op as a line; operands without an id print as ``%?``."""
    ids = ids or {}
    fields = ", ".join(f"{name}={_print_field(getattr(op, name), ids)}" for name in field_names(type(op)))
    result = ids.get(op, "%?")
    loc = f" loc {json.dumps(op.loc)}" if op.loc else ""
    return f"{result} = {op.NAME}({fields}) : {print_type(op.type)}{loc}"


def print_type(type: TensorType) -> str:
    """A type in the text form, such as ``i8[197,192] q(0.0125:-4)``."""
    text = f"{type.dtype.value}[{','.join(map(str, type.shape))}]"
    if type.range is not None:
        text += f" in [{float(type.range[0])!r}, {float(type.range[1])!r}]"
    if type.quant is not None:
        text += f" {_print_quant(type.quant)}"
    return text


def resources(graph: Graph) -> dict[str, Array]:
    """The arrays that the text form only names, by name."""
    found: dict[str, Array] = {}
    for op in graph.ops:
        for value in op.attributes.values():
            if isinstance(value, np.ndarray) and value.size > INLINE_ELEMENTS:
                found[array_name(value)] = value
        quant = op.type.quant
        if quant is not None and len(quant.scale) > INLINE_ELEMENTS:
            table = quant_table(quant)
            found[array_name(table)] = table
    return found


def array_name(array: Array) -> str:
    """The name of an array by its content: 12 hexadecimal digits."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]


def quant_table(quant: Quant) -> Array:
    """A per-channel grid as a float64 array (2, channels): scales, zero points."""
    if any(isinstance(scale, Dyadic) for scale in quant.scale):
        rows = [
            [scale.multiplier, scale.shift, z]
            for scale, z in zip(quant.scale, quant.zero_point, strict=True)
            if isinstance(scale, Dyadic)
        ]
        if len(rows) != len(quant.scale):
            raise IRError("a grid mixes dyadic and float scales")
        return np.array(rows, np.int64).T
    return np.array([[float(s) for s in quant.scale], quant.zero_point], np.float64)


def _print_name(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else json.dumps(name)


def _print_quant(quant: Quant) -> str:
    axis = "" if quant.axis is None else f", axis {quant.axis}"
    if len(quant.scale) > INLINE_ELEMENTS:
        return f"q(@{array_name(quant_table(quant))}{axis})"
    return f"q({', '.join(f'{_print_scale(s)}:{z}' for s, z in zip(quant.scale, quant.zero_point, strict=True))}{axis})"


def _print_scale(scale: Scale) -> str:
    return f"{scale.multiplier}p-{scale.shift}" if isinstance(scale, Dyadic) else repr(float(scale))


def _print_field(value: object, ids: Mapping[Op, str]) -> str:
    if isinstance(value, Op):
        return ids.get(value, "%?")
    if value is None:
        return "none"
    if isinstance(value, np.ndarray):
        if value.size > INLINE_ELEMENTS:
            return f"@{array_name(value)}"
        return f"[{', '.join(_print_field(item, ids) for item in value.ravel().tolist())}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, str)):
        return json.dumps(value)
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, tuple):
        return f"[{', '.join(_print_field(item, ids) for item in value)}]"
    raise IRError(f"no text form for an attribute of type {type(value).__name__}")
