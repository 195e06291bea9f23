from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Attention, Const, Conv2d, Input, Linear, Mul, ReduceMean, Reshape, Slice, Transpose
from edgevit.ir.types import TensorType
from edgevit.passes.fold_scales import FoldScales
from tests.passes.helpers import SEARCH, check_pass, expect, graph_of, names, reasons

PASS = FoldScales()
CONV = "stride=[1, 1], padding=[0, 0, 0, 0], dilation=[1, 1], groups=1"


def test_layer_scale_into_the_linear_before_it() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,3,2]
        %1 = const(data=[1.0, 2.0, 3.0, 4.0]) : f32[2,2] loc "fc2.weight"
        %2 = const(data=[1.0, -1.0]) : f32[2] loc "fc2.bias"
        %3 = const(data=[0.5, 2.0]) : f32[2] loc "ls2.gamma"
        %4 = linear(x=%0, weight=%1, bias=%2) : f32[1,3,2] loc "fc2"
        %5 = mul(lhs=%4, rhs=%3) : f32[1,3,2] loc "ls2"
        %6 = add(lhs=%0, rhs=%5) : f32[1,3,2]
        return %6
    """)
    expect(
        check_pass(PASS, graph),
        """
        %0 = input(name="x") : f32[1,3,2]
        %1 = const(data=[0.5, 1.0, 6.0, 8.0]) : f32[2,2] loc "fc2.weight"
        %2 = const(data=[0.5, -2.0]) : f32[2] loc "fc2.bias"
        %3 = linear(x=%0, weight=%1, bias=%2) : f32[1,3,2] loc "fc2"
        %4 = add(lhs=%0, rhs=%3) : f32[1,3,2]
        return %4
        """,
    )


def test_an_affine_into_the_linear_after_it() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,3,2]
        %1 = const(data=[1.0, 2.0, 3.0, 4.0]) : f32[2,2]
        %2 = const(data=[10.0, 0.5]) : f32[1,1,2]
        %3 = const(data=[1.0, 2.0]) : f32[2]
        %4 = mul(lhs=%0, rhs=%2) : f32[1,3,2]
        %5 = add(lhs=%4, rhs=%3) : f32[1,3,2]
        %6 = linear(x=%5, weight=%1, bias=none) : f32[1,3,2] loc "fc1"
        return %6
    """)
    expect(
        check_pass(PASS, graph),
        """
        %0 = input(name="x") : f32[1,3,2]
        %1 = const(data=[10.0, 1.0, 30.0, 2.0]) : f32[2,2]
        %2 = const(data=[5.0, 11.0]) : f32[2]
        %3 = linear(x=%0, weight=%1, bias=%2) : f32[1,3,2] loc "fc1"
        return %3
        """,
    )


def test_the_scale_of_attention_takes_a_factor_of_q_and_k() -> None:
    graph = graph_of("""
        %0 = input(name="q") : f32[1,3,8]
        %1 = input(name="k") : f32[2,3,4]
        %2 = input(name="v") : f32[2,3,4]
        %3 = const(data=[0.5]) : f32[1]
        %4 = mul(lhs=%0, rhs=%3) : f32[1,3,8]
        %5 = reshape(x=%4, to=[3, 2, 4]) : f32[3,2,4]
        %6 = transpose(x=%5, perm=[1, 0, 2]) : f32[2,3,4]
        %7 = mul(lhs=%1, rhs=%3) : f32[2,3,4]
        %8 = attention(q=%6, k=%7, v=%2, mask=none, scale=1.0) : f32[2,3,4]
        return %8
    """)
    expect(
        check_pass(PASS, graph),
        """
        %0 = input(name="q") : f32[1,3,8]
        %1 = input(name="k") : f32[2,3,4]
        %2 = input(name="v") : f32[2,3,4]
        %3 = reshape(x=%0, to=[3, 2, 4]) : f32[3,2,4]
        %4 = transpose(x=%3, perm=[1, 0, 2]) : f32[2,3,4]
        %5 = attention(q=%4, k=%1, v=%2, mask=none, scale=0.25) : f32[2,3,4]
        return %5
        """,
    )


