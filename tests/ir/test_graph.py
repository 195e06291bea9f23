from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from edgevit.errors import IRError
from edgevit.ir.graph import Form, Graph, linearize
from edgevit.ir.interp import run
from edgevit.ir.op import REGISTRY, Op, same_attributes
from edgevit.ir.ops import Add, Clip, Concat, Const, Input, Linear, Neg, Relu, Unary
from edgevit.ir.parse import parse_graph
from edgevit.ir.text import print_graph
from edgevit.ir.types import TensorType
from edgevit.ir.verify import verify
from edgevit.passes.base import sweep

DEPTH = 10_000
"""Far beyond Python's recursion limit."""


def vector(name: str = "x", size: int = 3) -> Input:
    return Input(name, type=TensorType((size,)))


def chain(depth: int) -> Graph:
    value: Op = vector()
    for _ in range(depth):
        value = Neg(value)
    return Graph.of("chain", [value])


def test_operands_come_before_users_in_a_deterministic_order() -> None:
    x, y = vector("x"), vector("y")
    left, right = Relu(x), Neg(y)
    total = Add(left, right)
    assert linearize([total]) == (x, left, y, right, total)
    assert linearize([right, total, right]) == (y, right, x, left, total)


def test_unused_inputs_stay_in_the_graph() -> None:
    x, y = vector("x"), vector("y")
    graph = Graph.of("g", [Relu(x)], inputs=[y, x])
    assert graph.inputs == (y, x)


def test_uses_users_and_parameters() -> None:
    x = vector()
    weight = Const(np.ones((2, 3), np.float32))
    y = Linear(x, weight)
    total = Add(y, y)
    graph = Graph.of("g", [total, y])
    assert dict(graph.uses) == {x: 1, weight: 1, y: 3, total: 1}
    assert dict(graph.users) == {x: (y,), weight: (y,), y: (total,), total: ()}
    assert graph.parameters == 6
    assert graph.with_form(Form.CALIBRATED).form is Form.CALIBRATED
    assert graph.form is Form.FLOAT


def test_map_shows_each_op_with_its_operands_already_replaced() -> None:
    x = vector()
    graph = Graph.of("g", [Neg(Relu(x))])
    seen: list[str] = []

    def twice(op: Op) -> Op:
        seen.append(f"{op.NAME}({', '.join(operand.NAME for operand in op.operands)})")
        return Add(op, op) if isinstance(op, Relu) else op

    mapped = graph.map(twice)
    assert seen == ["input()", "relu(input)", "neg(add)"]
    assert [op.NAME for op in mapped.ops] == ["input", "relu", "add", "neg"]
    assert graph.ops[-1].operands[0].NAME == "relu", "the operand was changed"
    verify(mapped)


def test_map_that_changes_nothing_keeps_the_ops() -> None:
    graph = chain(5)
    assert graph.map(lambda op: op).ops == graph.ops


def test_deep_graphs_need_no_recursion() -> None:
    graph = chain(DEPTH)
    assert len(graph.ops) == DEPTH + 1
    mapped = graph.map(lambda op: Relu(op.x) if isinstance(op, Neg) else op)
    assert sum(isinstance(op, Relu) for op in mapped.ops) == DEPTH
    verify(mapped)
    (value,) = run(graph, [np.ones((1, 3), np.float32)])
    assert np.array_equal(value, np.ones((1, 3)))
    assert len(parse_graph(print_graph(graph)).ops) == DEPTH + 1
    rebuilt, fired, _ = sweep(graph, ())
    assert (len(rebuilt.ops), fired) == (DEPTH + 1, 0)


def test_two_op_classes_of_one_name_are_refused() -> None:
    with pytest.raises(IRError, match=r"two op classes are named 'relu': Relu and .*Again"):

        @dataclass(frozen=True, eq=False)
        class Again(Unary):
            NAME = "relu"

    assert REGISTRY["relu"] is Relu


def test_ops_are_compared_by_identity_and_attributes_by_content() -> None:
    x = vector()
    assert Relu(x) != Relu(x)
    assert same_attributes(Clip(x, 0.0, 1.0), Clip(Relu(x), 0.0, 1.0))
    assert not same_attributes(Clip(x, 0.0, 1.0), Clip(x, 0.0, 2.0))
    assert not same_attributes(Relu(x), Neg(x))
    same, other = Const(np.arange(3)), Const(np.arange(3))
    assert same_attributes(same, other)
    assert not same_attributes(same, Const(np.arange(3, dtype=np.int32)))
    assert not same_attributes(same, Const(np.array([0, 1, 3])))


def test_operands_and_attributes_of_optional_and_repeated_fields() -> None:
    x, weight = vector(), Const(np.ones((2, 3), np.float32))
    plain = Linear(x, weight)
    assert plain.operands == (x, weight)
    assert plain.attributes == {"bias": None}
    joined = Concat((x, x), 0)
    assert joined.operands == (x, x)
    assert joined.attributes == {"axis": 0}


def test_map_operands_returns_the_op_itself_when_nothing_changed() -> None:
    x, y = vector("x"), vector("y")
    op = Concat((x, y), 0, loc="here")
    assert op.map_operands(lambda operand: operand) is op
    changed = op.map_operands(lambda operand: y)
    assert changed.xs == (y, y)
    assert (changed.type, changed.loc) == (op.type, "here")
    assert replace(op, loc="there").loc == "there"


def test_an_op_without_inference_says_so() -> None:
    with pytest.raises(IRError, match="Input cannot infer its type"):
        Input("x")
