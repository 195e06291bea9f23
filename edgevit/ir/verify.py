"""The verifier: what every graph must satisfy, and what each form adds to it."""

from __future__ import annotations

import math

from edgevit.errors import IRError
from edgevit.ir.graph import Form, Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import LAYOUT_OPS, Const, Dequantize, Input, Quantize
from edgevit.ir.text import print_op, print_type
from edgevit.ir.types import DType, Dyadic


def verify(graph: Graph) -> None:
    """Raise IRError, with the offending line underlined, for the first invariant that ``graph`` breaks."""
    ids: dict[Op, str] = {}
    names: set[str] = set()
    for number, op in enumerate(graph.ops):
        for operand in op.operands:
            if operand not in ids:
                what = f"operand {operand.NAME} is not computed above"
                raise _error(op, ids, what, "ops are to be in execution order")
        if op in ids:
            raise _error(op, ids, "the op stands twice in the graph", "build a new op instead")
        ids[op] = f"%{number}"
        if isinstance(op, Input):
            if op.name in names:
                raise _error(op, ids, f"two inputs are named {op.name!r}", "give each input its own name")
            names.add(op.name)
        _check_shape(op, ids, graph.form)
        _check_numbers(op, ids)
        _CHECKS[graph.form](op, ids)
    if not graph.outputs:
        raise IRError("the graph has no output", where=graph.name)
    for output in graph.outputs:
        if output not in ids:
            raise IRError(f"output {output.NAME} is not in the graph", where=output.loc or graph.name)


def _check_shape(op: Op, ids: dict[Op, str], form: Form) -> None:
    if any(n < 1 for n in op.type.shape):
        raise _error(op, ids, f"empty dimension in {print_type(op.type)}", "dimensions are positive")
    if isinstance(op, (Input, Quantize, Dequantize)):
        return
    try:
        inferred = op.infer()
    except IRError as error:
        raise _error(op, ids, error.what.removeprefix(f"{op.NAME}: "), error.hint) from None
    if inferred.shape != op.type.shape:
        what = f"has shape {list(op.type.shape)}, its operands give {list(inferred.shape)}"
        raise _error(op, ids, what, "infer the type anew")
    # Quantization gives every op an element type of its own; before it, and for data, the operands decide.
    if inferred.dtype is not op.type.dtype and (form in (Form.FLOAT, Form.CALIBRATED) or isinstance(op, Const)):
        what = f"has elements of type {op.type.dtype.value}, its operands give {inferred.dtype.value}"
        raise _error(op, ids, what, "infer the type anew")


def _check_numbers(op: Op, ids: dict[Op, str]) -> None:
    limits, quant = op.type.range, op.type.quant
    if limits is not None and not (limits[0] <= limits[1] and all(map(math.isfinite, limits))):
        raise _error(op, ids, f"an impossible range {list(limits)}", "look for non-finite activations")
    if quant is None:
        return
    if not op.type.dtype.is_integer:
        raise _error(op, ids, f"a grid on {op.type.dtype.value} elements", "quantized values are integers")
    if limits is not None:
        raise _error(op, ids, "both a range and a grid", "quantization replaces the range by the grid")
    axis = quant.axis
    if axis is not None and (not 0 <= axis < op.type.rank or op.type.shape[axis] != len(quant.scale)):
        what = f"{len(quant.scale)} scales on axis {axis} of {list(op.type.shape)}"
        raise _error(op, ids, what, "one scale a channel")
    lo, hi = op.type.dtype.limits
    if any(not lo <= z <= hi for z in quant.zero_point):
        raise _error(op, ids, f"a zero point outside [{lo}, {hi}]", "clamp it to the element type")


def _check_float(op: Op, ids: dict[Op, str]) -> None:
    if op.type.quant is not None:
        raise _error(op, ids, "a quantized value in the float form", "run the pass `quantize` to leave the float form")


def _check_calibrated(op: Op, ids: dict[Op, str]) -> None:
    _check_float(op, ids)
    if op.type.dtype is DType.F32 and op.type.range is None and not isinstance(op, Const):
        raise _error(op, ids, "has no range", "run `calibrate` on the final float graph")


def _check_quantized(op: Op, ids: dict[Op, str]) -> None:
    if op.type.dtype is DType.F32:
        raise _error(op, ids, "a float value in the quantized form", "the pass `quantize` gives every value a grid")
    if op.type.quant is None and not isinstance(op, Const) and op.type.dtype.bits <= 16:
        raise _error(op, ids, "an integer value without a grid", "the pass `quantize` gives every value a grid")


def _check_integer(op: Op, ids: dict[Op, str]) -> None:
    if not isinstance(op, (Const, Input, *LAYOUT_OPS)) and "." not in op.NAME:
        raise _error(op, ids, "a core op in the integer form", "the pass `to-integer` lowers every op to its dialect")
    if op.type.quant is not None and not all(isinstance(scale, Dyadic) for scale in op.type.quant.scale):
        raise _error(op, ids, "a float scale in the integer form", "the pass `to-integer` makes scales dyadic")
    _check_quantized(op, ids)


def _check_target(op: Op, ids: dict[Op, str]) -> None:
    if not isinstance(op, (Const, Input)) and "." not in op.NAME:
        raise _error(op, ids, "a core op in the target form", "the backend lowers every op to its own dialect")
    _check_quantized(op, ids)


_CHECKS = {
    Form.FLOAT: _check_float,
    Form.CALIBRATED: _check_calibrated,
    Form.QUANTIZED: _check_quantized,
    Form.INTEGER: _check_integer,
    Form.TARGET: _check_target,
}


def _error(op: Op, ids: dict[Op, str], what: str, hint: str) -> IRError:
    line = print_op(op, ids)
    return IRError(f"{op.NAME}: {what}\n  {line}\n  {'~' * len(line)}", where=op.loc, hint=hint)
