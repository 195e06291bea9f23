"""A graph: ops in execution order, the form that it is in, its inputs and outputs."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from edgevit.ir.op import Op, count_uses
from edgevit.ir.ops.structure import Const, Input


class Form(enum.Enum):
    """How far a graph has come on its way to a target."""

    FLOAT = "float"
    CALIBRATED = "calibrated"
    QUANTIZED = "quantized"
    INTEGER = "integer"
    TARGET = "target"


@dataclass(frozen=True, eq=False)
class Graph:
    """Ops in execution order (operands before users), inputs among them. Immutable: passes build new graphs."""

    name: str
    ops: tuple[Op, ...]
    outputs: tuple[Op, ...]
    form: Form = Form.FLOAT

    @staticmethod
    def of(name: str, outputs: Iterable[Op], *, inputs: Iterable[Input] = (), form: Form = Form.FLOAT) -> Graph:
        """The graph of all that the outputs need, inputs first. Unused inputs are kept: they are the interface."""
        outputs = tuple(outputs)
        return Graph(name, linearize([*inputs, *outputs]), outputs, form)

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        return tuple(op for op in self.ops if isinstance(op, Input))

    @cached_property
    def uses(self) -> Mapping[Op, int]:
        """How often each op is an operand or an output."""
        return count_uses(self.ops, self.outputs)

    @cached_property
    def users(self) -> Mapping[Op, tuple[Op, ...]]:
        """The ops that have each op as an operand, in execution order."""
        users: dict[Op, list[Op]] = {op: [] for op in self.ops}
        for op in self.ops:
            for operand in dict.fromkeys(op.operands):
                users[operand].append(op)
        return {op: tuple(found) for op, found in users.items()}

    @property
    def parameters(self) -> int:
        """Number of elements of all constants."""
        return sum(op.type.size for op in self.ops if isinstance(op, Const))

    def with_form(self, form: Form) -> Graph:
        return replace(self, form=form)

    def map(self, transform: Callable[[Op], Op]) -> Graph:
        """Rebuild in execution order. ``transform`` sees each op with its operands already replaced; the op that it
        returns takes its place, together with whatever new ops that one needs.
        """
        new: dict[Op, Op] = {}
        order: list[Op] = []
        placed: set[Op] = set()
        for op in self.ops:
            result = transform(op.map_operands(new.__getitem__))
            new[op] = result
            _place(result, order, placed)
        return replace(self, ops=tuple(order), outputs=tuple(new[op] for op in self.outputs))


def linearize(roots: Iterable[Op]) -> tuple[Op, ...]:
    """All ops that the roots need, operands before users, in a deterministic order."""
    order: list[Op] = []
    placed: set[Op] = set()
    for root in roots:
        _place(root, order, placed)
    return tuple(order)


def _place(root: Op, order: list[Op], placed: set[Op]) -> None:
    """Append ``root`` and the operands that are not placed yet, depth first and without recursion."""
    stack: list[tuple[Op, bool]] = [(root, False)]
    while stack:
        op, expanded = stack.pop()
        if op in placed:
            continue
        if expanded:
            placed.add(op)
            order.append(op)
            continue
        stack.append((op, True))
        stack.extend((operand, False) for operand in reversed(op.operands) if operand not in placed)
