from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import BatchNorm, Const, Conv2d, Input, Linear, Relu, Reshape
from edgevit.ir.types import TensorType
from edgevit.passes.fold_batch_norm import FoldBatchNorm
from tests.passes.helpers import SEARCH, check_pass, expect, graph_of, names, reasons

PASS = FoldBatchNorm()
CONV = "stride=[1, 1], padding=[0, 0, 0, 0], dilation=[1, 1], groups=1"
# gamma / sqrt(var + eps) is 2 and 1; beta - mean * that is -1 and 4.
STATISTICS = """
    %1 = const(data=[4.0, 3.0]) : f32[2]
    %2 = const(data=[1.0, 1.0]) : f32[2]
    %3 = const(data=[1.0, -3.0]) : f32[2]
    %4 = const(data=[3.0, 8.0]) : f32[2]
    %5 = const(data=[1.0, 0.0, 0.5, 1.0]) : f32[2,2]
    %6 = const(data=[1.0, 0.0, 0.5, 1.0]) : f32[2,1,1,2]
    %7 = const(data=[10.0, 20.0]) : f32[2]
"""
NORM = "gamma=%1, beta=%2, mean=%3, var=%4, eps=1.0"


def test_into_the_linear_before_it() -> None:
    graph = graph_of(f"""
        %0 = input(name="x") : f32[1,2]
        {STATISTICS}
        %8 = linear(x=%0, weight=%5, bias=%7) : f32[1,2] loc "fc"
        %9 = batch_norm(x=%8, {NORM}) : f32[1,2] loc "bn"
        return %9
    """)
    expect(
        check_pass(PASS, graph),
        """
        %0 = input(name="x") : f32[1,2]
        %1 = const(data=[2.0, 0.0, 0.5, 1.0]) : f32[2,2]
        %2 = const(data=[19.0, 24.0]) : f32[2]
        %3 = linear(x=%0, weight=%1, bias=%2) : f32[1,2] loc "fc"
        return %3
        """,
    )


def test_into_the_conv2d_after_it_where_none_is_before() -> None:
    graph = graph_of(f"""
        %0 = input(name="x") : f32[1,3,3,2]
        {STATISTICS}
        %8 = batch_norm(x=%0, {NORM}) : f32[1,3,3,2]
        %9 = conv2d(x=%8, weight=%6, bias=none, {CONV}) : f32[1,3,3,2]
        return %9
    """)
    result = check_pass(PASS, graph)
    expect(
        result,
        f"""
        %0 = input(name="x") : f32[1,3,3,2]
        %1 = const(data=[2.0, 0.0, 1.0, 1.0]) : f32[2,1,1,2]
        %2 = const(data=[-1.0, 3.5]) : f32[2]
        %3 = conv2d(x=%0, weight=%1, bias=%2, {CONV}) : f32[1,3,3,2]
        return %3
        """,
    )


