"""`norm-forms`: normalizations written out in ops that a target has.

With x centred, layer_norm is rms_norm. In these forms eps is dropped: it changes the result by a relative eps / (2 *
variance), which the verification against float bounds in the report. Forms:

- ``mean``: mean, sub, squared difference, mean, rsqrt, mul. Most precise on even channels, poor with outlier channels.
- ``rms`` (centred x only): mul, mean, rsqrt, mul.
- ``l2``: x / ||x||_2 * sqrt(C), after a linear layer that centres x where it is not centred yet. Robust against
  outliers.
"""

from __future__ import annotations

import fnmatch
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgevit.errors import UsageError
from edgevit.ir.op import Op
from edgevit.ir.ops import Const, L2Normalize, LayerNorm, Linear, Mul, ReduceMean, RmsNorm, Rsqrt, Sub
from edgevit.passes.base import Context, Reject, RewritePass, Rule

FORMS = ("mean", "rms", "l2")


@dataclass(frozen=True)
class ExpandNorm(Rule):
    """layer_norm and rms_norm without affine part to the form chosen for their place."""

    form: str
    per_layer: tuple[tuple[str, str], ...]

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, (LayerNorm, RmsNorm)):
            return None
        if op.gamma is not None:
            return Reject("still has gamma and beta: run `norm-affine` first")
        return expand(op, next((form for glob, form in self.per_layer if fnmatch.fnmatchcase(op.loc, glob)), self.form))


def expand(op: LayerNorm | RmsNorm, form: str) -> Op:
    """One normalization without affine part in the given form; ``rms`` of an x that is not centred becomes ``mean``,
    and the other way round.
    """
    x, loc, last = op.x, op.loc, op.type.rank - 1
    centred = isinstance(op, RmsNorm)
    if form == "l2":
        if not centred:
            x = Linear(x, Const(centring_matrix(op.shape[-1])), loc=loc)
        return Mul(L2Normalize(x, loc=loc), Const(np.array(math.sqrt(op.shape[-1]), np.float32), loc=loc), loc=loc)
    deviation = x if centred else Sub(x, ReduceMean(x, (last,), keepdims=True, loc=loc), loc=loc)
    variance = ReduceMean(Mul(deviation, deviation, loc=loc), (last,), keepdims=True, loc=loc)
    return Mul(deviation, Rsqrt(variance, loc=loc), loc=loc)


def centring_matrix(channels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """I - 1/C, the projection that takes the mean away: (C, C), symmetric."""
    return (np.eye(channels) - 1 / channels).astype(np.float32)


@dataclass(frozen=True)
class NormForms(RewritePass):
    """Write layer_norm and rms_norm out. ``per_layer`` holds (glob on the place, form) pairs that win over ``form``."""

    NAME: ClassVar[str] = "norm-forms"
    form: str = "l2"
    per_layer: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for form in (self.form, *(form for _, form in self.per_layer)):
            if form not in FORMS:
                raise UsageError(f"no normalization form {form!r}", hint=f"one of {', '.join(FORMS)}")

    def rules(self) -> tuple[Rule, ...]:
        return (ExpandNorm(self.form, self.per_layer),)
