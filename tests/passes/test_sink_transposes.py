from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Input, Reduce, ReduceMax, ReduceMean, Slice, Tanh, Transpose
from edgevit.ir.types import TensorType
from edgevit.passes.sink_transposes import SinkTransposes
from edgevit.passes.views import inverse
from tests.passes.helpers import SEARCH, check_pass, expect, graph_of, names, reasons

PASS = SinkTransposes()
POINTWISE = "stride=[1, 1], padding=[0, 0, 0, 0], dilation=[1, 1], groups=1"


def test_a_residual_block_in_nchw_ends_without_transposes() -> None:
    graph = graph_of(f"""
        %0 = input(name="image") : f32[1,4,6,2]
        %1 = const(data=[1.0, 2.0, 3.0, 4.0]) : f32[2,1,1,2]
        %2 = const(data=[0.5, 0.25]) : f32[2,1,1]
        %3 = transpose(x=%0, perm=[0, 3, 1, 2]) : f32[1,2,4,6]
        %4 = transpose(x=%3, perm=[0, 2, 3, 1]) : f32[1,4,6,2]
        %5 = conv2d(x=%4, weight=%1, bias=none, {POINTWISE}) : f32[1,4,6,2]
        %6 = transpose(x=%5, perm=[0, 3, 1, 2]) : f32[1,2,4,6]
        %7 = relu(x=%6) : f32[1,2,4,6]
        %8 = mul(lhs=%7, rhs=%2) : f32[1,2,4,6]
        %9 = add(lhs=%3, rhs=%8) : f32[1,2,4,6]
        %10 = reduce_mean(x=%9, axes=[2, 3], keepdims=false) : f32[1,2]
        return %10
    """)
    expect(
        check_pass(PASS, graph),
        f"""
        %0 = input(name="image") : f32[1,4,6,2]
        %1 = const(data=[1.0, 2.0, 3.0, 4.0]) : f32[2,1,1,2]
        %2 = conv2d(x=%0, weight=%1, bias=none, {POINTWISE}) : f32[1,4,6,2]
        %3 = relu(x=%2) : f32[1,4,6,2]
        %4 = const(data=[0.5, 0.25]) : f32[1,1,1,2]
        %5 = mul(lhs=%3, rhs=%4) : f32[1,4,6,2]
        %6 = add(lhs=%0, rhs=%5) : f32[1,4,6,2]
        %7 = reduce_mean(x=%6, axes=[1, 2], keepdims=false) : f32[1,2]
        return %7
        """,
    )


def between(
    line: str, shape: str, *, perm: str = "[0, 3, 1, 2]", back: str = "[0, 2, 3, 1]", back_shape: str = ""
) -> Graph:
    """``line`` on the transposed %1 of an image (1, 4, 6, 2), and the transpose back."""
    return graph_of(f"""
        %0 = input(name="x") : f32[1,4,6,2]
        %1 = transpose(x=%0, perm={perm}) : f32[{_permuted(perm)}]
        %2 = const(data=[1.0, 2.0]) : f32[2,1,1]
        %3 = const(data=[3.0]) : f32[]
        %4 = {line} : f32[{shape}]
        %5 = transpose(x=%4, perm={back}) : f32[{back_shape or "1,4,6,2"}]
        return %5
    """)


def _permuted(perm: str) -> str:
    return ",".join(str((1, 4, 6, 2)[int(axis)]) for axis in perm.strip("[]").split(","))


@pytest.mark.parametrize(
    ("line", "shape", "back_shape"),
    [
        ('gelu(x=%1, approximate="tanh")', "1,2,4,6", ""),
        ("clip(x=%1, lo=-0.5, hi=0.5)", "1,2,4,6", ""),
        ("sub(lhs=%2, rhs=%1)", "1,2,4,6", ""),
        ("div(lhs=%1, rhs=%3)", "1,2,4,6", ""),
        ("maximum(lhs=%1, rhs=%1)", "1,2,4,6", ""),
        ("reduce_max(x=%1, axes=[1], keepdims=true)", "1,1,4,6", "1,4,6,1"),
        ('pad(x=%1, low=[0, 0, 1, 2], high=[0, 3, 0, 0], mode="constant", value=1.5)', "1,5,5,8", "1,5,8,5"),
        ("slice(x=%1, start=[0, 1, 0, 2], stop=[1, 2, 4, 6], step=[1, 1, 2, 1])", "1,1,2,4", "1,2,4,1"),
        ("concat(xs=[%1, %1], axis=1)", "1,4,4,6", "1,4,6,4"),
    ],
)
def test_ops_that_a_transpose_passes(line: str, shape: str, back_shape: str) -> None:
    result = check_pass(PASS, between(line, shape, back_shape=back_shape))
    assert names(result) == [line.partition("(")[0]]


