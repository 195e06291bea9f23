from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Attention, Const, Input, Linear, MatMul, Relu, Reshape, Slice, Transpose
from edgevit.ir.types import TensorType
from edgevit.passes.canonicalize_views import CanonicalizeViews
from edgevit.passes.hoist_slices import HoistSlices
from edgevit.passes.split_heads import SplitAttentionHeads
from tests.passes.helpers import SEARCH, check_pass, expect, graph_of, names, reasons
from tests.passes.transformers import Builder, vit

PASS = SplitAttentionHeads()
BUILD = Builder()


def tokens(rows: int, channels: int, name: str = "x") -> Input:
    return Input(name, type=TensorType((1, rows, channels)))


def split(x: Op, heads: int) -> Op:
    """(1, N, C) -> (1, heads, N, C / heads)."""
    _, n, c = x.shape
    return Transpose(Reshape(x, (1, n, heads, c // heads)), (0, 2, 1, 3))


def merged(x: Op) -> Op:
    _, heads, n, width = x.shape
    return Reshape(Transpose(x, (0, 2, 1, 3)), (1, n, heads * width))


def heads_of(graph: Graph) -> list[Linear]:
    return [op for op in graph.ops if isinstance(op, Linear)]


def test_one_head_as_text() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,3,2]
        %1 = attention(q=%0, k=%0, v=%0, mask=none, scale=0.5) : f32[1,3,2] loc "attn"
        return %1
    """)
    expect(
        check_pass(PASS, graph),
        """
        %0 = input(name="x") : f32[1,3,2]
        %1 = reshape(x=%0, to=[3, 2]) : f32[3,2]
        %2 = const(data=[0.5]) : f32[]
        %3 = mul(lhs=%1, rhs=%2) : f32[3,2]
        %4 = reshape(x=%0, to=[3, 2]) : f32[3,2]
        %5 = transpose(x=%4, perm=[1, 0]) : f32[2,3] loc "attn"
        %6 = matmul(lhs=%3, rhs=%5) : f32[3,3] loc "attn"
        %7 = softmax(x=%6) : f32[3,3] loc "attn"
        %8 = reshape(x=%0, to=[3, 2]) : f32[3,2]
        %9 = matmul(lhs=%7, rhs=%8) : f32[3,2] loc "attn"
        %10 = reshape(x=%9, to=[1, 3, 2]) : f32[1,3,2] loc "attn"
        return %10
        """,
    )


def check(graph: Graph) -> Graph:
    """The split graph: no attention left, products of rank 2 only."""
    result = check_pass(PASS, graph, tolerance=2e-5)
    assert "attention" not in names(result)
    assert all(op.type.rank == 2 for op in result.ops if isinstance(op, MatMul))
    return result


@SEARCH
@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 6), st.integers(0, 99))
def test_fused_projection(heads: int, width: int, rows: int, seed: int) -> None:
    graph = Graph.of("g", [Builder(seed).heads(tokens(rows, heads * width), heads, "attn")])
    result = check(graph)
    assert len(heads_of(result)) == 3 * heads
    assert all(op.loc == "attn.qkv" and op.shape == (rows, width) for op in heads_of(result))
    assert not any(isinstance(op, Slice) for op in result.ops)


@SEARCH
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.sampled_from([1.0, 0.5]))
def test_projections_of_their_own(heads: int, rows: int, keys: int, scale: float) -> None:
    c = 4 * heads
    x, y = tokens(rows, c), tokens(keys, c, "y")
    q, k = (split(BUILD.linear(value, c, "proj", bias=False), heads) for value in (x, y))
    v = split(BUILD.linear(y, 6 * heads, "values"), heads)
    result = check(Graph.of("g", [merged(Attention(q, k, v, scale=scale))], inputs=[x, y]))
    assert len(heads_of(result)) == 3 * heads


def test_the_scale_goes_into_the_query_alone() -> None:
    graph = Graph.of("g", [BUILD.heads(tokens(3, 8), 2, "attn")])
    (fused,) = heads_of(graph)
    result = check(graph)
    weights, biases = fused.weight.data, fused.bias.data
    factor = np.float32(4**-0.5)
    found = {tuple(op.weight.data.ravel().tolist()): op for op in heads_of(result)}
    for part in range(3):
        for head in range(2):
            rows = slice(8 * part + 4 * head, 8 * part + 4 * head + 4)
            scale = factor if part == 0 else np.float32(1)
            op = found[tuple((weights[rows] * scale).ravel().tolist())]
            assert np.array_equal(op.bias.data, biases[rows] * scale)
    assert "mul" not in names(result)


def test_the_query_of_a_class_token_reads_one_row() -> None:
    hoisted = CanonicalizeViews().run(HoistSlices().run(vit(8, depth=1)))
    assert any(isinstance(op, Attention) and op.shape[-2] == 1 for op in hoisted.ops)
    result = check(hoisted)
    rows = sorted(op.shape[0] for op in heads_of(result) if op.loc.endswith("qkv"))
    assert rows == [1, 1, 5, 5, 5, 5]
    products = [op.shape for op in result.ops if isinstance(op, MatMul)]
    assert sorted(products) == [(1, 4), (1, 4), (1, 5), (1, 5)]


def test_computed_queries_are_sliced_by_head() -> None:
    x = tokens(3, 8)
    q = Relu(split(BUILD.linear(x, 8, "q"), 2))
    k, v = (split(BUILD.linear(x, 8, name), 2) for name in "kv")
    result = check(Graph.of("g", [merged(Attention(q, k, v, scale=0.5))]))
    assert sum(isinstance(op, Slice) for op in result.ops) == 2
    assert names(result).count("mul") == 2


@pytest.mark.parametrize("shape", [(3, 4), (1, 3, 4), (1, 1, 3, 4)])
def test_a_single_head_needs_no_merge(shape: tuple[int, ...]) -> None:
    q, k, v = (Input(name, type=TensorType(shape)) for name in "qkv")
    result = check(Graph.of("g", [Attention(Relu(q), k, v, scale=0.3)], inputs=[q, k, v]))
    assert result.outputs[0].shape == shape


def rejected() -> dict[str, tuple[Op, str]]:
    x = tokens(4, 8)
    q, k, v = (split(BUILD.linear(x, 8, name), 2) for name in "qkv")
    mask = Const(np.zeros((4, 4), np.float32))
    windows = [Reshape(BUILD.linear(x, 8, name), (2, 2, 2, 4)) for name in "qkv"]
    computed = Linear(x, BUILD.const(8, 8), Reshape(tokens(1, 8, "b"), (8,)))
    attended = Attention(q, k, v)
    return {
        "mask": (merged(Attention(q, k, v, mask)), "the attention has a mask"),
        "single_mask": (Attention(x, x, x, mask), "the attention has a mask"),
        "windows": (
            Reshape(Transpose(Attention(*windows), (0, 2, 1, 3)), (1, 4, 8)),
            "attention over [2] windows or images: only one can be split by head",
        ),
        "no_transpose": (
            Reshape(attended, (1, 4, 8)),
            "what follows attention is not the usual merge of heads into channels",
        ),
        "other_order": (
            Reshape(Transpose(attended, (0, 2, 3, 1)), (1, 4, 8)),
            "what follows attention is not the usual merge of heads into channels",
        ),
        "other_shape": (
            Reshape(Transpose(attended, (0, 2, 1, 3)), (1, 8, 4)),
            "what follows attention is not the usual merge of heads into channels",
        ),
        "bias": (merged(Attention(split(computed, 2), k, v)), "the bias of the projection is not constant"),
        "order": (
            merged(Attention(Slice(q, (0, 0, 0, 0), (1, 2, 4, 4), (1, 1, 2, 1)), k, v)),
            "the tokens of a head are not in order",
        ),
    }


@pytest.mark.parametrize("name", rejected())
def test_rejections_say_why(name: str) -> None:
    output, reason = rejected()[name]
    graph = Graph.of("g", [output])
    assert "attention" in names(check_pass(PASS, graph))
    assert reasons(PASS, graph) == [reason]


def test_attention_whose_heads_are_not_merged_is_left_alone() -> None:
    q, k, v = (Input(name, type=TensorType((1, 2, 3, 4))) for name in "qkv")
    graph = Graph.of("g", [Attention(q, k, v)], inputs=[q, k, v])
    assert PASS.run(graph) is graph
