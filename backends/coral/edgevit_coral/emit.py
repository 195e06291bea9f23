"""From the target form to the plain model that the writer writes, and the evaluation of ``tflite.*`` ops in the
interpreter.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgevit.ir.graph import Graph
from edgevit.ir.interp import evaluates_exactly
from edgevit.ir.op import Op
from edgevit.ir.ops import Const, Input
from edgevit.ir.types import Array, Quant, TensorType

from . import ops
from .execute import run_operator
from .model import OperatorSpec, TensorSpec, TfliteModel


def to_model(graph: Graph, description: str = "") -> TfliteModel:
    """The TFLite model of a graph in the target form. Tensor names are module paths, made unique by a number."""
    tensors: list[TensorSpec] = []
    index: dict[Op, int] = {}
    shared: dict[bytes, int] = {}
    operators: list[OperatorSpec] = []
    name = _namer()

    def constant(array: NDArray[np.int32]) -> int:
        key = f"{array.shape}".encode() + array.tobytes()
        if key not in shared:
            shared[key] = len(tensors)
            tensors.append(TensorSpec(name("shape"), tuple(array.shape), "int32", data=array))
        return shared[key]

    for op in graph.ops:
        if isinstance(op, ops.TfliteOp):
            inputs = [-1 if operand is None else index[operand] for operand in op.file_operands()]
            inputs += [constant(extra) for extra in op.shape_operands()]
        index[op] = len(tensors)
        label = op.name if isinstance(op, Input) else (op.loc or op.NAME)
        tensors.append(tensor_spec(name(label), op.type, op.data if isinstance(op, Const) else None))
        if isinstance(op, ops.TfliteOp):
            operators.append(
                OperatorSpec(op.BUILTIN, op.VERSION, tuple(inputs), (index[op],), op.file_options(), op.loc)
            )
    return TfliteModel(
        tuple(tensors),
        tuple(operators),
        tuple(index[op] for op in graph.inputs),
        tuple(index[op] for op in graph.outputs),
        description,
    )


def tensor_spec(name: str, type: TensorType, data: Array | None = None) -> TensorSpec:
    """A tensor of the file for a value of the IR."""
    quant = type.quant
    if quant is None:
        return TensorSpec(name, type.shape, type.dtype.numpy.name, data=data)
    scale = tuple(float(s) for s in quant.scale)
    return TensorSpec(name, type.shape, type.dtype.numpy.name, scale, quant.zero_point, quant.axis or 0, data)


def float32_quant(quant: Quant) -> Quant:
    """The grid with its scales rounded to the float32 numbers that the file stores."""
    return Quant(tuple(float(np.float32(float(s))) for s in quant.scale), quant.zero_point, quant.axis)


@evaluates_exactly(
    *(cls for cls in vars(ops).values() if isinstance(cls, type) and issubclass(cls, ops.TfliteOp) and cls.BUILTIN)
)
def evaluate(op: ops.TfliteOp, operands: list[Array]) -> Array:
    """TFLite's reference kernel on arrays with a leading sample axis (constants without)."""
    given = dict(zip(op.operands, operands, strict=True))
    tensors: list[TensorSpec] = []
    values: dict[int, Array] = {}
    inputs: list[int] = []
    for operand in op.file_operands():
        if operand is None:
            inputs.append(-1)
            continue
        inputs.append(len(tensors))
        if not isinstance(operand, Const):
            values[len(tensors)] = given[operand]
        tensors.append(tensor_spec(operand.loc, operand.type, operand.data if isinstance(operand, Const) else None))
    for extra in op.shape_operands():
        inputs.append(len(tensors))
        tensors.append(TensorSpec("shape", tuple(extra.shape), "int32", data=extra))
    result = len(tensors)
    tensors.append(tensor_spec(op.loc, op.type))
    return run_operator(
        OperatorSpec(op.BUILTIN, op.VERSION, tuple(inputs), (result,), op.file_options(), op.loc), tensors, values
    )


def _namer() -> Callable[[str], str]:
    """Unique tensor names: the label itself first, then with a number."""
    seen: dict[str, int] = {}

    def name(label: str) -> str:
        count = seen.get(label, 0)
        seen[label] = count + 1
        return label if count == 0 else f"{label};{count}"

    return name
