from __future__ import annotations

import pytest

from edgevit.passes.raise_softmax import RaiseSoftmax
from tests.passes.helpers import check_pass, expect, graph_of, names, reasons

PASS = RaiseSoftmax()
RAISED = '%0 = input(name="x") : f32[2,3,4]\n%1 = softmax(x=%0) : f32[2,3,4]\nreturn %1'


@pytest.mark.parametrize(
    "body",
    [
        """
        %1 = reduce_max(x=%0, axes=[2], keepdims=true) : f32[2,3,1]
        %2 = sub(lhs=%0, rhs=%1) : f32[2,3,4]
        %3 = exp(x=%2) : f32[2,3,4]
        %4 = reduce_sum(x=%3, axes=[2], keepdims=true) : f32[2,3,1]
        %5 = div(lhs=%3, rhs=%4) : f32[2,3,4]
        return %5
        """,
        """
        %1 = exp(x=%0) : f32[2,3,4]
        %2 = reduce_sum(x=%1, axes=[2], keepdims=false) : f32[2,3]
        %3 = reshape(x=%2, to=[2, 3, 1]) : f32[2,3,1]
        %4 = div(lhs=%1, rhs=%3) : f32[2,3,4]
        return %4
        """,
        """
        %1 = const(data=[1.0]) : f32[]
        %2 = exp(x=%0) : f32[2,3,4]
        %3 = reduce_sum(x=%2, axes=[2], keepdims=true) : f32[2,3,1]
        %4 = div(lhs=%1, rhs=%3) : f32[2,3,1]
        %5 = mul(lhs=%4, rhs=%2) : f32[2,3,4]
        return %5
        """,
        """
        %1 = const(data=[-1.0]) : f32[]
        %2 = exp(x=%0) : f32[2,3,4]
        %3 = exp(x=%0) : f32[2,3,4]
        %4 = reduce_sum(x=%2, axes=[2], keepdims=true) : f32[2,3,1]
        %5 = pow(lhs=%4, rhs=%1) : f32[2,3,1]
        %6 = mul(lhs=%3, rhs=%5) : f32[2,3,4]
        return %6
        """,
    ],
)
def test_forms(body: str) -> None:
    expect(check_pass(PASS, graph_of(f'%0 = input(name="x") : f32[2,3,4]\n{body}')), RAISED)


def test_another_axis_is_rejected() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[2,3,4]
        %1 = exp(x=%0) : f32[2,3,4]
        %2 = reduce_sum(x=%1, axes=[1], keepdims=true) : f32[2,1,4]
        %3 = div(lhs=%1, rhs=%2) : f32[2,3,4]
        return %3
    """)
    assert check_pass(PASS, graph) is graph
    assert reasons(PASS, graph) == ["the sum goes over axes [1], softmax over the last, 2"]


def test_a_maximum_over_another_axis_is_rejected() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[2,3,4]
        %1 = reduce_max(x=%0, axes=[1], keepdims=true) : f32[2,1,4]
        %2 = sub(lhs=%0, rhs=%1) : f32[2,3,4]
        %3 = softmax(x=%2) : f32[2,3,4]
        return %3
    """)
    assert check_pass(PASS, graph) is graph
    assert reasons(PASS, graph) == ["the maximum goes over axes [1], softmax over the last, 2"]


def test_a_sum_of_something_else_is_no_softmax() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[2,3,4]
        %1 = exp(x=%0) : f32[2,3,4]
        %2 = abs(x=%0) : f32[2,3,4]
        %3 = reduce_sum(x=%2, axes=[2], keepdims=true) : f32[2,3,1]
        %4 = div(lhs=%1, rhs=%3) : f32[2,3,4]
        return %4
    """)
    assert names(check_pass(PASS, graph)) == ["exp", "abs", "reduce_sum", "div"]
    assert reasons(PASS, graph) == []
