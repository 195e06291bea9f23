from __future__ import annotations

from edgevit.passes.dead_code import DeadCode
from tests.passes.helpers import check_pass, expect, graph_of, reasons

TEXT = """
    %0 = input(name="image") : f32[1,2]
    %1 = input(name="unused") : f32[1,2]
    %2 = const(data=[1.0, 2.0]) : f32[2]
    %3 = add(lhs=%0, rhs=%2) : f32[1,2]
    %4 = relu(x=%0) : f32[1,2]
    return %4
"""


def test_only_what_the_outputs_need_stays_and_every_input() -> None:
    expect(
        check_pass(DeadCode(), graph_of(TEXT), tolerance=0),
        """
        %0 = input(name="image") : f32[1,2]
        %1 = input(name="unused") : f32[1,2]
        %2 = relu(x=%0) : f32[1,2]
        return %2
        """,
    )


def test_why_an_unused_input_stays() -> None:
    graph = graph_of(TEXT)
    assert reasons(DeadCode(), graph) == ["nothing uses this input; it stays because it is part of the interface"]
    assert [rejection.loc for rejection in DeadCode().why(graph)] == ["unused"]


def test_a_graph_without_dead_ops_is_given_back() -> None:
    graph = DeadCode().run(graph_of(TEXT))
    assert DeadCode().run(graph) is graph
