from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.ir.graph import Form, Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Input, Reshape, Transpose
from edgevit.ir.types import Quant, TensorType
from edgevit.ir.verify import verify
from edgevit.passes.canonicalize_views import CanonicalizeViews
from edgevit.passes.views import Layout, build, cost
from tests.passes.helpers import SEARCH, check_pass, expect, graph_of, names, reasons

PASS = CanonicalizeViews()


def chain(shape: tuple[int, ...], *views: tuple[str, tuple[int, ...]]) -> Graph:
    """``r`` reshapes to the given shape, ``t`` transposes by the given permutation."""
    x = Input("x", type=TensorType(shape))
    op: Op = x
    for kind, to in views:
        op = Reshape(op, to) if kind == "r" else Transpose(op, to)
    return Graph.of("chain", [op], inputs=[x])


def test_head_views_become_one_transpose_and_one_reshape() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,3,50,64]
        %1 = transpose(x=%0, perm=[0, 2, 1, 3]) : f32[1,50,3,64]
        %2 = reshape(x=%1, to=[50, 3, 64]) : f32[50,3,64]
        %3 = reshape(x=%2, to=[1, 50, 192]) : f32[1,50,192] loc "blocks.0.attn"
        return %3
    """)
    expect(
        check_pass(PASS, graph, tolerance=0),
        """
        %0 = input(name="x") : f32[1,3,50,64]
        %1 = transpose(x=%0, perm=[0, 2, 1, 3]) : f32[1,50,3,64]
        %2 = reshape(x=%1, to=[1, 50, 192]) : f32[1,50,192] loc "blocks.0.attn"
        return %2
        """,
    )


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (chain((1, 4, 6), ("r", (4, 6)), ("r", (1, 4, 6))), []),
        (chain((2, 3, 4), ("t", (2, 0, 1)), ("t", (1, 2, 0))), []),
        (chain((1, 4, 6), ("t", (1, 0, 2))), ["reshape"]),
        (chain((1, 4, 6), ("t", (1, 0, 2)), ("r", (1, 4, 6))), []),
        # NCHW, flattened, tokens first: the image had channels last already.
        (chain((1, 7, 7, 8), ("t", (0, 3, 1, 2)), ("r", (1, 8, 49)), ("t", (0, 2, 1))), ["reshape"]),
        (chain((2, 3, 4), ("t", (2, 0, 1)), ("r", (4, 6)), ("t", (1, 0))), ["reshape"]),
        (chain((1, 9, 4), ("r", (1, 9, 2, 2)), ("t", (0, 2, 1, 3)), ("r", (2, 9, 2))), ["reshape", "transpose"]),
        (chain((6, 4), ("r", (2, 3, 4)), ("t", (1, 0, 2)), ("r", (6, 4))), ["reshape", "transpose", "reshape"]),
        (chain((6,), ("r", (2, 3)), ("t", (1, 0)), ("r", (2, 3)), ("t", (1, 0))), ["reshape", "transpose"] * 2),
    ],
)
def test_shortest_form(graph: Graph, expected: list[str]) -> None:
    assert names(check_pass(PASS, graph, tolerance=0)) == expected


def test_a_view_with_another_user_is_bypassed_only_where_that_saves_one() -> None:
    text = """
        %0 = input(name="x") : f32[2,3,4]
        %1 = transpose(x=%0, perm=[2, 0, 1]) : f32[4,2,3]
        %2 = relu(x=%1) : f32[4,2,3]
        %3 = transpose(x=%1, perm=PERM) : f32[SHAPE]
        return %2, %3
    """
    undone = graph_of(text.replace("PERM", "[1, 2, 0]").replace("SHAPE", "2,3,4"))
    assert names(check_pass(PASS, undone, tolerance=0)) == ["transpose", "relu"]
    moved = graph_of(text.replace("PERM", "[1, 0, 2]").replace("SHAPE", "2,4,3"))
    assert names(check_pass(PASS, moved, tolerance=0)) == ["transpose", "relu", "transpose"]
    assert reasons(PASS, moved) == ["the transpose before it has 2 uses"]


def test_range_and_grid_stay_with_the_value() -> None:
    seen = (-1.0, 2.0)
    x = Input("x", type=TensorType((6, 4), range=seen))
    shaped = Reshape(x, (2, 3, 4), type=TensorType((2, 3, 4), range=seen))
    turned = Transpose(shaped, (1, 0, 2), type=TensorType((3, 2, 4), range=seen))
    wide = Reshape(turned, (3, 1, 8), type=TensorType((3, 1, 8), range=seen))
    last = Reshape(wide, (3, 8), type=TensorType((3, 8), range=seen))
    result = PASS.run(Graph.of("g", [last], inputs=[x], form=Form.CALIBRATED))
    verify(result)
    assert names(result) == ["reshape", "transpose", "reshape"]
    assert all(op.type.range == seen for op in result.ops)


def test_a_grid_per_channel_is_left_alone() -> None:
    quant = Quant((0.5, 0.25), (0, 0), axis=1)
    x = Input("x", type=TensorType((1, 2, 1), quant=quant))
    graph = Graph.of("g", [Transpose(x, (2, 1, 0), type=TensorType((1, 2, 1), quant=quant))], inputs=[x])
    assert names(PASS.run(graph)) == ["transpose"]
    assert reasons(PASS, graph) == ["its grid is per channel, on axis 1"]


@st.composite
def chains(draw: st.DrawFn) -> Graph:
    first = shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)))
    views: list[tuple[str, tuple[int, ...]]] = []
    for _ in range(draw(st.integers(1, 6))):
        if draw(st.booleans()):
            perm = tuple(draw(st.permutations(range(len(shape)))))
            views.append(("t", perm))
            shape = tuple(shape[p] for p in perm)
        else:
            rest, dimensions = math.prod(shape), []
            while rest > 1 and len(dimensions) < 4:
                dimensions.append(draw(st.sampled_from([d for d in range(1, rest + 1) if rest % d == 0])))
                rest //= dimensions[-1]
            shape = (*dimensions, rest)
            views.append(("r", shape))
    return chain(first, *views)


@SEARCH
@given(chains())
def test_random_chains_keep_their_meaning(graph: Graph) -> None:
    result = check_pass(PASS, graph, tolerance=0)
    assert names(result).count("transpose") <= names(graph).count("transpose")
    assert len(result.ops) <= len(graph.ops)


@SEARCH
@given(chains())
def test_what_one_layout_can_say_takes_three_views_at_most(graph: Graph) -> None:
    layout: Layout | None = Layout.of(graph.inputs[0].shape)
    for op in graph.ops:
        if layout is not None and isinstance(op, (Reshape, Transpose)):
            layout = layout.then(op)
    if layout is None:
        assert names(graph).count("transpose") > 1
        return
    built = build(graph.inputs[0], layout, "")
    assert cost(built, graph.inputs[0]) <= (1, 3)
    assert built.shape == graph.outputs[0].shape
