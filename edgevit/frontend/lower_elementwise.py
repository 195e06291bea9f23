"""Lowerings of arithmetic, activations and selections by constant masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgevit.frontend.lower_norm import l2_normalized
from edgevit.frontend.registry import MASKED, Node, lowers
from edgevit.ir.op import Op
from edgevit.ir.ops import (
    Abs,
    Add,
    Clip,
    Cos,
    Div,
    Erf,
    Exp,
    Gelu,
    HardSigmoid,
    HardSwish,
    Log,
    Maximum,
    Minimum,
    Mul,
    Neg,
    Pow,
    Relu,
    Rsqrt,
    Sigmoid,
    Sign,
    Silu,
    Sin,
    Sqrt,
    Sub,
    Tanh,
    Unary,
)

_UNARY: dict[str, type[Unary]] = {
    "abs": Abs,
    "cos": Cos,
    "erf": Erf,
    "exp": Exp,
    "hardsigmoid": HardSigmoid,
    "hardswish": HardSwish,
    "log": Log,
    "neg": Neg,
    "relu": Relu,
    "rsqrt": Rsqrt,
    "sigmoid": Sigmoid,
    "sign": Sign,
    "silu": Silu,
    "sin": Sin,
    "sqrt": Sqrt,
    "tanh": Tanh,
}


def _register_unary(name: str, cls: type[Unary]) -> None:
    @lowers(f"{name}.default")
    def unary(node: Node, x: Any) -> Op:
        return cls(node.op(x), loc=node.loc)


for _name, _cls in _UNARY.items():
    _register_unary(_name, _cls)


@lowers("add.Tensor", "add.Scalar")
def add(node: Node, x: Any, y: Any, alpha: float) -> Op:
    """x + alpha * y."""
    return Add(node.op(x), _scaled(node, y, alpha), loc=node.loc)


@lowers("sub.Tensor", "sub.Scalar")
def sub(node: Node, x: Any, y: Any, alpha: float) -> Op:
    """x - alpha * y."""
    return Sub(node.op(x), _scaled(node, y, alpha), loc=node.loc)


@lowers("rsub.Scalar", "rsub.Tensor")
def rsub(node: Node, x: Any, y: Any, alpha: float) -> Op:
    """y - alpha * x."""
    return Sub(node.op(y), _scaled(node, x, alpha), loc=node.loc)


@lowers("mul.Tensor", "mul.Scalar")
def mul(node: Node, x: Any, y: Any) -> Op:
    """x * y."""
    return Mul(node.op(x), node.op(y), loc=node.loc)


@lowers("div.Tensor", "div.Scalar", "true_divide.Tensor")
def div(node: Node, x: Any, y: Any) -> Op:
    """x / y; a product with the reciprocal where y is constant, a normalization where y is the norm of x."""
    if isinstance(y, Op):
        lhs = node.op(x)
        return l2_normalized(lhs, y, node.loc) or Div(lhs, y, loc=node.loc)
    divisor = np.asarray(y if isinstance(y, (int, float)) else node.array(y, "divisor"), np.float64)
    if not divisor.all():
        raise node.cannot("a division by zero")
    return Mul(node.op(x), node.const(1 / divisor), loc=node.loc)


@lowers("reciprocal.default")
def reciprocal(node: Node, x: Any) -> Op:
    """1 / x."""
    return Div(node.op(1.0), node.op(x), loc=node.loc)


@lowers("addcmul.default")
def addcmul(node: Node, x: Any, a: Any, b: Any, value: float) -> Op:
    """x + value * a * b."""
    product = Mul(_scaled(node, a, value), node.op(b), loc=node.loc)
    return Add(node.op(x), product, loc=node.loc)


@lowers("pow.Tensor_Scalar")
def pow_scalar(node: Node, x: Any, exponent: float) -> Op:
    """x ** exponent; by products and roots where these are the same."""
    base = node.op(x)
    if exponent == 1:
        return base
    if exponent in (2, 3):
        square = Mul(base, base, loc=node.loc)
        return square if exponent == 2 else Mul(square, base, loc=node.loc)
    if exponent in (0.5, -0.5):
        return Sqrt(base, loc=node.loc) if exponent > 0 else Rsqrt(base, loc=node.loc)
    if exponent == -1:
        return reciprocal(node, base)
    return Pow(base, node.op(float(exponent)), loc=node.loc)


@lowers("pow.Tensor_Tensor", "pow.Scalar")
def pow_tensor(node: Node, x: Any, y: Any) -> Op:
    """x ** y."""
    return Pow(node.op(x), node.op(y), loc=node.loc)


@lowers("square.default")
def square(node: Node, x: Any) -> Op:
    """x * x."""
    return pow_scalar(node, x, 2)


@lowers("maximum.default", "max.other")
def maximum(node: Node, x: Any, y: Any) -> Op:
    """The larger of x and y."""
    return Maximum(node.op(x), node.op(y), loc=node.loc)


@lowers("minimum.default", "min.other")
def minimum(node: Node, x: Any, y: Any) -> Op:
    """The smaller of x and y."""
    return Minimum(node.op(x), node.op(y), loc=node.loc)


@lowers("gelu.default")
def gelu(node: Node, x: Any, approximate: str) -> Op:
    """x * Phi(x), exact or by the hyperbolic tangent."""
    return Gelu(node.op(x), approximate, loc=node.loc)


@lowers("relu6.default")
def relu6(node: Node, x: Any) -> Op:
    """x limited to [0, 6]."""
    return Clip(node.op(x), 0.0, 6.0, loc=node.loc)


@lowers("hardtanh.default")
def hardtanh(node: Node, x: Any, low: float, high: float) -> Op:
    """x limited to [low, high]."""
    return Clip(node.op(x), float(low), float(high), loc=node.loc)


@lowers("clamp.default")
def clamp(node: Node, x: Any, low: float | None, high: float | None) -> Op:
    """x limited on one side or both."""
    operand = node.op(x)
    if low is not None and high is not None:
        return Clip(operand, float(low), float(high), loc=node.loc)
    if low is not None:
        return Maximum(operand, node.op(float(low)), loc=node.loc)
    return operand if high is None else Minimum(operand, node.op(float(high)), loc=node.loc)


@lowers("clamp_min.default")
def clamp_min(node: Node, x: Any, low: float) -> Op:
    """x, but at least ``low``."""
    return clamp(node, x, low, None)


@lowers("clamp_max.default")
def clamp_max(node: Node, x: Any, high: float) -> Op:
    """x, but at most ``high``."""
    return clamp(node, x, None, high)


@lowers("leaky_relu.default")
def leaky_relu(node: Node, x: Any, slope: float) -> Op:
    """x where positive, slope * x elsewhere."""
    operand = node.op(x)
    negative = Mul(Minimum(operand, node.op(0.0), loc=node.loc), node.op(float(slope)), loc=node.loc)
    return Add(Relu(operand, loc=node.loc), negative, loc=node.loc)


@lowers("elu.default")
def elu(node: Node, x: Any, alpha: float, scale: float, input_scale: float) -> Op:
    """scale * x where positive, scale * alpha * (exp(input_scale * x) - 1) elsewhere."""
    operand = node.op(x)
    negative = _scaled(node, Minimum(operand, node.op(0.0), loc=node.loc), input_scale)
    bent = Sub(Exp(negative, loc=node.loc), node.op(1.0), loc=node.loc)
    positive = _scaled(node, Relu(operand, loc=node.loc), scale)
    return Add(positive, _scaled(node, bent, alpha * scale), loc=node.loc)


@lowers("where.self", "where.ScalarOther", "where.ScalarSelf")
def where(node: Node, condition: Any, x: Any, y: Any) -> Op:
    """x where a constant condition holds, y elsewhere: a sum of two masked values."""
    holds = node.array(condition, "condition of where()")
    return Add(_masked(node, x, holds), _masked(node, y, ~holds), loc=node.loc)


@lowers("masked_fill.Scalar", "masked_fill.Tensor")
def masked_fill(node: Node, x: Any, mask: Any, value: Any) -> Op:
    """``value`` where a constant mask holds, x elsewhere."""
    return where(node, mask, value, x)


def _scaled(node: Node, x: Any, factor: float) -> Op:
    return node.op(x) if factor == 1 else Mul(node.op(x), node.op(float(factor)), loc=node.loc)


def _masked(node: Node, x: Any, holds: Any) -> Op:
    if isinstance(x, Op):
        return Mul(x, node.const(holds.astype(np.float32)), loc=node.loc)
    value = x if isinstance(x, (int, float)) else node.array(x, "value")
    return node.const(np.where(holds, np.maximum(np.asarray(value, np.float32), MASKED), np.float32(0)))
