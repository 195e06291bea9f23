"""The float-leak check: that nothing between the quantized image and the logits is a float.

A graph without leaks has, in every place, an integer tensor with dyadic scales and an op of the integer dialect or one
that only moves elements; attributes and constants are integers. What such a graph computes is therefore defined on
integers alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgevit.integer.ops import INTEGER_OPS
from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import LAYOUT_OPS, Const, Input, Pad
from edgevit.ir.types import DType, Dyadic


@dataclass(frozen=True)
class Leak:
    """A float in the integer form, and its place."""

    loc: str
    op: str
    what: str

    def __str__(self) -> str:
        return f"{self.loc or '(no module)'}: {self.op}: {self.what}"


def find_leaks(graph: Graph) -> list[Leak]:
    """Every float tensor, float scale, float attribute and op without integer meaning, in execution order."""
    return [Leak(op.loc, op.NAME, what) for op in graph.ops for what in _leaks(op)]


def _leaks(op: Op) -> Iterator[str]:
    if op.type.dtype is DType.F32:
        yield "a float tensor"
    if op.type.quant is not None and not all(isinstance(scale, Dyadic) for scale in op.type.quant.scale):
        yield "a float scale"
    if not isinstance(op, (Const, Input, *LAYOUT_OPS, *INTEGER_OPS)):
        yield "no op of the integer form"
    for name, value in op.attributes.items():
        # Zero is a grid point of every grid, so padding with it is padding with the zero point.
        if _has_float(value) and not (isinstance(op, Pad) and name == "value" and value == 0):
            yield f"a float in {name}"


def _has_float(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind not in "iub"
    if isinstance(value, tuple):
        return any(map(_has_float, value))
    return isinstance(value, (float, np.floating))
