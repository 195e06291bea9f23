"""From the quantized form to explicit ``tflite.*`` ops.

File shapes: a value of shape (1, N, C) becomes (N, C), since the batch is 1 and the Edge TPU was seen to map rank-2
FULLY_CONNECTED (also for the two products of attention). Images stay (1, H, W, C).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from edgevit.backend import Lowered, Problem
from edgevit.errors import UnsupportedOp
from edgevit.ir import ops as core
from edgevit.ir.graph import Form, Graph
from edgevit.ir.op import Op
from edgevit.ir.types import DType, Quant, TensorType, dequantize_array, quantize_array

from . import ops as tfl
from .convolution import lower_conv2d, lower_pool, pointwise_convolution, pool_padding
from .emit import float32_quant

Lowering = Callable[["Lowerer", Any, list[Op]], Op]
_LOWERINGS: dict[type[Op], Lowering] = {}


def lowers(*classes: type[Op]) -> Callable[[Lowering], Lowering]:
    """Register the lowering of core op classes."""

    def register(function: Lowering) -> Lowering:
        for cls in classes:
            _LOWERINGS[cls] = function
        return function

    return register


def file_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in the file of a value of the IR."""
    if not shape:
        return (1,)
    return shape[1:] if len(shape) == 3 and shape[0] == 1 else shape


def file_type(type: TensorType) -> TensorType:
    """The type in the file: the file shape, the grid as float32, the grid's axis moved along."""
    shape = file_shape(type.shape)
    quant = type.quant
    if quant is not None:
        axis = None if quant.axis is None else quant.axis - (type.rank - len(shape))
        quant = float32_quant(Quant(quant.scale, quant.zero_point, axis))
    return TensorType(shape, type.dtype, quant)


def problems(graph: Graph) -> list[Problem]:
    """Every op of a float or quantized graph that has no lowering, so that all are reported at once."""
    found = ((op, _problem(op)) for op in graph.ops)
    return list(dict.fromkeys(Problem(op.loc, op.NAME, *problem) for op, problem in found if problem is not None))


def _problem(op: Op) -> tuple[str, str] | None:
    """What keeps one op from being lowered and what would mend it, or None."""
    if type(op) not in _LOWERINGS and not isinstance(op, (core.Const, core.Input)):
        hint = _HINTS.get(type(op), "rewrite this part of the model with supported ops, or add a lowering")
        return "has no Edge TPU operator", hint
    if isinstance(op, core.MatMul) and math.prod(op.shape[:-2]) != 1:
        return f"a batched product {list(op.shape)}", "split it by head: the pass `split-heads`"
    if isinstance(op, core.Conv2d) and op.groups not in (1, op.x.shape[3]):
        return f"{op.groups} groups", "only full and depthwise convolutions are mapped"
    if isinstance(op, core.Pad) and (op.mode != "constant" or op.value != 0):
        return f"pads by {op.mode} with {op.value}", "only zero padding is mapped"
    if isinstance(op, core.AvgPool2d) and op.count_padding and any(op.padding):
        return "counts its padding", "TFLite leaves padding out of the mean"
    if isinstance(op, core.Pool2d) and pool_padding(op) is None:
        return f"padding {list(op.padding)} is neither SAME nor VALID", "pad symmetrically with stride 1"
    return None


_HINTS: dict[type[Op], str] = {
    core.Gelu: "choose a GELU form: the pass `gelu-forms`",
    core.LayerNorm: "choose a LayerNorm form: the pass `norm-forms`",
    core.Attention: "split it by head: the pass `split-heads`",
    core.Gather: "GATHER never maps; constant indices are folded when the table is constant",
    core.ReduceSum: "LiteRT's int8 SUM reads its operand as uint8; use a mean",
    core.Erf: "only whole GELUs are recognised: the pass `raise-gelu`",
}


def lower(graph: Graph) -> Lowered:
    """The quantized graph in the target form. Raises UnsupportedOp with every op that has no lowering."""
    found = problems(graph)
    if found:
        listing = "\n  ".join(map(str, found))
        raise UnsupportedOp(f"{len(found)} ops cannot be lowered to Edge TPU operators:\n  {listing}", where=graph.name)
    lowerer = Lowerer(graph)
    return Lowered(lowerer.run(), lowerer.origins())


