"""Softmax, GELU, LayerNorm and tables: the parameters of their kernels from the grids of the graph."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from edgevit.errors import QuantError
from edgevit.integer import ops
from edgevit.integer.forms import Forms
from edgevit.integer.packing import pack
from edgevit.integer.scales import dyadic, narrowest, scale_of, zero_point_of
from edgevit.ir import ops as core
from edgevit.ir.op import Op
from edgevit.ir.types import DType, Quant, TensorType, dequantize_array
from edgevit_kernels import gelu as gelu_forms
from edgevit_kernels import layer_norm as norm_forms
from edgevit_kernels import softmax as softmax_forms
from edgevit_kernels.layer_norm.fqvit.factors import Factors
from edgevit_kernels.requantize import spec as requantize
from edgevit_kernels.requantize.spec import UINT8
from edgevit_kernels.table import spec as tables

_FUNCTIONS = {core.Sigmoid: "sigmoid", core.Tanh: "tanh", core.Silu: "silu", core.HardSwish: "hardswish"}


def _form(forms: Any, name: str) -> Any:
    """The form of that name. Raises QuantError for one that there is not."""
    if name not in forms:
        raise QuantError(f"no form {name!r}", hint=f"one of {', '.join(forms)}")
    return forms[name]


def table(op: Op, x: Op, type: TensorType) -> Op:
    """A function of one 8-bit value. Raises QuantError for a wider one."""
    function = _FUNCTIONS[_class_in(op, _FUNCTIONS)]
    params = tables.prepare(
        function,
        scale_of(x.type),
        scale_of(type),
        input_zero_point=zero_point_of(x.type),
        input_limits=x.type.dtype.limits,
        output_zero_point=zero_point_of(type),
        output_limits=type.dtype.limits,
    )
    return ops.Table(x, function, params.entries, type=type, loc=op.loc)


def gelu(op: core.Gelu, x: Op, type: TensorType, forms: Forms) -> Op:
    """GELU between the grids of its operand and its result, in the chosen form."""
    params = _form(gelu_forms.forms(), forms.gelu).spec.prepare(
        scale_of(x.type),
        scale_of(type),
        input_zero_point=zero_point_of(x.type),
        input_limits=x.type.dtype.limits,
        output_zero_point=zero_point_of(type),
        output_limits=type.dtype.limits,
    )
    return ops.Gelu(x, forms.gelu, pack(params), type=type, loc=op.loc)


def softmax(op: core.Softmax, x: Op, forms: Forms) -> Op:
    """Softmax of scores on a signed grid; the grid of the probabilities is that of the form."""
    if x.type.dtype not in (DType.I8, DType.I16):
        raise QuantError(f"scores of type {x.type.dtype.value}", hint="requantize them to signed 8 or 16 bits")
    form = _form(softmax_forms.forms(), forms.softmax)
    params = form.spec.prepare(scale_of(x.type), x.shape[-1], score_bits=x.type.dtype.bits, **forms.softmax_options())
    quant = Quant.per_tensor(dyadic(params.output_scale), params.output_zero_point)
    type = TensorType(op.shape, narrowest(params.output_limits), quant)
    return ops.Softmax(x, forms.softmax, pack(params), type=type, loc=op.loc)


def layer_norm(op: core.LayerNorm, operands: list[Op], type: TensorType, forms: Forms, factors: Factors | None) -> Op:
    """LayerNorm between the grids of its operand and its result, in the chosen form."""
    form = _form(norm_forms.forms(), forms.layer_norm)
    x, channels = operands[0], op.shape[-1]
    gamma, beta = (Fraction(1),) * channels, (Fraction(0),) * channels
    if op.gamma is not None:
        gamma, beta = (_real(constant) for constant in operands[1:])
    grids: dict[str, Any] = {"output_zero_point": zero_point_of(type), "output_limits": type.dtype.limits}
    if forms.layer_norm == "fqvit":
        if factors is None:
            raise QuantError("no power-of-two factors for its operand", hint="choose them with `choose_factors`")
        x = _with_factors(x, factors, op.loc)
        grids |= {"alphas": factors.alphas, "input_zero_point": factors.zero_point}
    grids["input_limits"] = x.type.dtype.limits
    if forms.layer_norm in ("ivit_repaired", "exact"):
        grids |= {"input_scale": scale_of(x.type), "epsilon": Fraction(op.eps)}
    params = form.spec.prepare(gamma, beta, scale_of(type), **grids)
    return ops.LayerNorm(x, forms.layer_norm, pack(params), type=type, loc=op.loc)


def _with_factors(x: Op, factors: Factors, loc: str) -> Op:
    """``x`` on FQ-ViT's grid of 8 bits, whose step has a power of two for each channel."""
    steps = [Fraction(factors.scale) * 2**alpha for alpha in factors.alphas]
    step = Fraction(factors.scale)
    inputs = [scale_of(x.type) / 2**alpha for alpha in factors.alphas]
    params = requantize.prepare(inputs, step, factors.zero_point, UINT8)
    quant = Quant(tuple(map(dyadic, steps)), (factors.zero_point,) * len(steps), x.type.rank - 1)
    multipliers = tuple(factor.multiplier for factor in params.dyadics)
    shifts = tuple(factor.shift for factor in params.dyadics)
    return ops.Requantize(x, multipliers, shifts, UINT8, type=TensorType(x.shape, DType.U8, quant), loc=loc)


def _real(constant: Op) -> tuple[Fraction, ...]:
    """The numbers that a quantized constant stands for."""
    assert isinstance(constant, core.Const)
    return tuple(map(Fraction, np.asarray(dequantize_array(constant.data, constant.type)).ravel().tolist()))


def _class_in(op: Op, classes: Any) -> Any:
    return next(cls for cls in classes if isinstance(op, cls))
