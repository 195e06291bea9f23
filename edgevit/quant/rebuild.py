"""A graph built anew op by op, with the original of each op at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgevit.ir.graph import Graph
from edgevit.ir.op import Op


def rebuild(graph: Graph, transform: Callable[[Op, Op], Op]) -> Graph:
    """Rebuild in execution order: ``transform(old, op)`` sees each op, and the same with operands already replaced.

    Relative order is kept, and ops that nothing needs any more are left out, inputs excepted.
    """
    originals = iter(graph.ops)
    return without_dead(graph.map(lambda op: transform(next(originals), op)))


def without_dead(graph: Graph) -> Graph:
    """``graph`` without the ops that no output needs, inputs excepted."""
    needed: set[Op] = {*graph.outputs, *graph.inputs}
    kept = []
    for op in reversed(graph.ops):
        if op in needed:
            kept.append(op)
            needed.update(op.operands)
    return replace(graph, ops=tuple(reversed(kept)))
