"""``dead-code``: drop every op that no output needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgevit.ir.graph import Form, Graph
from edgevit.passes.base import Pass, Rejection


@dataclass(frozen=True)
class DeadCode(Pass):
    """Inputs stay even when nothing uses them: they are the graph's interface."""

    NAME: ClassVar[str] = "dead-code"
    NEEDS: ClassVar[tuple[Form, ...]] = tuple(Form)

    def run(self, graph: Graph) -> Graph:
        live = Graph.of(graph.name, graph.outputs, inputs=graph.inputs, form=graph.form)
        return graph if len(live.ops) == len(graph.ops) else live

    def why(self, graph: Graph) -> tuple[Rejection, ...]:
        reason = "nothing uses this input; it stays because it is part of the interface"
        unused = [op for op in graph.inputs if not graph.uses[op]]
        return tuple(Rejection("DeadCode", op.NAME, op.loc or op.name, reason) for op in unused)
