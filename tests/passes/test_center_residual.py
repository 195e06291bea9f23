from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Const, Conv2d, Input, LayerNorm, Linear, Mul, ReduceMean, RmsNorm
from edgevit.ir.types import Array, TensorType
from edgevit.passes.center_residual import CenterResidual
from tests.passes.helpers import SEARCH, check_pass, expect, graph_of, random_inputs, reasons
from tests.passes.transformers import Builder, norms, two_stages, vit

PASS = CenterResidual()


def test_a_stream_as_text() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,2]
        %1 = const(data=[1.0, 2.0, 3.0, 8.0]) : f32[2,2] loc "w"
        %2 = const(data=[5.0, 1.0]) : f32[2] loc "b"
        %3 = linear(x=%0, weight=%1, bias=%2) : f32[1,2] loc "fc"
        %4 = const(data=[3.0, 5.0]) : f32[2] loc "pos"
        %5 = add(lhs=%3, rhs=%4) : f32[1,2] loc "sum"
        %6 = layer_norm(x=%5, gamma=none, beta=none, eps=1e-06) : f32[1,2] loc "norm"
        return %6
    """)
    expect(
        check_pass(PASS, graph),
        """
        %0 = input(name="x") : f32[1,2]
        %1 = const(data=[-1.0, -3.0, 1.0, 3.0]) : f32[2,2] loc "w"
        %2 = const(data=[2.0, -2.0]) : f32[2] loc "b"
        %3 = linear(x=%0, weight=%1, bias=%2) : f32[1,2] loc "fc"
        %4 = const(data=[-1.0, 1.0]) : f32[2] loc "pos"
        %5 = add(lhs=%3, rhs=%4) : f32[1,2] loc "sum"
        %6 = rms_norm(x=%5, gamma=none, beta=none, eps=1e-06) : f32[1,2] loc "norm"
        return %6
        """,
    )


def stream_values(graph: Graph, seed: int = 0) -> list[Array]:
    """What the norms read."""
    wanted = {op.x for op in norms(graph)}
    found: list[Array] = []
    run(graph, random_inputs(graph, seed), lambda op, value: found.append(value) if op in wanted else None)
    return found


@pytest.mark.parametrize("tokens", [1, 2])
def test_the_stream_of_a_transformer_has_no_mean_and_its_norms_need_none(tokens: int) -> None:
    graph = vit(depth=3, tokens=tokens, outlier=20.0)
    result = check_pass(PASS, graph)
    assert [type(op) for op in norms(result)] == [RmsNorm] * 7
    assert [op.loc for op in norms(result)] == [op.loc for op in norms(graph)]
    assert len(result.ops) == len(graph.ops)
    for before, after in zip(stream_values(graph), stream_values(result), strict=True):
        size = np.abs(before).max()
        assert np.abs(after.mean(-1)).max() < 1e-6 * size < np.abs(before.mean(-1)).max()
        np.testing.assert_allclose(after, before - before.mean(-1, keepdims=True), rtol=0, atol=1e-5 * size)


@SEARCH
@given(st.integers(1, 3), st.integers(0, 1000), st.floats(1.0, 50.0))
def test_same_numbers(tokens: int, seed: int, outlier: float) -> None:
    check_pass(PASS, vit(8, depth=1, tokens=tokens, seed=seed, outlier=outlier), tolerance=2e-5, seed=seed)


def test_two_streams_in_one_graph() -> None:
    result = check_pass(PASS, two_stages())
    assert [(type(op), op.shape[-1]) for op in norms(result)] == [
        (RmsNorm, 8),
        (RmsNorm, 8),
        (RmsNorm, 8),
        (RmsNorm, 12),
        (RmsNorm, 12),
        (RmsNorm, 12),
    ]


def test_an_extra_reader_keeps_the_stream_as_it_is() -> None:
    graph = vit(extra_reader=True)
    assert all(isinstance(op, LayerNorm) for op in norms(check_pass(PASS, graph)))
    (rejection,) = PASS.why(graph)
    assert (rejection.op, rejection.loc) == ("gelu", "probe")
    assert rejection.reason == "gelu reads the stream and mixes or changes its channels"


def source(channels: int = 4) -> Input:
    return Input("x", type=TensorType((1, 3, channels)))


def with_norm(value: Op, *others: Op) -> Graph:
    return Graph.of("g", [LayerNorm(value, loc="norm"), *others])


BUILD = Builder()


def rejected() -> dict[str, tuple[Graph, str]]:
    writer = BUILD.linear(source(), 4, "fc")
    shared = BUILD.const(4)
    affine = Const(np.ones(4, np.float32))
    squared = Input("w", type=TensorType((4, 4)))
    image = Input("x", type=TensorType((1, 4, 4, 4)))
    return {
        "grouped": (
            with_norm(Conv2d(image, BUILD.const(4, 3, 3, 1), groups=4)),
            "a convolution in 4 groups, which keeps its channels apart",
        ),
        "input": (with_norm(source()), "input writes to the stream, whose channels it does not let change"),
        "output": (with_norm(writer, writer), "the stream is an output of the model"),
        "scaled": (with_norm(Mul(writer, BUILD.const(4))), "mul writes to the stream, whose channels it does not"),
        "affine": (
            Graph.of("g", [LayerNorm(writer, affine, affine)]),
            "the norm still has gamma and beta: run `norm-affine` and `fold-scales` first",
        ),
        "computed": (with_norm(Linear(source(), squared)), "its weights are not constant"),
        "broadcast": (with_norm(Add(writer, BUILD.const(1))), "an addition that broadcasts over channels"),
        "shared": (
            with_norm(Add(writer, shared), Mul(writer.x, shared)),
            "a constant of the stream is used elsewhere as well",
        ),
        "mixed": (with_norm(writer, ReduceMean(writer, (2,))), "reduce_mean reads the stream and mixes"),
    }


@pytest.mark.parametrize("name", rejected())
def test_rejections_say_why(name: str) -> None:
    graph, reason = rejected()[name]
    assert any(isinstance(op, LayerNorm) for op in check_pass(PASS, graph).ops)
    (found,) = reasons(PASS, graph)
    assert found.startswith(reason)


def test_one_rejected_stream_does_not_keep_the_other() -> None:
    graph = two_stages()
    last = norms(graph)[-1]
    exposed = Graph.of("g", [*graph.outputs, last.x], inputs=graph.inputs)
    result = check_pass(PASS, exposed)
    assert [type(op) for op in norms(result)] == [RmsNorm] * 3 + [LayerNorm] * 3
    assert reasons(PASS, exposed) == ["the stream is an output of the model"]


def test_constants_that_writers_share_are_changed_once() -> None:
    x = source()
    weight, bias = BUILD.const(4, 4), BUILD.const(4)
    stream = Add(Add(Linear(x, weight, bias), Linear(x, weight, bias)), bias)
    result = check_pass(PASS, with_norm(stream))
    assert isinstance(norms(result)[0], RmsNorm)


def test_a_writer_that_is_a_convolution_and_a_mean_over_tokens() -> None:
    x = Input("x", type=TensorType((1, 4, 4, 2)))
    patches = Conv2d(x, BUILD.const(6, 2, 2, 2), BUILD.const(6), stride=(2, 2))
    pooled = ReduceMean(patches, (1, 2))
    result = check_pass(PASS, with_norm(pooled))
    assert isinstance(norms(result)[0], RmsNorm)