def test_before_a_padded_conv2d_the_shift_stays_and_the_scale_folds() -> None:
    padded = CONV.replace("padding=[0, 0, 0, 0]", "padding=[1, 1, 1, 1]")
    graph = graph_of(f"""
        %0 = input(name="image") : f32[1,3,3,2]
        %1 = const(data=[1.0, 2.0, 3.0, 4.0]) : f32[2,1,1,2]
        %2 = const(data=[0.5, 0.25]) : f32[2]
        %3 = const(data=[1.0, -1.0]) : f32[2]
        %4 = mul(lhs=%0, rhs=%2) : f32[1,3,3,2]
        %5 = add(lhs=%4, rhs=%3) : f32[1,3,3,2]
        %6 = conv2d(x=%5, weight=%1, bias=none, {padded}) : f32[1,5,5,2]
        return %6
    """)
    expect(
        check_pass(PASS, graph),
        f"""
        %0 = input(name="image") : f32[1,3,3,2]
        %1 = const(data=[2.0, -4.0]) : f32[1,1,1,2]
        %2 = add(lhs=%0, rhs=%1) : f32[1,3,3,2]
        %3 = const(data=[0.5, 0.5, 1.5, 1.0]) : f32[2,1,1,2]
        %4 = conv2d(x=%2, weight=%3, bias=none, {padded}) : f32[1,5,5,2]
        return %4
        """,
    )
    assert reasons(PASS, graph) == [
        "its operand comes from input, which has no weights to take it",
        "padding 1: the border would see 0 and not the mean",
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            """
            %5 = linear(x=%0, weight=%1, bias=none) : f32[1,2,2]
            %6 = mul(lhs=%5, rhs=%2) : f32[1,2,2]
            return %6, %5
            """,
            "the linear before it has 2 uses",
        ),
        (
            """
            %5 = linear(x=%0, weight=%1, bias=none) : f32[1,2,2]
            %6 = reshape(x=%5, to=[2, 2]) : f32[2,2]
            %7 = mul(lhs=%6, rhs=%2) : f32[2,2]
            return %7, %6
            """,
            "the reshape before it has 2 uses",
        ),
        (
            """
            %5 = linear(x=%0, weight=%1, bias=none) : f32[1,2,2]
            %6 = mul(lhs=%5, rhs=%3) : f32[1,2,2]
            return %6
            """,
            "its constant changes along axis 1, channels are on axis 2",
        ),
        (
            """
            %5 = mul(lhs=%0, rhs=%3) : f32[1,2,2]
            %6 = linear(x=%5, weight=%1, bias=none) : f32[1,2,2]
            return %6
            """,
            "its constant changes along axis 1, channels are on axis 2",
        ),
        (
            """
            %5 = mul(lhs=%0, rhs=%3) : f32[1,2,2]
            %6 = reduce_mean(x=%5, axes=[1], keepdims=false) : f32[1,2]
            %7 = linear(x=%6, weight=%1, bias=none) : f32[1,2]
            return %7
            """,
            "the constant of the mul changes along an axis of the reduce_mean after it",
        ),
        (
            """
            %5 = mul(lhs=%0, rhs=%2) : f32[1,2,2]
            %6 = linear(x=%5, weight=%1, bias=none) : f32[1,2,2]
            return %6, %5
            """,
            "the mul before it has 2 uses",
        ),
        (
            """
            %5 = mul(lhs=%0, rhs=%2) : f32[1,2,2]
            %6 = attention(q=%5, k=%0, v=%0, mask=none, scale=1.0) : f32[1,2,2]
            return %6
            """,
            "q is multiplied by a constant with different elements",
        ),
        (
            """
            %5 = mul(lhs=%0, rhs=%4) : f32[1,2,2]
            %6 = attention(q=%0, k=%5, v=%5, mask=none, scale=1.0) : f32[1,2,2]
            return %6
            """,
            "the mul before k has 2 uses",
        ),
        (
            """
            %5 = linear(x=%0, weight=%1, bias=none) : f32[1,2,2]
            %6 = const(data=[3e+38, 1.0]) : f32[2]
            %7 = mul(lhs=%5, rhs=%6) : f32[1,2,2]
            return %7
            """,
            "the folded weights of the linear overflow single precision",
        ),
    ],
)
def test_why_a_constant_stays(body: str, reason: str) -> None:
    graph = graph_of(f"""
        %0 = input(name="x") : f32[1,2,2]
        %1 = const(data=[1.0, 2.0, 3.0, 4.0]) : f32[2,2]
        %2 = const(data=[0.5, 0.25]) : f32[2]
        %3 = const(data=[0.5, 0.25]) : f32[2,1]
        %4 = const(data=[2.0]) : f32[1]
        {body}
    """)
    assert names(PASS.run(graph)) == names(graph)
    assert reason in reasons(PASS, graph)


