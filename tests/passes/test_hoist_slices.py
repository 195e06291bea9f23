from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import (
    Add,
    Attention,
    Clip,
    Const,
    Gelu,
    Input,
    LayerNorm,
    Linear,
    Mul,
    Relu,
    Reshape,
    RmsNorm,
    Slice,
    Softmax,
    Sub,
    Transpose,
)
from edgevit.ir.types import TensorType
from edgevit.passes.hoist_slices import HoistSlices
from tests.passes.helpers import SEARCH, check_pass, expect, graph_of, names, reasons
from tests.passes.transformers import vit

PASS = HoistSlices()
SHAPE = (2, 6, 4)
Bounds = tuple[tuple[int, int, int], ...]


def values(*shape: int, seed: int = 0) -> Const:
    return Const(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def source(*shape: int, name: str = "x") -> Input:
    return Input(name, type=TensorType(shape or SHAPE))


def sliced(x: Op, bounds: Bounds) -> Slice:
    return Slice(x, *(tuple(bound[i] for bound in bounds) for i in range(3)))


def token(x: Op, axis: int = 1) -> Slice:
    """The first element of an axis."""
    return sliced(x, tuple((0, 1 if i == axis else n, 1) for i, n in enumerate(x.shape)))


def test_class_token_of_a_residual_block_as_text() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,3,2]
        %1 = layer_norm(x=%0, gamma=none, beta=none, eps=1e-05) : f32[1,3,2] loc "norm"
        %2 = const(data=[1.0, 2.0, 3.0, 4.0]) : f32[2,2]
        %3 = linear(x=%1, weight=%2, bias=none) : f32[1,3,2] loc "fc"
        %4 = add(lhs=%0, rhs=%3) : f32[1,3,2] loc "sum"
        %5 = slice(x=%4, start=[0, 0, 0], stop=[1, 1, 2], step=[1, 1, 1]) : f32[1,1,2] loc "token"
        return %5
    """)
    expect(
        check_pass(PASS, graph),
        """
        %0 = input(name="x") : f32[1,3,2]
        %1 = slice(x=%0, start=[0, 0, 0], stop=[1, 1, 2], step=[1, 1, 1]) : f32[1,1,2]
        %2 = layer_norm(x=%1, gamma=none, beta=none, eps=1e-05) : f32[1,1,2] loc "norm"
        %3 = const(data=[1.0, 2.0, 3.0, 4.0]) : f32[2,2]
        %4 = linear(x=%2, weight=%3, bias=none) : f32[1,1,2] loc "fc"
        %5 = add(lhs=%1, rhs=%4) : f32[1,1,2] loc "sum"
        return %5
        """,
    )


@st.composite
def bounds_of(draw: st.DrawFn, shape: tuple[int, ...], whole_last: bool) -> Bounds:
    found = []
    for axis, size in enumerate(shape):
        if whole_last and axis == len(shape) - 1:
            found.append((0, size, 1))
            continue
        start = draw(st.integers(0, size - 1))
        found.append((start, draw(st.integers(start + 1, size)), draw(st.integers(1, 3))))
    return tuple(found)


ROWWISE = {
    "layer_norm": lambda x: LayerNorm(x, values(4), values(4, seed=1)),
    "rms_norm": RmsNorm,
    "softmax": Softmax,
    "linear": lambda x: Linear(x, values(5, 4), values(5)),
}
ANYWHERE = {
    "gelu": Gelu,
    "clip": lambda x: Clip(x, -0.5, 0.5),
    "relu": Relu,
    "add": lambda x: Add(x, values(6, 4)),
    "sub": lambda x: Sub(values(2, 1, 1), x),
    "mul": lambda x: Mul(x, values()),
    "raised": lambda x: Add(x, values(3, 2, 6, 4)),
    "transpose": lambda x: Transpose(x, (2, 0, 1)),
    "square": lambda x: Mul(x, x),
}


@pytest.mark.parametrize("name", [*ROWWISE, *ANYWHERE])
@SEARCH
@given(st.data())
def test_a_slice_moves_before_each_op(name: str, data: st.DataObject) -> None:
    build = {**ROWWISE, **ANYWHERE}[name]
    # An op above keeps the slice from vanishing into the input, below which it is not looked for.
    op = build(Relu(source()))
    graph = Graph.of("g", [sliced(op, data.draw(bounds_of(op.shape, name in ROWWISE)))])
    result = check_pass(PASS, graph)
    found = [op for op in result.ops if isinstance(op, Slice)]
    assert all(isinstance(op.x, Input) for op in found)


@SEARCH
@given(st.data())
def test_a_slice_moves_before_a_reshape_that_keeps_its_axes(data: st.DataObject) -> None:
    op = Reshape(Relu(source(2, 6, 4)), (2, 6, 2, 2))
    bounds = (*data.draw(bounds_of((2, 6), False)), (0, 2, 1), (0, 2, 1))
    result = check_pass(PASS, Graph.of("g", [sliced(op, bounds)]))
    assert all(isinstance(op.x, Input) for op in result.ops if isinstance(op, Slice))


@SEARCH
@given(st.integers(0, 4), st.integers(1, 2))
def test_query_rows_move_before_attention(row: int, step: int) -> None:
    q, k, v = (source(1, 2, 5, 4, name=name) for name in "qkv")
    attended = Attention(Relu(q), k, v, scale=0.5)
    rows = ((0, 1, 1), (0, 2, 1), (row, 5, step), (0, 4, 1))
    result = check_pass(PASS, Graph.of("g", [sliced(attended, rows)], inputs=[q, k, v]))
    assert names(result)[:2] == (["slice", "relu"] if (row, step) != (0, 1) else ["relu", "attention"])


def test_the_last_block_of_a_transformer_computes_the_class_token_only() -> None:
    graph = vit(8, depth=2)
    result = check_pass(PASS, graph)
    rows = {op.loc: op.shape[1] for op in result.ops if isinstance(op, Linear) and op.loc.startswith("blocks")}
    assert rows == {
        "blocks.0.attn.qkv": 5,
        "blocks.0.attn.proj": 5,
        "blocks.0.mlp.fc1": 5,
        "blocks.0.mlp.fc2": 5,
        "blocks.1.attn.qkv": 5,
        "blocks.1.attn.proj": 1,
        "blocks.1.mlp.fc1": 1,
        "blocks.1.mlp.fc2": 1,
    }


def test_a_slice_passes_any_number_of_ops() -> None:
    x: Op = source()
    for _ in range(100):
        x = Relu(x)
    result = check_pass(PASS, Graph.of("g", [token(x)]))
    assert names(result) == ["slice", *["relu"] * 100]


def rejected() -> dict[str, tuple[list[Op], str]]:
    used = Relu(source())
    last = ((0, 2, 1), (0, 6, 1), (0, 2, 1))
    q, k, v = (source(1, 2, 5, 4, name=name) for name in "qkv")
    return {
        "used": ([token(used), used], "relu has other users that need all rows"),
        "norm": ([sliced(LayerNorm(source()), last)], "layer_norm mixes the sliced last axis"),
        "linear": ([sliced(Linear(source(), values(4, 4)), last)], "linear mixes the sliced last axis"),
        "reshape": ([token(Reshape(source(), (2, 24)))], "the reshape changes the sliced axes"),
        "heads": ([token(Attention(q, k, v))], "only the query rows of attention can be sliced before it"),
        "mask": ([token(Attention(q, k, v, values(5, 5)), 2)], "the attention has a mask"),
    }


@pytest.mark.parametrize("name", rejected())
def test_rejections_say_why(name: str) -> None:
    outputs, reason = rejected()[name]
    graph = Graph.of("g", outputs)
    assert names(check_pass(PASS, graph)) == names(graph)
    assert reasons(PASS, graph) == [reason]


def test_equal_slices_that_meet_are_merged() -> None:
    x = Relu(source())
    graph = Graph.of("g", [token(Add(Relu(x), Gelu(x)))])
    assert names(check_pass(PASS, graph)) == ["slice", "relu", "relu", "gelu", "add"]
