"""Ops that treat each element on its own; binary ones broadcast as numpy does."""

from __future__ import annotations

from dataclasses import dataclass

from edgevit.ir.op import Op
from edgevit.ir.types import TensorType


def broadcast_shapes(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...] | None:
    """The common shape of two shapes under numpy's rules, or None."""
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    if any(n != m and 1 not in (n, m) for n, m in zip(a, b, strict=True)):
        return None
    return tuple(m if n == 1 else n for n, m in zip(a, b, strict=True))


@dataclass(frozen=True, eq=False)
class Binary(Op):
    """Base of the binary ops."""

    lhs: Op
    rhs: Op

    def infer(self) -> TensorType:
        shape = broadcast_shapes(self.lhs.shape, self.rhs.shape)
        if shape is None:
            raise self.fail(f"{list(self.lhs.shape)} and {list(self.rhs.shape)} do not broadcast")
        if self.lhs.type.dtype is not self.rhs.type.dtype:
            raise self.fail(f"operands are {self.lhs.type.dtype.value} and {self.rhs.type.dtype.value}")
        return TensorType(shape, self.lhs.type.dtype)


@dataclass(frozen=True, eq=False)
class Unary(Op):
    """Base of the unary ops."""

    x: Op

    def infer(self) -> TensorType:
        return TensorType(self.x.shape, self.x.type.dtype)


class Add(Binary):
    """lhs + rhs."""

    NAME = "add"


class Sub(Binary):
    """lhs - rhs."""

    NAME = "sub"


class Mul(Binary):
    """lhs * rhs."""

    NAME = "mul"


class Div(Binary):
    """lhs / rhs."""

    NAME = "div"


class Maximum(Binary):
    """The larger of lhs and rhs."""

    NAME = "maximum"


class Minimum(Binary):
    """The smaller of lhs and rhs."""

    NAME = "minimum"


class Pow(Binary):
    """lhs ** rhs."""

    NAME = "pow"


class Exp(Unary):
    """e ** x."""

    NAME = "exp"


class Log(Unary):
    """The natural logarithm."""

    NAME = "log"


class Sqrt(Unary):
    """The square root."""

    NAME = "sqrt"


class Rsqrt(Unary):
    """1 / sqrt(x)."""

    NAME = "rsqrt"


class Abs(Unary):
    """The absolute value."""

    NAME = "abs"


class Neg(Unary):
    """-x."""

    NAME = "neg"


class Sign(Unary):
    """-1, 0 or 1."""

    NAME = "sign"


class Erf(Unary):
    """The Gauss error function."""

    NAME = "erf"


class Sin(Unary):
    """The sine."""

    NAME = "sin"


class Cos(Unary):
    """The cosine."""

    NAME = "cos"


class Sigmoid(Unary):
    """1 / (1 + exp(-x))."""

    NAME = "sigmoid"


class Tanh(Unary):
    """The hyperbolic tangent."""

    NAME = "tanh"


class Relu(Unary):
    """max(x, 0)."""

    NAME = "relu"


class Silu(Unary):
    """x * sigmoid(x), also called swish."""

    NAME = "silu"


class HardSigmoid(Unary):
    """clip(x + 3, 0, 6) / 6."""

    NAME = "hard_sigmoid"


class HardSwish(Unary):
    """x * clip(x + 3, 0, 6) / 6."""

    NAME = "hard_swish"


@dataclass(frozen=True, eq=False)
class Gelu(Unary):
    """x * Phi(x), Phi the normal distribution function; ``approximate`` is ``none`` (erf) or ``tanh`` (Hendrycks and
    Gimpel 2016).
    """

    NAME = "gelu"
    approximate: str = "none"


@dataclass(frozen=True, eq=False)
class Clip(Unary):
    """x limited to [lo, hi]."""

    NAME = "clip"
    lo: float
    hi: float
