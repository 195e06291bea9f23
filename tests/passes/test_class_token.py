from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Concat, Const, Input
from edgevit.ir.types import DType, TensorType
from edgevit.passes.class_token import ClassToken
from tests.passes.helpers import SEARCH, check_pass, expect, graph_of, names, reasons

PASS = ClassToken()


def test_class_token_as_text() -> None:
    graph = graph_of("""
        %0 = const(data=[1.0, 2.0]) : f32[1,1,2] loc "cls_token"
        %1 = input(name="x") : f32[1,3,2]
        %2 = concat(xs=[%0, %1], axis=1) : f32[1,4,2] loc "embed"
        return %2
    """)
    expect(
        check_pass(PASS, graph, tolerance=0),
        """
        %0 = input(name="x") : f32[1,3,2]
        %1 = pad(x=%0, low=[0, 1, 0], high=[0, 0, 0], mode="constant", value=0.0) : f32[1,4,2] loc "embed"
        %2 = const(data=[1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]) : f32[1,4,2] loc "embed"
        %3 = add(lhs=%1, rhs=%2) : f32[1,4,2] loc "embed"
        return %3
        """,
    )


@SEARCH
@given(st.integers(0, 2), st.lists(st.integers(1, 3), max_size=3), st.lists(st.integers(1, 3), max_size=3))
def test_constants_on_both_sides_of_any_axis(axis: int, before: list[int], after: list[int]) -> None:
    rng = np.random.default_rng(0)
    x = Input("x", type=TensorType((2, 3, 4)))

    def tokens(count: int) -> Op:
        shape = [2, 3, 4]
        shape[axis] = count
        return Const(rng.standard_normal(shape).astype(np.float32))

    graph = Graph.of("g", [Concat((*map(tokens, before), x, *map(tokens, after)), axis)])
    assert names(check_pass(PASS, graph, tolerance=0)) == (["pad", "add"] if before or after else ["concat"])


def test_two_computed_operands_are_left_alone() -> None:
    graph = graph_of("""
        %0 = const(data=[1.0]) : f32[1,1]
        %1 = input(name="x") : f32[1,3]
        %2 = concat(xs=[%0, %1, %1], axis=1) : f32[1,7]
        %3 = concat(xs=[%1, %1], axis=1) : f32[1,6]
        return %2, %3
    """)
    assert names(check_pass(PASS, graph)) == ["concat", "concat"]
    assert reasons(PASS, graph) == ["needs exactly one computed operand, got 2"]


def test_integers_are_left_alone() -> None:
    x = Input("x", type=TensorType((3,), DType.I64))
    graph = Graph.of("g", [Concat((Const(np.zeros(1, np.int64)), x), 0)])
    assert names(PASS.run(graph)) == ["concat"]
    assert reasons(PASS, graph) == ["needs float elements, got i64"]
