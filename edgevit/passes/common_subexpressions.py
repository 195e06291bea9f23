"""``common-subexpressions``: compute equal values once."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgevit.ir.graph import Form, Graph
from edgevit.ir.op import Op, same_attributes
from edgevit.ir.ops import Const, Input
from edgevit.passes.base import Pass, Rejection


@dataclass(frozen=True)
class CommonSubexpressions(Pass):
    """Ops of one class with equal operands, attributes and types become the first; constants compare by content."""

    NAME: ClassVar[str] = "common-subexpressions"
    NEEDS: ClassVar[tuple[Form, ...]] = tuple(Form)

    def run(self, graph: Graph) -> Graph:
        return _merge(graph)[0]

    def why(self, graph: Graph) -> tuple[Rejection, ...]:
        return _merge(graph)[1]


def _merge(graph: Graph) -> tuple[Graph, tuple[Rejection, ...]]:
    """The graph without repetitions, and the repetitions that differ in their type alone."""
    seen: dict[Hashable, list[Op]] = {}
    rejections: dict[Rejection, None] = {}
    merged = 0

    def transform(op: Op) -> Op:
        nonlocal merged
        if isinstance(op, Input):
            return op
        alike = seen.setdefault(_key(op), [])
        for other in alike:
            if not same_attributes(op, other):
                continue
            if other.type == op.type:
                merged += other is not op
                return other
            reason = f"the same as an earlier {op.NAME}, but of type {op.type} and not {other.type}"
            rejections[Rejection("CommonSubexpressions", op.NAME, op.loc, reason)] = None
        alike.append(op)
        return op

    result = graph.map(transform)
    return (result if merged else graph), tuple(rejections)


def _key(op: Op) -> Hashable:
    """Equal for ops that may be equal."""
    if isinstance(op, Const):
        content = hashlib.blake2b(np.ascontiguousarray(op.data).tobytes(), digest_size=16).digest()
        return op.NAME, op.data.dtype.str, op.data.shape, content
    return type(op), op.operands