class Lowerer:
    """One lowering of one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.new: dict[Op, Op] = {}
        self.fused = _fused_activations(graph)
        self.requantized: dict[tuple[Op, Quant], Op] = {}
        self.reshaped: dict[tuple[Op, tuple[int, ...]], Op] = {}

    def run(self) -> Graph:
        for op in self.graph.ops:
            if isinstance(op, core.Const):
                self.new[op] = constant(op)
            elif isinstance(op, core.Input):
                self.new[op] = replace(op, type=file_type(op.type))
            else:
                operands = [self.new[operand] for operand in op.operands]
                self.new[op] = self.shaped(_LOWERINGS[type(op)](self, op, operands), file_shape(op.shape))
        inputs = [new for op in self.graph.inputs if isinstance(new := self.new[op], core.Input)]
        return Graph.of(self.graph.name, (self.new[op] for op in self.graph.outputs), inputs=inputs, form=Form.TARGET)

    def origins(self) -> dict[Op, Op]:
        """For every new op that has the value of a quantized op, that one; the last where several were fused."""
        origin: dict[Op, Op] = {}
        for old, new in self.new.items():
            origin[new] = old
            if isinstance(new, tfl.Reshape):
                origin.setdefault(new.x, old)
        for (value, _), reshape in self.reshaped.items():
            if value in origin:
                origin.setdefault(reshape, origin[value])
        return origin

    def shaped(self, value: Op, shape: tuple[int, ...]) -> Op:
        """``value`` in another shape, by one RESHAPE that all users share, and only where it differs."""
        if isinstance(value, tfl.Reshape):
            value = value.x
        if value.shape == shape:
            return value
        if isinstance(value, core.Const):
            return core.Const(value.data.reshape(shape), type=value.type.with_shape(shape), loc=value.loc)
        if (value, shape) not in self.reshaped:
            self.reshaped[value, shape] = tfl.Reshape(value, shape, type=value.type.with_shape(shape), loc=value.loc)
        return self.reshaped[value, shape]

    def full(self, old: Op) -> Op:
        """The operand in the shape that it has in the IR."""
        return self.shaped(self.new[old], old.shape or (1,))

    def activation(self, op: Op) -> str:
        """The activation that is fused into the lowering of ``op``."""
        return self.fused.get(op, "NONE")

    def on_grid(self, value: Op, quant: Quant) -> Op:
        """``value`` on another grid, by one QUANTIZE that all users share; a constant is rounded here and now."""
        if value.type.quant == quant:
            return value
        if isinstance(value, core.Const):
            type = replace(value.type, quant=quant)
            return core.Const(quantize_array(dequantize_array(value.data, value.type), type), type=type, loc=value.loc)
        if (value, quant) not in self.requantized:
            self.requantized[value, quant] = tfl.Requantize(value, type=replace(value.type, quant=quant), loc=value.loc)
        return self.requantized[value, quant]


def constant(op: core.Const) -> core.Const:
    """A constant of the file: the leading axis of size 1 goes, 64-bit integers become 32-bit ones."""
    type = file_type(op.type)
    data = op.data.reshape(type.shape)
    if type.dtype is DType.I64:
        data, type = data.astype(np.int32), replace(type, dtype=DType.I32)
    return core.Const(data, type=type, loc=op.loc)


def grid(type: TensorType) -> Quant:
    """The grid of a quantized type."""
    assert type.quant is not None
    return type.quant


def _fused_activations(graph: Graph) -> dict[Op, str]:
    """Producers whose only user is a relu on the same grid: TFLite clamps the result there itself."""
    fused: dict[Op, str] = {}
    for op in graph.ops:
        if not isinstance(op, core.Relu) and not (isinstance(op, core.Clip) and (op.lo, op.hi) == (0.0, 6.0)):
            continue
        producer = op.x
        fusible = isinstance(producer, (core.Linear, core.Conv2d, core.Add, core.Sub, core.Mul))
        if fusible and graph.uses[producer] == 1 and producer.type.quant == op.type.quant:
            fused[producer] = "RELU" if isinstance(op, core.Relu) else "RELU6"
    return fused


@lowers(core.Linear)
def _linear(low: Lowerer, op: core.Linear, operands: list[Op]) -> Op:
    x, weight = operands[:2]
    bias = operands[2] if op.bias is not None else None
    rows = op.type.size // op.weight.shape[0]
    type = file_type(op.type).with_shape((rows, op.weight.shape[0]))
    if grid(weight.type).axis is not None:
        return pointwise_convolution(low, x, weight, bias, type, low.activation(op), op.loc)
    return tfl.FullyConnected(x, weight, bias, low.activation(op), type=type, loc=op.loc)


@lowers(core.MatMul)
def _matmul(low: Lowerer, op: core.MatMul, operands: list[Op]) -> Op:
    lhs = low.shaped(operands[0], op.lhs.shape[-2:])
    if (
        isinstance(op.rhs, core.Transpose)
        and math.prod(op.rhs.shape[:-2]) == 1
        and op.rhs.perm[-2:] == (op.rhs.type.rank - 1, op.rhs.type.rank - 2)
    ):
        weights = low.shaped(low.new[op.rhs.x], op.rhs.x.shape[-2:])
    else:
        rhs = low.shaped(operands[1], op.rhs.shape[-2:])
        weights = tfl.Transpose(rhs, (1, 0), type=rhs.type.with_shape(rhs.shape[::-1]), loc=op.loc)
    return tfl.FullyConnected(lhs, weights, None, "NONE", type=file_type(op.type).with_shape(op.shape[-2:]), loc=op.loc)


@lowers(core.Conv2d)
def _conv2d(low: Lowerer, op: core.Conv2d, operands: list[Op]) -> Op:
    return lower_conv2d(low, op, operands, low.activation(op))


@lowers(core.AvgPool2d, core.MaxPool2d)
def _pool(low: Lowerer, op: core.Pool2d, operands: list[Op]) -> Op:
    return lower_pool(low, op, operands[0])


_ARITHMETIC: dict[type[Op], type[tfl.Arithmetic]] = {core.Add: tfl.Add, core.Sub: tfl.Sub, core.Mul: tfl.Mul}


@lowers(*_ARITHMETIC)
def _arithmetic(low: Lowerer, op: core.Add | core.Sub | core.Mul, operands: list[Op]) -> Op:
    lhs, rhs = operands[0], operands[-1]
    square = isinstance(op, core.Mul) and op.lhs is op.rhs
    if square and isinstance(op.lhs, core.Sub):
        minuend, subtrahend = low.new[op.lhs.lhs], low.new[op.lhs.rhs]
        return tfl.SquaredDifference(minuend, subtrahend, type=file_type(op.type), loc=op.loc)
    return _ARITHMETIC[type(op)](lhs, rhs, low.activation(op), type=file_type(op.type), loc=op.loc)


_POINTWISE: dict[type[Op], type[tfl.Pointwise]] = {
    core.Rsqrt: tfl.Rsqrt,
    core.Sigmoid: tfl.Logistic,
    core.Tanh: tfl.Tanh,
    core.Softmax: tfl.Softmax,
    core.L2Normalize: tfl.L2Normalization,
    core.Quantize: tfl.Requantize,
}


@lowers(*_POINTWISE)
def _pointwise(low: Lowerer, op: Op, operands: list[Op]) -> Op:
    return _POINTWISE[type(op)](operands[0], type=file_type(op.type), loc=op.loc)


@lowers(core.Relu, core.Clip)
def _relu(low: Lowerer, op: core.Relu | core.Clip, operands: list[Op]) -> Op:
    if op.x in low.fused:
        return operands[0]
    type = file_type(op.type)
    if isinstance(op, core.Relu):
        return tfl.Relu(operands[0], type=type, loc=op.loc)
    if (op.lo, op.hi) == (0.0, 6.0):
        return tfl.Relu6(operands[0], type=type, loc=op.loc)
    value = low.on_grid(operands[0], grid(type))
    for cls, bound in ((tfl.Maximum, op.lo), (tfl.Minimum, op.hi)):
        limit = TensorType((1,), type.dtype, type.quant)
        value = cls(
            value, core.Const(quantize_array(np.array([bound]), limit), type=limit, loc=op.loc), type=type, loc=op.loc
        )
    return value


@lowers(core.Maximum, core.Minimum)
def _extremum(low: Lowerer, op: core.Maximum | core.Minimum, operands: list[Op]) -> Op:
    quant = grid(file_type(op.type))
    cls = tfl.Maximum if isinstance(op, core.Maximum) else tfl.Minimum
    return cls(low.on_grid(operands[0], quant), low.on_grid(operands[-1], quant), type=file_type(op.type), loc=op.loc)


_REDUCERS: dict[type[Op], type[tfl.Reducer]] = {
    core.ReduceMean: tfl.Mean,
    core.ReduceMax: tfl.ReduceMax,
}


@lowers(*_REDUCERS)
def _reduce(low: Lowerer, op: core.Reduce, operands: list[Op]) -> Op:
    (x,) = operands
    dropped = op.x.type.rank - x.type.rank
    if dropped in op.axes:
        # A reduction maps on any axis but the first.
        x, dropped = low.full(op.x), 0
    axes = tuple(axis - dropped for axis in op.axes if axis >= dropped)
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    type = file_type(op.type).with_shape(shape)
    if not axes:
        return low.on_grid(x, grid(type))
    return _REDUCERS[type_of(op)](x, axes, True, type=type, loc=op.loc)


def type_of(op: Op) -> type[Op]:
    """The class of an op (``type`` is the field with its result type in much of this module)."""
    return op.__class__


@lowers(core.Reshape)
def _reshape(low: Lowerer, op: core.Reshape, operands: list[Op]) -> Op:
    return low.shaped(operands[0], file_shape(op.shape))


@lowers(core.Transpose)
def _transpose(low: Lowerer, op: core.Transpose, operands: list[Op]) -> Op:
    (x,) = operands
    if x.type.rank < op.x.type.rank and op.perm[0] == 0:
        perm = tuple(p - 1 for p in op.perm[1:])
    else:
        x, perm = low.full(op.x), op.perm
    shape = tuple(x.shape[p] for p in perm)
    return tfl.Transpose(x, perm, type=file_type(op.type).with_shape(shape), loc=op.loc)


@lowers(core.Concat)
def _concat(low: Lowerer, op: core.Concat, operands: list[Op]) -> Op:
    quant = grid(file_type(op.type))
    whole = op.axis == 0 or any(low.new[x].type.rank != file_rank(op.shape) for x in op.xs)
    values = [low.full(x) if whole else low.new[x] for x in op.xs]
    axis = op.axis - (op.type.rank - values[0].type.rank)
    joined = tuple(low.on_grid(value, quant) for value in values)
    shape = list(values[0].shape)
    shape[axis] = op.shape[op.axis]
    return tfl.Concatenation(joined, axis, type=file_type(op.type).with_shape(tuple(shape)), loc=op.loc)


def file_rank(shape: tuple[int, ...]) -> int:
    """The number of dimensions in the file."""
    return len(file_shape(shape))


@lowers(core.Slice)
def _slice(low: Lowerer, op: core.Slice, operands: list[Op]) -> Op:
    (x,) = operands
    dropped = op.x.type.rank - x.type.rank
    begin, end, steps = op.start[dropped:], op.stop[dropped:], op.step[dropped:]
    shape = op.shape[dropped:]
    type = file_type(op.type).with_shape(shape)
    if any(step != 1 for step in steps):
        return tfl.StridedSlice(x, begin, end, steps, type=type, loc=op.loc)
    return tfl.Slice(x, begin, shape, type=type, loc=op.loc)


@lowers(core.Pad)
def _pad(low: Lowerer, op: core.Pad, operands: list[Op]) -> Op:
    (x,) = operands
    dropped = op.x.type.rank - x.type.rank
    if any(op.low[: dropped + 1]) or any(op.high[: dropped + 1]):
        # PAD maps on any axis but the first.
        x, dropped = low.full(op.x), 0
    low_pad, high_pad = op.low[dropped:], op.high[dropped:]
    shape = tuple(a + n + b for a, n, b in zip(low_pad, x.shape, high_pad, strict=True))
    return tfl.Pad(x, low_pad, high_pad, type=file_type(op.type).with_shape(shape), loc=op.loc)