@pytest.mark.parametrize(
    "line", ["softmax(x=%1)", "layer_norm(x=%1, gamma=none, beta=none, eps=1e-05)", "l2_normalize(x=%1)"]
)
def test_ops_along_the_last_axis(line: str) -> None:
    kept = between(line, "1,6,4,2", perm="[0, 2, 1, 3]", back="[0, 2, 1, 3]")
    assert names(check_pass(PASS, kept)) == [line.partition("(")[0]]
    moved = between(line, "1,2,4,6")
    assert check_pass(PASS, moved) is moved
    assert reasons(PASS, moved)[:1] == [
        "it works along the last axis, which the transpose [0, 3, 1, 2] takes from axis 2"
    ]


def test_sides_that_are_transposed_differently_stay() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,3,3]
        %1 = transpose(x=%0, perm=[0, 2, 1]) : f32[1,3,3]
        %2 = add(lhs=%0, rhs=%1) : f32[1,3,3]
        %3 = concat(xs=[%0, %1], axis=1) : f32[1,6,3]
        return %2, %3
    """)
    assert check_pass(PASS, graph) is graph
    assert set(reasons(PASS, graph)) == {"one operand is transposed by [0, 2, 1], another not at all"}


def test_a_transpose_that_only_a_reshape_hides_still_cancels() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,2,2,8]
        %1 = transpose(x=%0, perm=[0, 3, 1, 2]) : f32[1,8,2,2]
        %2 = relu(x=%1) : f32[1,8,2,2]
        %3 = reshape(x=%2, to=[1, 8, 4]) : f32[1,8,4]
        %4 = transpose(x=%3, perm=[0, 2, 1]) : f32[1,4,8]
        return %4
    """)
    assert names(check_pass(PASS, graph)) == ["relu", "reshape"]


def test_a_slice_of_each_part_is_not_worth_a_transpose_each() -> None:
    parts = "\n".join(
        f"%{i + 2} = slice(x=%1, start=[{i}, 0, 0], stop=[{i + 1}, 4, 8], step=[1, 1, 1]) : f32[1,4,8]"
        for i in range(3)
    )
    graph = graph_of(f"""
        %0 = input(name="qkv") : f32[4,3,8]
        %1 = transpose(x=%0, perm=[1, 0, 2]) : f32[3,4,8]
        {parts}
        return %2, %3, %4
    """)
    assert check_pass(PASS, graph) is graph
    assert reasons(PASS, graph) == [
        "done before its transpose together with 2 more, it would save 1 transposes and cost 3"
    ]


def test_nothing_moves_when_nothing_would_cancel() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,2,3]
        %1 = transpose(x=%0, perm=[0, 2, 1]) : f32[1,3,2]
        %2 = tanh(x=%1) : f32[1,3,2]
        %3 = sigmoid(x=%1) : f32[1,3,2]
        return %2, %3
    """)
    assert check_pass(PASS, graph) is graph
    assert "done before its transpose together with 1 more, it would save 1 transposes and cost 2" in reasons(
        PASS, graph
    )


@st.composite
def graphs(draw: st.DrawFn, kinds: tuple[str, ...]) -> Graph:
    """Ops in a row, each with a random pair of transposes around it."""
    x = Input("x", type=TensorType((2, 3, 4, 5)))
    value: Op = x
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=5)):
        perm = tuple(draw(st.permutations(range(4)).filter(lambda axes: axes != [0, 1, 2, 3])))
        turned: Op = Transpose(value, perm)
        axis = draw(st.integers(0, 3))
        if kind == "tanh":
            turned = Tanh(turned)
        elif kind == "add":
            turned = Add(turned, Tanh(turned))
        elif kind in ("mean", "max"):
            reduction: type[Reduce] = ReduceMean if kind == "mean" else ReduceMax
            turned = reduction(turned, (axis,), True)
        elif turned.shape[axis] > 2:
            stops = tuple(size - (i == axis) for i, size in enumerate(turned.shape))
            turned = Slice(turned, (0,) * 4, stops, (1,) * 4)
        value = Transpose(turned, inverse(perm))
    return Graph.of("g", [value], inputs=[x])


@SEARCH
@given(graphs(("tanh", "add", "slice")))
def test_pairs_always_cancel(graph: Graph) -> None:
    assert "transpose" not in names(check_pass(PASS, graph))


@SEARCH
@given(graphs(("tanh", "add", "slice", "mean", "max")))
def test_reductions_keep_their_meaning(graph: Graph) -> None:
    assert names(check_pass(PASS, graph)).count("transpose") < names(graph).count("transpose")
