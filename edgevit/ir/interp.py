"""The reference interpreter.

Every run-time array carries one extra leading axis, the samples: a value of type f32[1,197,192] is an array (S, 1, 197,
192). A graph for one image is thus evaluated for a whole batch at once. Constants come without that axis and broadcast.

Core ops are evaluated in float32 where their values are real. On quantized values their meaning is the real-valued op
between dequantized operands in double precision, rounded once onto the result's grid; ops that only move elements move
the integers. A target dialect registers evaluators of its own, which see the integers as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgevit.errors import IRError
from edgevit.ir.graph import Graph
from edgevit.ir.op import Op, OpT
from edgevit.ir.ops.structure import Const, Input
from edgevit.ir.types import Array, dequantize_array, quantize_array

Evaluator = Callable[[Any, list[Any]], NDArray[Any]]
Observe = Callable[[Op, Array], None]
EvaluatorT = TypeVar("EvaluatorT", bound=Evaluator)

_REAL: dict[type[Op], Evaluator] = {}
_EXACT: dict[type[Op], Evaluator] = {}


def evaluates(*classes: type[OpT]) -> Callable[[EvaluatorT], EvaluatorT]:
    """Register ``f(op, operand arrays) -> array`` as the real-valued meaning of op classes."""

    def register(function: EvaluatorT) -> EvaluatorT:
        for cls in classes:
            _REAL[cls] = function
        return function

    return register


def evaluates_exactly(*classes: type[OpT]) -> Callable[[EvaluatorT], EvaluatorT]:
    """Register an evaluator that is given the stored integers, grids or not: layout ops and target dialects."""

    def register(function: EvaluatorT) -> EvaluatorT:
        for cls in classes:
            _EXACT[cls] = function
        return function

    return register


def run(graph: Graph, inputs: Sequence[Array], observe: Observe | None = None) -> list[Array]:
    """Evaluate ``graph`` on ``inputs``, one array (S, *shape) for each input; the outputs come as (S, *shape).

    ``observe`` is called with every op that is not a constant and its array (not to be modified), in execution order.
    Values are freed after their last use. Raises IRError for an op without an evaluator and for inputs that do not fit.
    """
    samples = _check_inputs(graph, inputs)
    given = dict(zip(graph.inputs, inputs, strict=True))
    remaining = dict(graph.uses)
    values: dict[Op, Array] = {}
    for op in graph.ops:
        if isinstance(op, Const):
            values[op] = op.data
            continue
        value = given[op] if isinstance(op, Input) else evaluate_op(op, [values[operand] for operand in op.operands])
        values[op] = value
        if observe is not None:
            observe(op, value)
        for operand in op.operands:
            remaining[operand] -= 1
            if remaining[operand] == 0:
                del values[operand]
        if remaining[op] == 0:
            del values[op]
    return [_with_samples(op, values[op], samples) for op in graph.outputs]


def evaluate_op(op: Op, operands: list[Array]) -> Array:
    """The value of one op on operand arrays; those of constants have no sample axis."""
    import edgevit.ir.evaluate  # noqa: F401  (registers the core evaluators, which import this module)

    exact = _EXACT.get(type(op))
    if exact is not None:
        return exact(op, operands)
    real = _REAL.get(type(op))
    if real is None:
        raise IRError(f"the interpreter has no evaluator for {op.NAME}", where=op.loc)
    if op.type.quant is None and all(operand.type.quant is None for operand in op.operands):
        return _stored(real(op, operands), op)
    values = [
        dequantize_array(array, operand.type) if operand.type.quant is not None else array
        for operand, array in zip(op.operands, operands, strict=True)
    ]
    return _stored(real(op, values), op)


def _stored(real: NDArray[Any], op: Op) -> Array:
    """Real numbers as the array of the op's value: on its grid, or in its element type."""
    return np.asarray(real, op.type.dtype.numpy) if op.type.quant is None else quantize_array(real, op.type)


def _check_inputs(graph: Graph, inputs: Sequence[Array]) -> int:
    if len(inputs) != len(graph.inputs):
        raise IRError(f"{len(inputs)} arrays for {len(graph.inputs)} inputs", where=graph.name)
    for op, array in zip(graph.inputs, inputs, strict=True):
        if array.ndim != op.type.rank + 1 or array.shape[1:] != op.type.shape:
            raise IRError(
                f"an array of shape {list(array.shape)} for an input of shape {list(op.type.shape)}",
                where=f"{graph.name}, input {op.name}",
                hint="arrays carry a leading sample axis: (samples, *shape)",
            )
        if array.dtype != op.type.dtype.numpy:
            raise IRError(
                f"an array of {array.dtype} for an input of {op.type.dtype.value}",
                where=f"{graph.name}, input {op.name}",
            )
    counts = {array.shape[0] for array in inputs}
    if len(counts) > 1:
        raise IRError(f"inputs of {sorted(counts)} samples", where=graph.name, hint="every input has the same samples")
    return counts.pop() if counts else 1


def _with_samples(op: Op, value: Array, samples: int) -> Array:
    """Outputs that do not depend on an input get the sample axis here."""
    if value.ndim == op.type.rank:
        return np.broadcast_to(value, (samples, *value.shape))
    return value
