"""Ranges chosen for the least error behind the nonlinearity that follows, not for the least error of the value itself.

A softmax does not care about differences between its small operands, nor a GELU about anything far below zero: their
operands can be clipped much harder than their own mean squared error would say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgevit.ir.graph import Graph
from edgevit.ir.interp import evaluate_op
from edgevit.ir.op import Op
from edgevit.ir.ops import (
    Add,
    Clip,
    Const,
    Exp,
    Gelu,
    HardSigmoid,
    HardSwish,
    Maximum,
    Minimum,
    Mul,
    Neg,
    Relu,
    Sigmoid,
    Silu,
    Softmax,
    Sub,
    Tanh,
)
from edgevit.quant.arrays import Numbers
from edgevit.quant.grids import GridSpec, fake_quantize, range_grid

NONLINEAR = (Softmax, Gelu, Sigmoid, Tanh, Silu, Relu, Exp, HardSigmoid, HardSwish, Clip, Maximum, Minimum)
FOLLOWED = (*NONLINEAR, Add, Sub, Mul, Neg)
MAX_OPS = 12
MAX_ELEMENTS = 1 << 17
FRACTIONS = np.linspace(1.0, 0.25, 16)
_ROUNDS = 2


@dataclass(frozen=True, eq=False)
class Cone:
    """The elementwise ops (and softmax) that depend on ``source`` alone, and those whose values leave the cone."""

    source: Op
    members: tuple[Op, ...]
    ends: tuple[Op, ...]

    def evaluate(self, array: Numbers) -> list[Numbers]:
        """The values of the ends when ``source`` has the value ``array``."""
        values: dict[Op, Numbers] = {self.source: array}
        for op in self.members:
            values[op] = evaluate_op(op, [o.data if isinstance(o, Const) else values[o] for o in op.operands])
        return [values[op] for op in self.ends]


def find_cone(graph: Graph, source: Op) -> Cone | None:
    """The cone of ``source`` if all its users lie within and there is a nonlinearity among them; else None."""
    inside: dict[Op, None] = {source: None}
    waiting = list(graph.users[source])
    while waiting:
        op = waiting.pop(0)
        ready = all(operand in inside or isinstance(operand, Const) for operand in op.operands)
        if op in inside or not isinstance(op, FOLLOWED) or not ready:
            continue
        if len(inside) > MAX_OPS:
            return None
        inside[op] = None
        waiting += graph.users[op]
    leaving = [op for op in inside if op in graph.outputs or any(user not in inside for user in graph.users[op])]
    members = tuple(op for op in graph.ops if op in inside and op is not source)
    if source in leaving or not any(isinstance(op, NONLINEAR) for op in members):
        return None
    return Cone(source, members, tuple(op for op in members if op in leaving))


def match_range(cone: Cone, array: Numbers, lo: float, hi: float, spec: GridSpec) -> tuple[float, float]:
    """The range within [lo, hi] whose grid gives the least error of the cone's ends, relative to their power.

    ``array`` has a leading sample axis; some of its samples are used. Searched along each bound in turn, never worse
    than [lo, hi].
    """
    if array.ndim == cone.source.type.rank:
        return lo, hi
    count = max(1, MAX_ELEMENTS // max(1, cone.source.type.size))
    sample = array[:: -(-len(array) // count)]
    reference = [end.astype(np.float64) for end in cone.evaluate(sample)]
    power = [float(np.square(end).mean()) or 1.0 for end in reference]

    def error(low: float, high: float) -> float:
        ends = cone.evaluate(fake_quantize(sample, range_grid(lo * low, hi * high, spec), spec))
        return sum(
            float(np.square(end - exact).mean()) / p for end, exact, p in zip(ends, reference, power, strict=True)
        )

    if spec.symmetric:
        both = _best([error(f, f) for f in FRACTIONS])
        return lo * both, hi * both
    low = high = 1.0
    for _ in range(_ROUNDS):
        if lo < 0:
            low = _best([error(f, high) for f in FRACTIONS])
        if hi > 0:
            high = _best([error(low, f) for f in FRACTIONS])
    return lo * low, hi * high


def _best(errors: list[float]) -> float:
    values: NDArray[np.float64] = np.array(errors)
    return float(FRACTIONS[int(np.argmin(values))])
