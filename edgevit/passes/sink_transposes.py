"""``sink-transposes``: transposes move towards the outputs until they meet their inverse.

The frontend puts a pair of transposes around each op that has channels last in the IR and first in the source. An op
that does not care about the order of its axes lets the second of a pair pass, and it cancels against the first of the
next.

A region is a set of such ops that share transposed values: all of them are done in the other order of axes, or none.
A region is moved only when that leaves fewer transposes once neighbouring views are joined, which is done at once; so
their number falls with every step and the pass ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from edgevit.errors import PassError
from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Input, Reshape, Transpose
from edgevit.ir.types import TensorType
from edgevit.passes.axis_order import Perm, done_before, order_after, order_of
from edgevit.passes.base import MAX_SWEEPS, Pass, Reject, Rejection, sweep
from edgevit.passes.canonicalize_views import ShortestChain
from edgevit.passes.views import Layout, inverse, transpose


@dataclass(eq=False)
class Region:
    """Ops that can be done before the transposes ``sources``; ``orders`` holds the permutation after each of both."""

    sources: dict[Op, None] = field(default_factory=dict)
    ops: dict[Op, Perm] = field(default_factory=dict)
    orders: dict[Op, Perm] = field(default_factory=dict)

    def absorb(self, other: Region) -> None:
        self.sources.update(other.sources)
        self.ops.update(other.ops)
        self.orders.update(other.orders)


@dataclass(frozen=True)
class SinkTransposes(Pass):
    """Elementwise ops, reductions, pad, slice and concat, and ops along the last axis where that keeps its place."""

    NAME: ClassVar[str] = "sink-transposes"

    def run(self, graph: Graph) -> Graph:
        graph = _join(graph)
        while True:
            for region in _regions(graph)[0]:
                removed, added = _change(region, graph)
                if removed > added:
                    graph = _join(_moved(region, graph))
                    break
            else:
                return graph

    def why(self, graph: Graph) -> tuple[Rejection, ...]:
        graph = self.run(graph)
        regions, rejections = _regions(graph)
        for region in regions:
            removed, added = _change(region, graph)
            first = next(iter(region.ops))
            others = f" together with {len(region.ops) - 1} more" if len(region.ops) > 1 else ""
            reason = f"done before its transpose{others}, it would save {removed} transposes and cost {added}"
            rejections.append(Rejection("SinkTransposes", first.NAME, first.loc, reason))
        return tuple(rejections)


def _join(graph: Graph) -> Graph:
    """The graph with the shortest chains of views. A transpose that is none stays one, for it may still cancel."""
    for _ in range(MAX_SWEEPS):
        joined, fired, _ = sweep(graph, (ShortestChain(length=2),))
        if not fired:
            return graph
        graph = joined
    raise PassError(f"views still get shorter after {MAX_SWEEPS} sweeps", where=SinkTransposes.NAME)


def _regions(graph: Graph) -> tuple[list[Region], list[Rejection]]:
    """The regions of at least one op, and why ops that read a transposed value are in none."""
    orders: dict[Op, Perm] = {}
    owner: dict[Op, Region] = {}
    rejections: list[Rejection] = []
    for op in graph.ops:
        if isinstance(op, Transpose) and op.perm != tuple(sorted(op.perm)):
            orders[op] = op.perm
            owner[op] = Region(sources={op: None}, orders={op: op.perm})
            continue
        perm = order_of(op, orders)
        if perm is None:
            continue
        if isinstance(perm, Reject):
            rejections.append(Rejection("SinkTransposes", op.NAME, op.loc, perm.reason))
            continue
        after = order_after(op, perm)
        region = Region(ops={op: perm}, orders={op: after})
        for operand in dict.fromkeys(x for x in op.operands if x in orders):
            region.absorb(owner[operand])
        for member in region.orders:
            owner[member] = region
        if after != tuple(sorted(after)):
            orders[op] = after
    found = {id(region): region for region in owner.values() if region.ops}
    return list(found.values()), rejections


def _change(region: Region, graph: Graph) -> tuple[int, int]:
    """How many transposes go, and how many come, when the region is moved."""
    outputs = set(graph.outputs)
    removed = added = 0
    for op, order in region.orders.items():
        outside = [user for user in graph.users[op] if user not in region.ops]
        savings = [_joined(op, order, user, graph) for user in outside]
        removed += sum(max(saving, 0) for saving in savings)
        needed = op in outputs or any(saving < (len(savings) > 1) for saving in savings)
        if op in region.sources:
            removed += not needed
        else:
            added += needed and order != tuple(sorted(order))
    return removed, added


def _joined(op: Op, order: Perm, user: Op, graph: Graph) -> int:
    """How many transposes the views from ``user`` on have less when that of ``op`` by ``order`` joins them.

    Negative when they cannot take it in.
    """
    shape = tuple(op.shape[axis] for axis in inverse(order))
    layout = Layout.of(shape).then(Transpose(Input("", type=TensorType(shape)), order))
    transposes, best = 0, -1
    while isinstance(user, (Reshape, Transpose)) and layout is not None:
        layout = layout.then(user)
        transposes += isinstance(user, Transpose)
        if layout is not None:
            best = max(best, transposes - (not layout.is_reshape))
        if len(graph.users[user]) != 1:
            break
        (user,) = graph.users[user]
    return best


def _moved(region: Region, graph: Graph) -> Graph:
    """The graph with the ops of the region done before its transposes."""
    new: dict[Op, Op] = {}
    before: dict[Op, Op] = {}

    def source(op: Op) -> Op:
        return before.get(op, new[op])

    for op in graph.ops:
        if op in region.ops:
            before[op], left = done_before(op, region.ops[op], source)
            new[op] = transpose(before[op], left, op.loc)
        elif isinstance(op, Transpose) and op.x in region.orders:
            order = region.orders[op.x]
            new[op] = transpose(before[op.x], tuple(order[axis] for axis in op.perm), op.loc)
        else:
            new[op] = op.map_operands(new.__getitem__)
        if op in region.sources:
            (operand,) = op.operands
            before[op] = new[operand]
    outputs, inputs = ([new[op] for op in ops] for ops in (graph.outputs, graph.inputs))
    return Graph.of(graph.name, outputs, inputs=inputs, form=graph.form)  # type: ignore[arg-type]
