"""What a pass is: a frozen dataclass of options with a pure ``run(graph) -> graph``; and what a rewrite rule is.

A rule looks at one op. It answers with the op that is to take its place, with None when the op is none of its business,
or with a Reject that says why it did not fire although it might have; ``edgevit inspect --why`` shows those.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar

from edgevit.errors import PassError
from edgevit.ir.graph import Form, Graph
from edgevit.ir.op import Op

MAX_SWEEPS = 64


@dataclass(frozen=True)
class Reject:
    """Why a rule that looked at an op left it alone."""

    reason: str


@dataclass(frozen=True)
class Rejection:
    """A Reject with its place."""

    rule: str
    op: str
    loc: str
    reason: str


@dataclass(eq=False)
class Context:
    """What a rule may ask about the graph around an op, and where its rejections are noted."""

    graph: Graph
    uses: dict[Op, int] = field(default_factory=dict)

    def single_use(self, op: Op) -> bool:
        """Whether the op has at most one user in the graph before the sweep (new ops count as unused)."""
        return self.uses.get(op, 0) <= 1


class Rule(ABC):
    """One rewrite: ``apply`` sees an op whose operands are already rewritten."""

    @abstractmethod
    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        """The replacement, a reason for leaving the op alone, or None."""


@dataclass(frozen=True)
class Pass(ABC):
    """Base of the passes. ``NAME`` is what a pipeline spec and ``inspect --after`` call it."""

    NAME: ClassVar[str] = ""
    NEEDS: ClassVar[tuple[Form, ...]] = (Form.FLOAT,)
    GIVES: ClassVar[Form | None] = None
    """The form of the result; None when it is the operand's."""

    @abstractmethod
    def run(self, graph: Graph) -> Graph:
        """The rewritten graph; the operand is not touched."""

    def why(self, graph: Graph) -> tuple[Rejection, ...]:
        """What this pass looked at and left alone in ``graph``, and for which reason."""
        return ()

    def spec(self) -> str:
        """The pass with its options that are not the default, as a pipeline spec writes it: ``name{option=value}``."""
        changed = [f"{f.name}={getattr(self, f.name)}" for f in fields(self) if getattr(self, f.name) != f.default]
        return f"{self.NAME}{{{','.join(changed)}}}" if changed else self.NAME


@dataclass(frozen=True)
class RewritePass(Pass):
    """A pass that applies rules in execution order until none fires any more."""

    @abstractmethod
    def rules(self) -> tuple[Rule, ...]:
        """The rules, in the order in which they are tried on each op."""

    def run(self, graph: Graph) -> Graph:
        for _ in range(MAX_SWEEPS):
            rewritten, fired, _ = sweep(graph, self.rules())
            if not fired:
                return graph
            graph = rewritten
        what = f"the rules still fire after {MAX_SWEEPS} sweeps"
        raise PassError(what, where=self.NAME, hint="two rules undo each other")

    def why(self, graph: Graph) -> tuple[Rejection, ...]:
        return sweep(self.run(graph), self.rules())[2]


def sweep(graph: Graph, rules: Iterable[Rule]) -> tuple[Graph, int, tuple[Rejection, ...]]:
    """One pass over the graph: the new graph without dead ops, how many rules fired, and what was rejected."""
    rules = tuple(rules)
    context = Context(graph, dict(graph.uses))
    fired = 0
    rejections: dict[Rejection, None] = {}
    old_of: Mapping[Op, int] = graph.uses

    def transform(op: Op) -> Op:
        nonlocal fired
        for rule in rules:
            result = rule.apply(op, context)
            if isinstance(result, Reject):
                rejections[Rejection(type(rule).__name__, op.NAME, op.loc, result.reason)] = None
            elif result is not None and result is not op:
                fired += 1
                op = result
        return op

    new: dict[Op, Op] = {}
    for old in graph.ops:
        result = transform(old.map_operands(new.__getitem__))
        new[old] = result
        context.uses[result] = max(context.uses.get(result, 0), old_of[old])
    outputs = tuple(new[op] for op in graph.outputs)
    inputs = tuple(new[op] for op in graph.inputs)
    rebuilt = Graph.of(graph.name, outputs, inputs=inputs, form=graph.form)  # type: ignore[arg-type]
    return rebuilt, fired, tuple(rejections)
