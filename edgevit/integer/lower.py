"""``to-integer``: from the quantized to the integer form.

Every op that computes becomes one ``int.*`` op. What follows a product or a sum and only changes its numbers by a
factor, a bound or another grid (relu, clip, the scale of attention, quantize) goes into that op's requantization, and
the grids between them disappear. Grids of results are those of the quantized graph, with dyadic scales; the exception
is softmax, whose form brings its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from edgevit.errors import QuantError, UnsupportedOp
from edgevit.integer import ops
from edgevit.integer.forms import Forms
from edgevit.integer.nonlinear import gelu, layer_norm, softmax, table
from edgevit.integer.scales import dyadic, dyadic_grid, exact, grid, scale_of, zero_point_of
from edgevit.integer.tails import Tail, follow_tails
from edgevit.ir import ops as core
from edgevit.ir.graph import Form, Graph
from edgevit.ir.op import Op
from edgevit.ir.types import DType, TensorType
from edgevit.passes.base import Pass
from edgevit_kernels.add import spec as add
from edgevit_kernels.convolution import ref as convolution
from edgevit_kernels.layer_norm.fqvit.factors import Factors
from edgevit_kernels.matmul import spec as matmul
from edgevit_kernels.requantize import spec as requantize

MOST_OF_A_ROW = Fraction(3, 2)
"""What a row of FQ-ViT's probabilities sums to at most (``edgevit_kernels.softmax.fqvit``)."""


@dataclass(frozen=True)
class ToInteger(Pass):
    """Lower a quantized graph with the given forms; ``factors`` are needed by FQ-ViT's LayerNorm alone.

    Raises UnsupportedOp with every op that has no integer form, and QuantError, with the op's place and what to change,
    for a form that cannot be exact in 32 bits at the op's scales.
    """

    NAME: ClassVar[str] = "to-integer"
    NEEDS: ClassVar[tuple[Form, ...]] = (Form.QUANTIZED,)
    GIVES: ClassVar[Form | None] = Form.INTEGER

    forms: Forms = field(default_factory=Forms)
    factors: Mapping[str, Factors] = field(default_factory=dict)

    def run(self, graph: Graph) -> Graph:
        return _Lowerer(graph, self.forms, self.factors).run()

    def spec(self) -> str:
        """The name alone: forms are an option of the export."""
        return self.NAME


class _Lowerer:
    """One lowering of one graph."""

    def __init__(self, graph: Graph, forms: Forms, factors: Mapping[str, Factors]) -> None:
        self.graph, self.forms, self.factors = graph, forms, factors
        self.tails = follow_tails(graph)
        self.new: dict[Op, Op] = {}

    def run(self) -> Graph:
        self.refuse_unknown()
        for op in self.graph.ops:
            if op in self.new:
                continue
            with placed(op):
                tail = self.tails.get(op)
                result = self.lowered(op, tail)
            self.new[op] = result
            if tail is not None:
                self.new.update(dict.fromkeys(tail.absorbed, result))
        inputs = [new for op in self.graph.inputs if isinstance(new := self.new[op], core.Input)]
        return Graph.of(self.graph.name, (self.new[op] for op in self.graph.outputs), inputs=inputs, form=Form.INTEGER)

    def refuse_unknown(self) -> None:
        known = (core.Const, core.Input, *core.LAYOUT_OPS, *_LOWERINGS)
        absorbed = {op for tail in self.tails.values() for op in tail.absorbed}
        found = [
            f"{op.loc or '(no module)'}: {op.NAME}"
            for op in self.graph.ops
            if op not in absorbed and (not isinstance(op, known) or (isinstance(op, core.Mul) and op not in self.tails))
        ]
        if found:
            raise UnsupportedOp(
                f"{len(found)} ops have no integer form:\n  " + "\n  ".join(found),
                where=self.graph.name,
                hint="rewrite this part of the model with products, sums, softmax, GELU and LayerNorm",
            )

    def lowered(self, op: Op, tail: Tail | None) -> Op:
        if isinstance(op, core.Const):
            return op if op.type.quant is None else op.with_type(integer_type(op.type))
        if isinstance(op, core.Input):
            return op.with_type(integer_type(op.type))
        operands = [self.new[operand] for operand in op.operands]
        if isinstance(op, core.LAYOUT_OPS):
            return self.moved(op, operands)
        return _LOWERINGS[type(op)](self, op, operands, Tail(op) if tail is None else tail)

    def moved(self, op: Op, operands: list[Op]) -> Op:
        """A layout op on integers: its result lies on the grid of its operands, which are brought onto one."""
        if isinstance(op, core.Pad) and op.mode == "constant" and op.value != 0:
            raise QuantError(f"pads with {op.value:g}", hint="pad with zero, and add the constant behind it")
        if isinstance(op, core.Concat):
            type = integer_type(op.type)
            operands = [
                x if (x.type.quant, x.type.dtype) == (type.quant, type.dtype) else rescale(x, type, op.loc)
                for x in operands
            ]
        by_old = dict(zip(op.operands, operands, strict=True))
        new = op.map_operands(by_old.__getitem__)
        source = operands[0].type
        return new.with_type(TensorType(op.shape, source.dtype, source.quant))


