from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Gelu, Input, LayerNorm, Linear, ReduceMean, RmsNorm, Slice
from edgevit.ir.text import print_graph
from edgevit.ir.types import Array, TensorType
from edgevit.ir.verify import verify
from edgevit.passes.center_residual import CenterResidual
from edgevit.passes.rotate_residual import RotateResidual, rotation
from tests.passes.helpers import SEARCH, expect, graph_of, outputs, random_inputs, reasons
from tests.passes.transformers import Builder, norms, two_stages, vit

WIDTHS = [1, 2, 3, 96, 128, 192, 384, 768]


def check(graph: Graph, *, seed: int = 0, tolerance: float = 2e-5) -> Graph:
    """The rotated graph, valid and with the same meaning. A second run rotates again, so it is no fixed point."""
    before = print_graph(graph)
    result = RotateResidual(seed).run(graph)
    verify(result)
    assert print_graph(graph) == before, "the pass changed its operand"
    again = RotateResidual(seed).run(result)
    for was, now, twice in zip(outputs(graph), outputs(result), outputs(again), strict=True):
        atol = tolerance * max(1.0, float(np.abs(was).max()))
        np.testing.assert_allclose(now, was, rtol=0, atol=atol)
        np.testing.assert_allclose(twice, was, rtol=0, atol=2 * atol)
    return result


def centred(graph: Graph) -> Graph:
    return CenterResidual().run(graph)


@pytest.mark.parametrize("channels", WIDTHS)
def test_rotations_are_orthogonal_and_spread_every_channel(channels: int) -> None:
    matrix = rotation(channels, seed=0)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(channels), atol=1e-12)
    assert np.abs(matrix).max() <= np.sqrt(2 / channels) * (1 + 1e-12)
    if channels & (channels - 1) == 0:
        np.testing.assert_allclose(np.abs(matrix), channels**-0.5, rtol=1e-12)
    # Each channel reaches two in three of all others: for 3 * 2^k the middle row of the DCT has one zero in three.
    assert (np.abs(matrix) > 1e-9).mean(1).min() > 0.66


def test_the_seed_draws_the_signs_and_nothing_else() -> None:
    first, second = rotation(96, 0), rotation(96, 1)
    assert np.array_equal(first, rotation(96, 0))
    assert not np.array_equal(first, second)
    assert np.array_equal(np.abs(first), np.abs(second))
    ratios = np.divide(second, first, out=np.ones_like(first), where=np.abs(first) > 1e-9)
    assert np.array_equal(np.abs(ratios), np.ones_like(ratios))
    assert (ratios.min(1) == ratios.max(1)).sum() >= 32


def test_a_stream_of_one_channel_as_text() -> None:
    # (1, 1): the rotation is a sign, -1 for seed 1.
    assert rotation(1, 1).tolist() == [[-1.0]]
    graph = graph_of("""
        %0 = input(name="x") : f32[1,1]
        %1 = const(data=[3.0]) : f32[1,1] loc "w"
        %2 = const(data=[5.0]) : f32[1] loc "b"
        %3 = linear(x=%0, weight=%1, bias=%2) : f32[1,1] loc "fc"
        %4 = rms_norm(x=%3, gamma=none, beta=none, eps=1e-06) : f32[1,1] loc "norm"
        %5 = const(data=[7.0]) : f32[1,1] loc "v"
        %6 = linear(x=%4, weight=%5, bias=%2) : f32[1,1] loc "head"
        return %6
    """)
    expect(
        check(graph, seed=1),
        """
        %0 = input(name="x") : f32[1,1]
        %1 = const(data=[-3.0]) : f32[1,1] loc "w"
        %2 = const(data=[-5.0]) : f32[1] loc "b"
        %3 = linear(x=%0, weight=%1, bias=%2) : f32[1,1] loc "fc"
        %4 = rms_norm(x=%3, gamma=none, beta=none, eps=1e-06) : f32[1,1] loc "norm"
        %5 = const(data=[-7.0]) : f32[1,1] loc "v"
        %6 = const(data=[5.0]) : f32[1] loc "b"
        %7 = linear(x=%4, weight=%5, bias=%6) : f32[1,1] loc "head"
        return %7
        """,
    )


def stream_values(graph: Graph) -> list[Array]:
    wanted = {op.x for op in norms(graph)}
    found: list[Array] = []
    run(graph, random_inputs(graph), lambda op, value: found.append(value) if op in wanted else None)
    return found


