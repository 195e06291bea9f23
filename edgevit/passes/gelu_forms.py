"""`gelu-forms`: GELU written out in ops that a target has.

The largest error of each form against x * Phi(x) in float on [-8, 8], measured by ``tests/passes/test_gelu_forms.py``:

| form | ops | largest error | at x | is |
|---|---|---|---|---|
| ``sigmoid`` | 3 | 0.02034 | ±2.27 | x * sigmoid(1.702 x), Hendrycks and Gimpel 2016, section 2 |
| ``cubic`` | 6 | 0.0004735 | ±2.70 | x * sigmoid(x * (1.59577 + 0.0713548 x^2)), equal to ``tanh`` |
| ``tanh`` | 8 | 0.0004735 | ±2.70 | 0.5 x * (1 + tanh(x * (0.797885 + 0.0356774 x^2))), the same paper |
| ``relu6`` | 5 | 0.06871 | ±1.76 | x * relu6(1.702 x + 3) / 6, for targets that have no table look-up |

The argument of sigmoid and tanh is to be clipped by its 8-bit grid to where they still change; calibration sees to that
by choosing its range for the least error of the result.
"""

from __future__ import annotations

import fnmatch
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgevit.errors import UsageError
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Clip, Const, Gelu, Mul, Sigmoid, Tanh
from edgevit.passes.base import Context, Reject, RewritePass, Rule

FORMS = ("sigmoid", "cubic", "tanh", "relu6")
_LINEAR = math.sqrt(2 / math.pi)
_CUBIC = 0.044715 * _LINEAR


def expand(op: Gelu, form: str) -> Op:
    """One gelu in the given form."""
    x, loc = op.x, op.loc

    def constant(value: float) -> Const:
        return Const(np.array(value, np.float32), loc=loc)

    def mul(a: Op, b: Op) -> Op:
        return Mul(a, b, loc=loc)

    def polynomial(scale: float) -> Op:
        square = mul(x, x)
        return mul(x, Add(mul(square, constant(scale * _CUBIC)), constant(scale * _LINEAR), loc=loc))

    if form == "sigmoid":
        return mul(x, Sigmoid(mul(x, constant(1.702)), loc=loc))
    if form == "cubic":
        return mul(x, Sigmoid(polynomial(2.0), loc=loc))
    if form == "tanh":
        half = mul(x, constant(0.5))
        return mul(half, Add(Tanh(polynomial(1.0), loc=loc), constant(1.0), loc=loc))
    gate = Clip(Add(mul(x, constant(1.702)), constant(3.0), loc=loc), 0.0, 6.0, loc=loc)
    return mul(mul(x, gate), constant(1 / 6))


@dataclass(frozen=True)
class ExpandGelu(Rule):
    """gelu to the form chosen for its place."""

    form: str
    per_layer: tuple[tuple[str, str], ...]

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, Gelu):
            return None
        return expand(op, next((form for glob, form in self.per_layer if fnmatch.fnmatchcase(op.loc, glob)), self.form))


@dataclass(frozen=True)
class GeluForms(RewritePass):
    """Write gelu out. ``per_layer`` holds (glob on the place, form) pairs that win over ``form``."""

    NAME: ClassVar[str] = "gelu-forms"
    form: str = "sigmoid"
    per_layer: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for form in (self.form, *(form for _, form in self.per_layer)):
            if form not in FORMS:
                raise UsageError(f"no GELU form {form!r}", hint=f"one of {', '.join(FORMS)}")

    def rules(self) -> tuple[Rule, ...]:
        return (ExpandGelu(self.form, self.per_layer),)