Lowering = Callable[[_Lowerer, Any, list[Op], Tail], Op]
_LOWERINGS: dict[type[Op], Lowering] = {}


def lowers(*classes: type[Op]) -> Callable[[Lowering], Lowering]:
    """Register the lowering of core op classes."""

    def register(function: Lowering) -> Lowering:
        for cls in classes:
            _LOWERINGS[cls] = function
        return function

    return register


@contextmanager
def placed(op: Op) -> Iterator[None]:
    """Errors of kernels get the place of the op and its name."""
    try:
        yield
    except QuantError as error:
        form = f"{error.where}: " if error.where else ""
        raise QuantError(f"{op.NAME}: {form}{error.what}", where=op.loc, hint=error.hint) from None


def integer_type(type: TensorType) -> TensorType:
    """The type with dyadic scales."""
    return replace(type, quant=dyadic_grid(grid(type)))


def operand(value: Op) -> matmul.Operand:
    """An operand of a product as the kernels see it."""
    scales = [exact(scale) for scale in grid(value.type).scale]
    return matmul.Operand(scales, zero_point_of(value.type), value.type.dtype.limits)


def rescale(x: Op, type: TensorType, loc: str, tail: Tail | None = None) -> Op:
    """``x`` on the grid of ``type``, times the tail's factor, within its bounds."""
    factor, limits = (Fraction(1), type.dtype.limits) if tail is None else (tail.factor, tail.limits(type))
    params = requantize.prepare(scale_of(x.type) * factor, *target(type))
    return ops.Requantize(x, *numbers(params), limits, type=replace(type, shape=x.shape), loc=loc)


def target(type: TensorType) -> tuple[Fraction, int, tuple[int, int]]:
    """Scale, zero point and limits of a result's grid."""
    return scale_of(type), zero_point_of(type), type.dtype.limits


def numbers(params: requantize.Params) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Multipliers and shifts. The limits of the op are the tail's, which may leave the zero point out."""
    factors = params.dyadics
    return tuple(f.multiplier for f in factors), tuple(f.shift for f in factors)


def bias_on(bias: Op | None, x: Op, weight: Op) -> core.Const | None:
    """The bias on the grid of the accumulators, which is another one where the operand's grid was replaced."""
    if bias is None:
        return None
    assert isinstance(bias, core.Const)
    scales = [scale_of(x.type) * exact(scale) for scale in grid(weight.type).scale]
    old = [exact(scale) for scale in grid(bias.type).scale]
    if scales == old:
        return bias
    ratios = [was / now for was, now in zip(old, scales, strict=True)]
    ratios *= len(bias.data) // len(ratios)
    moved = [
        (value * ratio + Fraction(1, 2)).__floor__() for value, ratio in zip(bias.data.tolist(), ratios, strict=True)
    ]
    type = TensorType(bias.shape, DType.I32, replace(grid(bias.type), scale=tuple(map(dyadic, scales))))
    return core.Const(np.array(moved, np.int32), type=type, loc=bias.loc)


@lowers(core.Linear)
def _linear(low: _Lowerer, op: core.Linear, operands: list[Op], tail: Tail) -> Op:
    x, weight = operands[:2]
    bias = bias_on(operands[2] if op.bias is not None else None, x, weight)
    assert isinstance(weight, core.Const)
    type = integer_type(tail.last.type)
    params = matmul.prepare(
        tail.scaled(operand(x)),
        operand(weight),
        *target(type),
        depth=weight.shape[1],
        weights=weight.data.tolist(),
        bias=None if bias is None else bias.data.tolist(),
    )
    return ops.Linear(
        x,
        weight,
        bias,
        *numbers(params.requantize),
        tail.limits(type),
        params.max_accumulator,
        type=type,
        loc=op.loc,
    )