@pytest.mark.parametrize("tokens", [1, 2])
def test_no_channel_stands_out_after_the_rotation(tokens: int) -> None:
    graph = centred(vit(32, depth=3, tokens=tokens, outlier=30.0))
    result = check(graph)
    assert [type(op) for op in norms(result)] == [RmsNorm] * 7
    assert len(result.ops) == len(graph.ops)

    def crest(value: Array) -> float:
        """Largest channel (root mean square over everything else) against all channels."""
        power = np.square(value.astype(np.float64)).reshape(-1, value.shape[-1]).mean(0)
        return float(np.sqrt(power.max() / power.mean()))

    before, after = stream_values(graph)[1:], stream_values(result)[1:]
    assert min(map(crest, before)) > 3.5
    assert max(map(crest, after)) < 2.0
    for was, now in zip(before, after, strict=True):
        norm = np.linalg.norm(was, axis=-1)
        np.testing.assert_allclose(np.linalg.norm(now, axis=-1), norm, rtol=1e-4)


@SEARCH
@given(st.sampled_from([4, 6, 8, 12]), st.integers(0, 1000), st.integers(0, 3))
def test_same_numbers(channels: int, seed: int, rotation_seed: int) -> None:
    check(centred(vit(channels, depth=1, seed=seed)), seed=rotation_seed, tolerance=5e-5)


def test_two_streams_are_rotated_each_by_its_own_matrix() -> None:
    graph = centred(two_stages())
    result = check(graph)
    merge = next(op for op in graph.ops if isinstance(op, Linear) and op.loc == "merge")
    changed = next(op for op in result.ops if isinstance(op, Linear) and op.loc == "merge")
    # The layer between both reads one stream and writes the other.
    expected = rotation(12, 0).T @ merge.weight.data @ rotation(8, 0)
    np.testing.assert_allclose(changed.weight.data, expected, atol=1e-6)


def test_a_layer_norm_is_rejected_with_the_remedy() -> None:
    graph = centred(vit())
    norm = norms(graph)[0]
    mixed = graph.map(
        lambda op: LayerNorm(op.x, eps=op.eps, loc=op.loc) if isinstance(op, RmsNorm) and op.loc == norm.loc else op
    )
    assert print_graph(RotateResidual().run(mixed)) == print_graph(mixed)
    assert reasons(RotateResidual(), mixed) == [
        "layer_norm does not commute with a rotation: run `center-residual` first"
    ]


BUILD = Builder()


def test_an_extra_reader_keeps_the_stream_as_it_is() -> None:
    writer = BUILD.linear(Input("x", type=TensorType((1, 3, 4))), 4, "fc")
    norm = RmsNorm(writer, loc="norm")
    sliced = Slice(norm, (0, 0, 0), (1, 3, 2), (1, 1, 1), loc="half")
    for other in (Gelu(norm, loc="act"), sliced, ReduceMean(norm, (2,), loc="mean")):
        graph = Graph.of("g", [BUILD.linear(norm, 2, "head"), other])
        assert print_graph(RotateResidual().run(graph)) == print_graph(graph)
        (found,) = RotateResidual().why(graph)
        assert (found.op, found.loc) == (other.NAME, other.loc)
        assert found.reason == f"{other.NAME} reads the stream and mixes or changes its channels"
    exposed = Graph.of("g", [norm])
    assert reasons(RotateResidual(), exposed) == ["the stream is an output of the model"]


def test_a_linear_layer_that_reads_and_writes_one_stream() -> None:
    x: Op = BUILD.linear(Input("x", type=TensorType((1, 3, 8))), 8, "embed")
    for i in range(2):
        x = Add(x, BUILD.linear(RmsNorm(x), 8, f"mix.{i}"))
    check(Graph.of("g", [BUILD.linear(ReduceMean(RmsNorm(x), (1,)), 5, "head")]))


def test_a_constant_may_be_a_bias_and_a_value_of_the_stream() -> None:
    bias = BUILD.const(8)
    x = Linear(Input("x", type=TensorType((1, 3, 8))), BUILD.const(8, 8), bias)
    graph = Graph.of("g", [BUILD.linear(RmsNorm(Add(x, bias)), 5, "head")])
    result = check(graph)
    assert not np.array_equal(result.ops[1].data, graph.ops[1].data)
