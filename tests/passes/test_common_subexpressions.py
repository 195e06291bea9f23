from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgevit.ir.graph import Form, Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Const, Input, Maximum, Mul, Relu
from edgevit.ir.types import Quant, TensorType
from edgevit.passes.common_subexpressions import CommonSubexpressions
from tests.passes.helpers import SEARCH, check_pass, expect, graph_of, names, reasons

PASS = CommonSubexpressions()


def test_equal_values_are_computed_once() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,2]
        %1 = const(data=[1.0, 2.0]) : f32[2] loc "first"
        %2 = const(data=[1.0, 2.0]) : f32[2] loc "second"
        %3 = add(lhs=%0, rhs=%1) : f32[1,2]
        %4 = add(lhs=%0, rhs=%2) : f32[1,2]
        %5 = gelu(x=%3, approximate="none") : f32[1,2]
        %6 = gelu(x=%4, approximate="none") : f32[1,2]
        %7 = gelu(x=%4, approximate="tanh") : f32[1,2]
        %8 = mul(lhs=%5, rhs=%6) : f32[1,2]
        return %8, %7
    """)
    expect(
        check_pass(PASS, graph, tolerance=0),
        """
        %0 = input(name="x") : f32[1,2]
        %1 = const(data=[1.0, 2.0]) : f32[2] loc "first"
        %2 = add(lhs=%0, rhs=%1) : f32[1,2]
        %3 = gelu(x=%2, approximate="none") : f32[1,2]
        %4 = gelu(x=%2, approximate="tanh") : f32[1,2]
        %5 = mul(lhs=%3, rhs=%3) : f32[1,2]
        return %5, %4
        """,
    )


def test_constants_of_equal_bytes_but_another_type_differ() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[2,2]
        %1 = const(data=[1.0, 2.0]) : f32[2]
        %2 = const(data=[1.0, 2.0]) : f32[2,1]
        %3 = add(lhs=%0, rhs=%1) : f32[2,2]
        %4 = add(lhs=%3, rhs=%2) : f32[2,2]
        return %4
    """)
    assert PASS.run(graph) is graph


def test_inputs_are_never_merged() -> None:
    a, b = (Input(name, type=TensorType((1, 2))) for name in ("a", "b"))
    graph = Graph.of("g", [Add(a, b)], inputs=[a, b])
    assert PASS.run(graph) is graph


def test_why_equal_integers_on_two_grids_stay_apart() -> None:
    x = Input("x", type=TensorType((1, 2), range=(0.0, 1.0)))
    low, high = (Relu(x, type=TensorType((1, 2), range=(0.0, top))) for top in (1.0, 2.0))
    graph = Graph.of("g", [low, high], inputs=[x], form=Form.CALIBRATED)
    assert PASS.run(graph) is graph
    (reason,) = reasons(PASS, graph)
    assert reason.startswith("the same as an earlier relu, but of type")
    data = np.array([1, 2], np.int8)
    grids = [Const(data, type=TensorType((2,), TYPE, Quant.per_tensor(scale))) for scale in (0.5, 0.25, 0.5)]
    graph = Graph.of("g", grids, form=Form.QUANTIZED)
    assert len(PASS.run(graph).ops) == 2


TYPE = Const(np.zeros(1, np.int8)).type.dtype


@SEARCH
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=30))
def test_random_graphs_keep_their_meaning_and_have_no_repetition_left(steps: list[tuple[int, int, int]]) -> None:
    x = Input("x", type=TensorType((1, 3)))
    values: list[Op] = [x]
    for kind, left, right in steps:
        a, b = values[left % len(values)], values[right % len(values)]
        built: tuple[Op, ...] = (
            Maximum(a, b),
            Add(a, Const(np.float32([0.5]))),
            Relu(a),
            Mul(a, Const(np.float32([-1]))),
        )
        values.append(built[kind])
    result = check_pass(PASS, Graph.of("g", [values[-1]], inputs=[x]), tolerance=0)
    keys = [(op.NAME, op.operands) for op in result.ops if op.operands]
    assert len(set(keys)) == len(keys)
    assert len(names(result)) <= len(steps)