def test_arithmetic_where_nothing_can_take_it() -> None:
    graph = graph_of(f"""
        %0 = input(name="x") : f32[1,2]
        {STATISTICS}
        %8 = relu(x=%0) : f32[1,2]
        %9 = batch_norm(x=%8, {NORM}) : f32[1,2]
        return %9
    """)
    expect(
        check_pass(PASS, graph),
        """
        %0 = input(name="x") : f32[1,2]
        %1 = relu(x=%0) : f32[1,2]
        %2 = const(data=[2.0, 1.0]) : f32[2]
        %3 = mul(lhs=%1, rhs=%2) : f32[1,2]
        %4 = const(data=[-1.0, 4.0]) : f32[2]
        %5 = add(lhs=%3, rhs=%4) : f32[1,2]
        return %5
        """,
    )
    assert reasons(PASS, graph) == ["its operand comes from relu, which has no weights to take it"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            f"""
            %8 = linear(x=%0, weight=%5, bias=none) : f32[1,2]
            %9 = batch_norm(x=%8, {NORM}) : f32[1,2]
            return %9, %8
            """,
            "the linear before it has 2 uses",
        ),
        (
            f"""
            %8 = abs(x=%5) : f32[2,2]
            %9 = linear(x=%0, weight=%8, bias=none) : f32[1,2]
            %10 = batch_norm(x=%9, {NORM}) : f32[1,2]
            return %10
            """,
            "the weights of the linear are no constants",
        ),
        (
            f"""
            %8 = batch_norm(x=%0, {NORM}) : f32[1,2]
            %9 = linear(x=%8, weight=%5, bias=none) : f32[1,2]
            return %9, %8
            """,
            "the batch_norm before it has 2 uses",
        ),
    ],
)
def test_why_a_neighbour_does_not_take_it(body: str, reason: str) -> None:
    graph = graph_of(f'%0 = input(name="x") : f32[1,2]\n{STATISTICS}\n{body}')
    assert names(check_pass(PASS, graph))[-2:] in (["mul", "add"], ["add", "linear"])
    assert reason in reasons(PASS, graph)


def test_padding_would_see_another_border() -> None:
    graph = graph_of(f"""
        %0 = input(name="x") : f32[1,3,3,2]
        {STATISTICS}
        %8 = batch_norm(x=%0, {NORM}) : f32[1,3,3,2]
        %9 = conv2d(x=%8, weight=%6, bias=none, {CONV.replace("padding=[0, 0", "padding=[1, 0")}) : f32[1,4,3,2]
        return %9
    """)
    assert names(check_pass(PASS, graph)) == ["mul", "add", "conv2d"]
    assert "padding 1: the border would see 0 and not the mean" in reasons(PASS, graph)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('%4 = input(name="var") : f32[2]', "its statistics and affine parameters are not all constants"),
        ("%4 = const(data=[-1.5, 1.0]) : f32[2]", "a variance plus eps is not positive (-0.5)"),
    ],
)
def test_statistics_that_cannot_be_folded(line: str, reason: str) -> None:
    given_line = "%4 = const(data=[3.0, 8.0]) : f32[2]"
    assert given_line in STATISTICS
    graph = graph_of(f"""
        %0 = input(name="x") : f32[1,2]
        {STATISTICS.replace(given_line, line)}
        %8 = batch_norm(x=%0, {NORM}) : f32[1,2]
        return %8
    """)
    assert names(PASS.run(graph)) == ["batch_norm"]
    assert reasons(PASS, graph) == [reason]


@SEARCH
@given(
    st.sampled_from(["conv", "grouped", "depthwise", "linear", "reshaped"]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
)
def test_folding_keeps_the_meaning(kind: str, before: bool, bias: bool, seed: int) -> None:
    draw = np.random.default_rng(seed).standard_normal
    channels = 4

    def const(*shape: int) -> Const:
        return Const(draw(shape).astype(np.float32))

    def norm(x: Op) -> Op:
        variance = Const(np.abs(draw(channels)).astype(np.float32) + np.float32(0.1))
        return BatchNorm(x, const(channels), const(channels), const(channels), variance, 1e-3)

    image = Input("x", type=TensorType((1, 5, 4, channels)))
    x: Op = norm(Relu(image)) if before else image
    offset = const(channels) if bias else None
    if kind == "linear" or kind == "reshaped":
        x = Linear(x, const(channels, channels), offset)
        x = Reshape(x, (20, channels)) if kind == "reshaped" else x
    else:
        groups = {"conv": 1, "grouped": 2, "depthwise": 4}[kind]
        x = Conv2d(x, const(channels, 3, 2, channels // groups), offset, (1, 1), (0, 0, 0, 0), (1, 1), groups)
    result = check_pass(PASS, Graph.of("g", [x if before else norm(x)], inputs=[image]), seed=seed)
    assert not {"batch_norm", "mul", "add"} & set(names(result))