def test_a_constant_that_enlarges_its_operand_is_no_scale() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,2]
        %1 = const(data=[1.0, 2.0, 3.0, 4.0]) : f32[2,2]
        %2 = const(data=[0.5, 0.25, 4.0]) : f32[3,1,1]
        %3 = linear(x=%0, weight=%1, bias=none) : f32[1,2]
        %4 = mul(lhs=%3, rhs=%2) : f32[3,1,2]
        return %4
    """)
    assert names(check_pass(PASS, graph)) == ["linear", "mul"]


def _random(seed: int, *shape: int) -> Const:
    return Const(np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32))


@st.composite
def behind_views(draw: st.DrawFn) -> Graph:
    """A linear or conv2d, views of its result, and a constant on what was its channel axis."""
    seed = draw(st.integers(0, 99))
    x = Input("x", type=TensorType((1, 4, 6, 4)))
    bias = _random(seed, 6) if draw(st.booleans()) else None
    value: Op
    if draw(st.booleans()):
        value = Linear(x, _random(seed, 6, 4), bias)
    else:
        value = Conv2d(x, _random(seed, 6, 2, 2, 2), bias, (1, 1), (1, 0, 0, 1), (1, 1), 2)
    value, axis = Reshape(value, (24, 6)), 1
    for kind in draw(st.lists(st.sampled_from(["turn", "slice", "split"]), max_size=3)):
        if kind == "turn":
            value, axis = Transpose(value, (*range(1, value.type.rank), 0)), (axis - 1) % value.type.rank
        elif kind == "slice" and value.shape[axis] > 1:
            stop = tuple(size - (i == axis) for i, size in enumerate(value.shape))
            value = Slice(value, (0,) * value.type.rank, stop, (1,) * value.type.rank)
        elif kind == "split":
            value, axis = Reshape(value, (*value.shape[:axis], 1, *value.shape[axis:])), axis + 1
    shape = tuple(size if i == axis else 1 for i, size in enumerate(value.shape))
    scaled = (Mul if draw(st.booleans()) else Add)(value, _random(seed, *shape))
    return Graph.of("g", [scaled], inputs=[x])


@SEARCH
@given(behind_views(), st.integers(0, 9))
def test_a_constant_finds_the_weights_behind_views(graph: Graph, seed: int) -> None:
    assert not {"mul", "add"} & set(names(check_pass(PASS, graph, seed=seed)))


@SEARCH
@given(st.booleans(), st.booleans(), st.sampled_from(["conv", "linear", "mean", "slice"]), st.integers(0, 99))
def test_a_constant_finds_the_weights_after_views(scale: bool, turned: bool, kind: str, seed: int) -> None:
    x = Input("x", type=TensorType((1, 6, 5, 4)))
    value = (Mul if scale else Add)(Transpose(x, (0, 2, 3, 1)) if turned else x, _random(seed, 6 if turned else 4))
    view: Op = Transpose(value, (0, 3, 1, 2)) if turned else value
    if kind == "conv":
        view = Transpose(view, (0, 2, 3, 1)) if turned else view
        channels = view.shape[-1]
        result: Op = Conv2d(view, _random(seed, 6, 2, 1, channels // 2), None, (2, 1), (0, 0, 0, 0), (1, 1), 2)
    elif kind == "linear":
        view = Transpose(view, (0, 2, 3, 1)) if turned else view
        result = Linear(view, _random(seed, 3, view.shape[-1]), _random(seed, 3))
    elif kind == "slice":
        view = Transpose(view, (0, 2, 3, 1)) if turned else view
        view = Slice(view, (0, 2, 0, 1), (1, 3, view.shape[2], view.shape[3]), (1, 1, 2, 2))
        result = Linear(view, _random(seed, 3, view.shape[-1]), _random(seed, 3))
    else:
        result = Linear(ReduceMean(view, (2, 3) if turned else (1, 2)), _random(seed, 3, 6 if turned else 4), None)
    result_graph = check_pass(PASS, Graph.of("g", [result], inputs=[x]), seed=seed)
    assert not {"mul", "add"} & set(names(result_graph))


@SEARCH
@given(st.floats(0.125, 8, width=32), st.floats(0.125, 8, width=32), st.integers(0, 99))
def test_attention_keeps_its_meaning(of_q: float, of_k: float, seed: int) -> None:
    q, k, v = (Input(name, type=TensorType((2, 3, 4))) for name in "qkv")
    scaled = Attention(Mul(q, Const(np.float32([of_q]))), Mul(k, Const(np.float32([of_k]))), v, None, 0.1)
    assert names(check_pass(PASS, Graph.of("g", [scaled], inputs=[q, k, v]), seed=seed)) == ["attention"]
