"""The ``int.*`` op classes: integers in, integers out, every parameter an integer.

Zero points and scales are those of the operands' and the result's types, where scales are dyadic; what an op carries
itself are the multipliers and shifts that were computed from them, the limits that the result is clamped to (a fused
relu raises the lower one) and the bound on its accumulators. ``kernel`` gives them as the parameters of the kernel of
``edgevit_kernels`` that is the op's meaning. Layout ops of the core move integers unchanged and are used as they are.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

from edgevit.errors import IRError
from edgevit.integer.packing import unpack
from edgevit.integer.scales import exact, grid, scale_of, zero_point_of
from edgevit.ir import ops as core
from edgevit.ir.op import Op
from edgevit.ir.types import TensorType
from edgevit_kernels import gelu, layer_norm, softmax
from edgevit_kernels.add import spec as add
from edgevit_kernels.convolution import spec as convolution
from edgevit_kernels.matmul import spec as matmul
from edgevit_kernels.requantize import spec as requantize

Integers = tuple[int, ...]


def epilogue(op: Linear | MatMul | ShiftMatMul | Conv2d | Requantize) -> requantize.Params:
    """How the accumulators of an op become its result. Raises IRError for numbers that are no dyadics."""
    factors = []
    if not op.multipliers or len(op.multipliers) != len(op.shifts):
        raise op.fail(
            f"{len(op.multipliers)} multipliers and {len(op.shifts)} shifts", hint="one pair, or one a channel"
        )
    if len(op.multipliers) not in (1, op.type.shape[-1] if op.type.shape else 1):
        raise op.fail(f"{len(op.multipliers)} multipliers for {list(op.type.shape)}", hint="one, or one a channel")
    for multiplier, shift in zip(op.multipliers, op.shifts, strict=True):
        if not (2**30 <= multiplier < 2**31 and requantize.MIN_SHIFT <= shift <= requantize.MAX_SHIFT):
            raise op.fail(f"{multiplier}p-{shift} is no multiplier", hint="31 bits, shifted right by 1 to 62")
        factors.append(requantize.Dyadic(multiplier, shift))
    _check_limits(op, op.limits)
    return requantize.Params(tuple(factors), scale_of(op.type), zero_point_of(op.type), op.limits)


@dataclass(frozen=True, eq=False)
class Linear(Op):
    """requantize((x - z) @ weight.T + bias): x (..., in) 8 or 16 bits, weight (out, in) 8 bits, bias (out) 32 bits."""

    NAME = "int.linear"
    x: Op
    weight: Op
    bias: Op | None
    multipliers: Integers
    shifts: Integers
    limits: tuple[int, int]
    max_accumulator: int
    """No partial sum exceeds it in magnitude."""

    def infer(self) -> TensorType:
        return _checked(self, core.Linear(self.x, self.weight, self.bias, loc=self.loc).type)

    @property
    def kernel(self) -> matmul.Params:
        """Parameters of ``edgevit_kernels.matmul``; the bias is an operand of the op."""
        return _product(self, self.x, self.weight, self.weight.shape[1])


@dataclass(frozen=True, eq=False)
class MatMul(Op):
    """requantize((lhs - z) @ (rhs - z)): lhs (..., n, k) 8 or 16 bits, rhs (..., k, m) 8; leading axes broadcast."""

    NAME = "int.matmul"
    lhs: Op
    rhs: Op
    multipliers: Integers
    shifts: Integers
    limits: tuple[int, int]
    max_accumulator: int

    def infer(self) -> TensorType:
        return _checked(self, core.MatMul(self.lhs, self.rhs, loc=self.loc).type)

    @property
    def kernel(self) -> matmul.Params:
        """Parameters of ``edgevit_kernels.matmul``, which takes rhs transposed."""
        return _product(self, self.lhs, self.rhs, self.lhs.shape[-1])


@dataclass(frozen=True, eq=False)
class ShiftMatMul(Op):
    """MatMul whose lhs holds powers of two up to 2**15, or 0, so that every product is a shift (FQ-ViT's softmax)."""

    NAME = "int.shift_matmul"
    lhs: Op
    rhs: Op
    multipliers: Integers
    shifts: Integers
    limits: tuple[int, int]
    max_accumulator: int

    def infer(self) -> TensorType:
        return _checked(self, core.MatMul(self.lhs, self.rhs, loc=self.loc).type)

    @property
    def kernel(self) -> matmul.Params:
        """Parameters of ``edgevit_kernels.matmul``, of which only the accumulation by shifts differs."""
        return _product(self, self.lhs, self.rhs, self.lhs.shape[-1])


@dataclass(frozen=True, eq=False)
class Conv2d(Op):
    """requantize of a cross-correlation, channels last; padding holds the zero point, that is real zero."""

    NAME = "int.conv2d"
    x: Op
    weight: Op
    bias: Op | None
    multipliers: Integers
    shifts: Integers
    limits: tuple[int, int]
    max_accumulator: int
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def infer(self) -> TensorType:
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        return _checked(self, core.Conv2d(self.x, self.weight, self.bias, *geometry, loc=self.loc).type)

    @property
    def kernel(self) -> convolution.Params:
        """Parameters of ``edgevit_kernels.convolution``; the bias is an operand of the op."""
        product = _product(self, self.x, self.weight, 0)
        return convolution.Params(
            convolution.Window(self.stride, self.padding, self.dilation, self.groups),
            product.zero_points,
            None,
            self.max_accumulator,
            product.accumulator_scales,
            product.requantize,
        )


@dataclass(frozen=True, eq=False)
class Add(Op):
    """lhs + rhs on the grid of the result; ``separate`` rounds each operand, ``common`` only the sum.

    ``multipliers`` are those of lhs and rhs, ``shifts`` likewise, but for ``common`` only the one of the sum, which has
    ``bits`` bits.
    """

    NAME = "int.add"
    lhs: Op
    rhs: Op
    form: str
    multipliers: tuple[int, int]
    shifts: Integers
    limits: tuple[int, int]
    bits: int = 64

    def infer(self) -> TensorType:
        shape = core.broadcast_shapes(self.lhs.shape, self.rhs.shape)
        if shape is None:
            raise self.fail(f"{list(self.lhs.shape)} and {list(self.rhs.shape)} do not broadcast")
        shifts = {"separate": 2, "common": 1}.get(self.form)
        if shifts is None:
            raise self.fail(f"no form {self.form!r}", hint="separate or common")
        if len(self.shifts) != shifts:
            raise self.fail(f"{len(self.shifts)} shifts in the form {self.form}", hint=f"it has {shifts}")
        _check_limits(self, self.limits)
        return TensorType(shape, self.lhs.type.dtype)

    @property
    def kernel(self) -> add.SeparateParams | add.CommonParams:
        """Parameters of ``edgevit_kernels.add``, in the form of the op."""
        zero_points = (zero_point_of(self.lhs.type), zero_point_of(self.rhs.type))
        scale, zero_point = scale_of(self.type), zero_point_of(self.type)
        if self.form == "separate":
            factors = [requantize.Dyadic(*pair) for pair in zip(self.multipliers, self.shifts, strict=True)]
            return add.SeparateParams(zero_points, (factors[0], factors[1]), scale, zero_point, self.limits)
        reaches = [
            max(x.type.dtype.limits[1] - zero, zero - x.type.dtype.limits[0])
            for x, zero in zip((self.lhs, self.rhs), zero_points, strict=True)
        ]
        (shift,) = self.shifts
        return add.CommonParams(
            zero_points,
            self.multipliers,
            shift,
            self.bits,
            sum(reach * n for reach, n in zip(reaches, self.multipliers, strict=True)) + 2 ** (shift - 1),
            Fraction(1, 2) + Fraction(sum(reaches), 2 ** (shift + 1)),
            scale,
            zero_point,
            self.limits,
        )


@dataclass(frozen=True, eq=False)
class Requantize(Op):
    """The same real numbers on another grid, one multiplier for all or one a channel of the last axis."""

    NAME = "int.requantize"
    x: Op
    multipliers: Integers
    shifts: Integers
    limits: tuple[int, int]

    def infer(self) -> TensorType:
        return _checked(self, self.x.type)

    @property
    def kernel(self) -> requantize.Params:
        """Parameters of ``edgevit_kernels.requantize``."""
        return epilogue(self)


@dataclass(frozen=True, eq=False)
class Table(Op):
    """entries[x - smallest x]: ``function`` of an 8-bit value, correctly rounded on the grid of the result."""

    NAME = "int.table"
    x: Op
    function: str
    entries: Integers

    def infer(self) -> TensorType:
        low, high = self.x.type.dtype.limits
        if len(self.entries) != high - low + 1:
            raise self.fail(f"{len(self.entries)} entries for {self.x.type.dtype.value}", hint="one for each value")
        return self.x.type


@dataclass(frozen=True, eq=False)
class FormOp(Op):
    """Base of the ops that have several forms; ``params`` are the packed parameters of ``form``'s kernel."""

    x: Op
    form: str
    params: Integers

    @classmethod
    def forms(cls) -> Mapping[str, Any]:
        """The forms of the kernel package."""
        return _FORMS[cls.NAME]()

    def infer(self) -> TensorType:
        if self.form not in self.forms():
            raise self.fail(f"no form {self.form!r}", hint=f"one of {', '.join(self.forms())}")
        try:
            found = self.kernel
        except IRError as error:
            raise self.fail(error.what) from None
        _check_limits(self, found.output_limits)
        return self.x.type

    @property
    def kernel(self) -> Any:
        """The parameters of the form's kernel."""
        return unpack(params_class(self.NAME, self.form), self.params)


class Softmax(FormOp):
    """Softmax over the last axis; the zero point of the operand cancels."""

    NAME = "int.softmax"


class Gelu(FormOp):
    """GELU of each value; in the form ``ivit`` it depends on the whole row."""

    NAME = "int.gelu"


class LayerNorm(FormOp):
    """LayerNorm over the last axis with its affine part; the zero point of the operand cancels."""

    NAME = "int.layer_norm"


_FORMS: Mapping[str, Callable[[], Mapping[str, Any]]] = {
    Softmax.NAME: softmax.forms,
    Gelu.NAME: gelu.forms,
    LayerNorm.NAME: layer_norm.forms,
}


@cache
def params_class(name: str, form: str) -> type[Any]:
    """The class of the parameters of a form of the op called ``name``: what its ``prepare`` returns."""
    found: type[Any] = typing.get_type_hints(_FORMS[name]()[form].spec.prepare)["return"]
    return found


def _product(op: Linear | MatMul | ShiftMatMul | Conv2d, x: Op, weight: Op, depth: int) -> matmul.Params:
    scales = tuple(scale_of(x.type) * exact(scale) for scale in grid(weight.type).scale)
    zero_points = (zero_point_of(x.type), zero_point_of(weight.type))
    return matmul.Params(depth, zero_points, None, op.max_accumulator, scales, epilogue(op))


def _checked(op: Linear | MatMul | ShiftMatMul | Conv2d | Requantize, inferred: TensorType) -> TensorType:
    """``inferred``, once the numbers of an op whose result has a grid are found to be sound."""
    if op.type.quant is not None:
        epilogue(op)
    return inferred


def _check_limits(op: Op, limits: tuple[int, int]) -> None:
    """Raise IRError for limits that the element type of the result does not hold, and for a result without a grid."""
    if op.type.quant is None or not op.type.dtype.is_integer:
        return
    low, high = op.type.dtype.limits
    if not low <= limits[0] <= limits[1] <= high:
        raise op.fail(f"limits {list(limits)} outside of {op.type.dtype.value}", hint="clamp to the element type")


INTEGER_OPS = (Linear, MatMul, ShiftMatMul, Conv2d, Add, Requantize, Table, Softmax, Gelu, LayerNorm)
"""Every op class of the dialect."""