@lowers(core.Conv2d)
def _conv2d(low: _Lowerer, op: core.Conv2d, operands: list[Op], tail: Tail) -> Op:
    x, weight = operands[:2]
    bias = bias_on(operands[2] if op.bias is not None else None, x, weight)
    assert isinstance(weight, core.Const)
    type = integer_type(tail.last.type)
    params = convolution.prepare(
        tail.scaled(operand(x)),
        operand(weight),
        *target(type),
        weights=weight.data,
        bias=None if bias is None else bias.data.tolist(),
        window=convolution.Window(op.stride, op.padding, op.dilation, op.groups),
    )
    return ops.Conv2d(
        x,
        weight,
        bias,
        *numbers(params.requantize),
        tail.limits(type),
        params.max_accumulator,
        op.stride,
        op.padding,
        op.dilation,
        op.groups,
        type=type,
        loc=op.loc,
    )


@lowers(core.MatMul)
def _matmul(low: _Lowerer, op: core.MatMul, operands: list[Op], tail: Tail) -> Op:
    lhs, rhs = operands
    type = integer_type(tail.last.type)
    limits = tail.limits(type)
    if _holds_powers(lhs):
        right = operand(rhs)
        matmul.check_operands(right, right)
        bound = (MOST_OF_A_ROW / scale_of(lhs.type) * right.reach).__ceil__()
        scale = scale_of(lhs.type) * scale_of(rhs.type) * tail.factor
        rescaled = numbers(requantize.prepare(scale, *target(type)))
        return ops.ShiftMatMul(lhs, rhs, *rescaled, limits, bound, type=type, loc=op.loc)
    params = matmul.prepare(tail.scaled(operand(lhs)), operand(rhs), *target(type), depth=lhs.shape[-1])
    return ops.MatMul(lhs, rhs, *numbers(params.requantize), limits, params.max_accumulator, type=type, loc=op.loc)


def _holds_powers(value: Op) -> bool:
    """Whether the value is FQ-ViT's softmax, moved at most."""
    while isinstance(value, core.LAYOUT_OPS) and len(value.operands) == 1:
        value = value.operands[0]
    return isinstance(value, ops.Softmax) and value.form.startswith("fqvit")


@lowers(core.Add)
def _add(low: _Lowerer, op: core.Add, operands: list[Op], tail: Tail) -> Op:
    type = integer_type(tail.last.type)
    a, b = (add.Operand(scale_of(x.type) * tail.factor, zero_point_of(x.type), x.type.dtype.limits) for x in operands)
    result, limits = add.Operand(*target(type)), tail.limits(type)
    if low.forms.add == "separate":
        separate = add.prepare_separate(a, b, result)
        left, right = separate.dyadics
        pairs = ((left.multiplier, right.multiplier), (left.shift, right.shift))
        return ops.Add(operands[0], operands[1], "separate", *pairs, limits, type=type, loc=op.loc)
    common = add.prepare_common(a, b, result)
    return ops.Add(
        operands[0],
        operands[1],
        "common",
        common.multipliers,
        (common.shift,),
        limits,
        common.bits,
        type=type,
        loc=op.loc,
    )


@lowers(core.Relu, core.Clip, core.Quantize, core.Mul)
def _rescaled(low: _Lowerer, op: Op, operands: list[Op], tail: Tail) -> Op:
    x = next(value for value in operands if not isinstance(value, core.Const))
    type = integer_type(tail.last.type)
    if isinstance(x, core.Input) and tail.is_relabelling(x.type, type):
        return x
    return rescale(x, type, op.loc, tail)


@lowers(core.Sigmoid, core.Tanh, core.Silu, core.HardSwish)
def _table(low: _Lowerer, op: Op, operands: list[Op], tail: Tail) -> Op:
    return table(op, operands[0], integer_type(op.type))


@lowers(core.Gelu)
def _gelu(low: _Lowerer, op: core.Gelu, operands: list[Op], tail: Tail) -> Op:
    return gelu(op, operands[0], integer_type(op.type), low.forms)


@lowers(core.Softmax)
def _softmax(low: _Lowerer, op: core.Softmax, operands: list[Op], tail: Tail) -> Op:
    return softmax(op, operands[0], low.forms)


@lowers(core.LayerNorm)
def _layer_norm(low: _Lowerer, op: core.LayerNorm, operands: list[Op], tail: Tail) -> Op:
    return layer_norm(op, operands, integer_type(op.type), low.forms, low.factors.get(op.loc))
