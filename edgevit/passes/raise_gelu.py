"""``raise-gelu``: GELU written out, with erf or with tanh, becomes the op.

Such a formula is read as a polynomial in x and in the function's value F, so its algebraic variants (0.5 * x * (1 + F),
x * (0.5 + 0.5 * F), x * 0.5 + x * 0.5 * F ...) all look the same. Wherever the source rounds its constants to single
precision or to a few digits, they are accepted within ``tolerance``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Const, Div, Erf, Gelu, Mul, Neg, Pow, Sub, Tanh
from edgevit.passes.base import Context, Reject, RewritePass, Rule
from edgevit.passes.match import scalar

Polynomial = Mapping[tuple[int, int], float]
"""Coefficients by the exponents of x and of F."""

GELU: Polynomial = {(1, 0): 0.5, (1, 1): 0.5}
ERF_ARGUMENT: Polynomial = {(1, 0): 1 / math.sqrt(2)}
TANH_ARGUMENT: Polynomial = {(1, 0): math.sqrt(2 / math.pi), (3, 0): 0.044715 * math.sqrt(2 / math.pi)}
MAX_DEPTH = 6
MAX_DEGREE = 3


def polynomial(op: Op, x: Op, function: Op | None, depth: int = MAX_DEPTH) -> Polynomial | None:
    """``op`` as a polynomial in ``x`` and ``function``; None when it is something else, or deeper than ``depth``."""
    if op is x:
        return {(1, 0): 1.0}
    if op is function:
        return {(0, 1): 1.0}
    if isinstance(op, Const):
        number = scalar(op)
        return None if number is None else {(0, 0): number}
    if depth == 0 or not isinstance(op, (Add, Sub, Mul, Div, Neg, Pow)):
        return None
    parts = [polynomial(operand, x, function, depth - 1) for operand in op.operands]
    if any(part is None for part in parts):
        return None
    return _combine(op, [part for part in parts if part is not None])


def _combine(op: Op, parts: list[Polynomial]) -> Polynomial | None:
    if isinstance(op, Neg):
        return _scaled(parts[0], -1)
    left, right = parts
    if isinstance(op, Add):
        return _sum(left, right)
    if isinstance(op, Sub):
        return _sum(left, _scaled(right, -1))
    if isinstance(op, Mul):
        return _product(left, right)
    if right.keys() != {(0, 0)}:
        return None
    number = right[0, 0]
    if isinstance(op, Div):
        return _scaled(left, 1 / number) if number else None
    result: Polynomial | None = {(0, 0): 1.0}
    if number not in range(MAX_DEGREE + 1):
        return None
    for _ in range(int(number)):
        result = None if result is None else _product(result, left)
    return result


def _scaled(a: Polynomial, factor: float) -> Polynomial:
    return {key: value * factor for key, value in a.items()}


def _sum(a: Polynomial, b: Polynomial) -> Polynomial:
    return {key: a.get(key, 0.0) + b.get(key, 0.0) for key in dict.fromkeys([*a, *b])}


def _product(a: Polynomial, b: Polynomial) -> Polynomial | None:
    result: dict[tuple[int, int], float] = {}
    for (i, j), left in a.items():
        for (k, m), right in b.items():
            if i + j + k + m > MAX_DEGREE:
                return None
            result[i + k, j + m] = result.get((i + k, j + m), 0.0) + left * right
    return result


@dataclass(frozen=True)
class Formula(Rule):
    """x / 2 * (1 + F) with F = erf(x / sqrt(2)), or F = tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))."""

    tolerance: float

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, (Add, Mul, Div)):
            return None
        reasons: list[str] = []
        for function in _functions(op):
            form, argument = ("none", ERF_ARGUMENT) if isinstance(function, Erf) else ("tanh", TANH_ARGUMENT)
            for x in _leaves(function.x):
                whole = polynomial(op, x, function)
                inner = polynomial(function.x, x, None)
                if whole is None or inner is None or whole.keys() != GELU.keys() or x.shape != op.shape:
                    continue
                if not self._close(inner, argument):
                    reasons.append(f"the {function.NAME} of {_formula(inner)}, gelu has that of {_formula(argument)}")
                elif not self._close(whole, GELU):
                    reasons.append(f"{_formula(whole)}, gelu is {_formula(GELU)}")
                else:
                    return Gelu(x, form, loc=op.loc)
        return Reject(reasons[0]) if reasons else None

    def _close(self, a: Polynomial, b: Polynomial) -> bool:
        return a.keys() == b.keys() and all(abs(a[key] - b[key]) <= self.tolerance * abs(b[key]) for key in b)


def _functions(op: Op) -> Iterator[Erf | Tanh]:
    """The erf and tanh ops that ``op`` multiplies and adds up, nearest first."""
    level: list[Op] = [op]
    for _ in range(MAX_DEPTH):
        level = list(dict.fromkeys(operand for each in level for operand in each.operands))
        for each in level:
            if isinstance(each, (Erf, Tanh)):
                yield each
        level = [each for each in level if isinstance(each, (Add, Sub, Mul, Div, Neg))]


def _leaves(op: Op) -> list[Op]:
    """What may be x in the argument ``op``: itself and what it multiplies and adds up, nearest first."""
    found: dict[Op, None] = {op: None}
    level: list[Op] = [op]
    for _ in range(MAX_DEPTH):
        level = [
            operand
            for each in level
            if isinstance(each, (Add, Sub, Mul, Div, Neg, Pow))
            for operand in each.operands
            if not isinstance(operand, Const)
        ]
        found.update(dict.fromkeys(level))
        level = list(dict.fromkeys(level))
    return list(found)


def _formula(a: Polynomial) -> str:
    names = {(0, 0): "1", (1, 0): "x", (2, 0): "x^2", (3, 0): "x^3", (0, 1): "F", (1, 1): "x F"}
    return " + ".join(f"{value:.6g} {names.get(key, key)}" for key, value in sorted(a.items()))


@dataclass(frozen=True)
class RaiseGelu(RewritePass):
    """``tolerance`` is the relative error that a constant of the formula may have."""

    NAME: ClassVar[str] = "raise-gelu"
    tolerance: float = 2e-5

    def rules(self) -> tuple[Rule, ...]:
        return (Formula(self.tolerance),)
