from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevit.ir import ops
from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Const, Conv2d, Input, Mul
from edgevit.ir.types import TensorType
from edgevit_coral.image_affine import ImageAffine
from tests.passes.helpers import check_pass, expect, graph_of, names, reasons

PASS = ImageAffine()
SHAPES = [(), (1,), (3,), (1, 1, 3), (1, 1, 1, 3), (1, 1, 1)]


def image(height: int = 3, channels: int = 3) -> Input:
    return Input("image", type=TensorType((1, height, 3, channels)))


def values(shape: tuple[int, ...], seed: int) -> Const:
    return Const(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def test_normalization_as_text() -> None:
    graph = graph_of("""
        %0 = input(name="image") : f32[1,4,4,3]
        %1 = const(data=[0.5, 0.25, 0.125]) : f32[3]
        %2 = mul(lhs=%0, rhs=%1) : f32[1,4,4,3]
        %3 = const(data=[-1.0]) : f32[1]
        %4 = add(lhs=%2, rhs=%3) : f32[1,4,4,3]
        return %4
    """)
    expect(
        check_pass(PASS, graph),
        """
        %0 = input(name="image") : f32[1,4,4,3]
        %1 = const(data=[0.5, 0.25, 0.125]) : f32[3,1,1,1]
        %2 = const(data=[-1.0, -1.0, -1.0]) : f32[3]
        %3 = conv2d(x=%0, weight=%1, bias=%2, stride=[1, 1], padding=[0, 0, 0, 0], dilation=[1, 1], groups=3) \
: f32[1,4,4,3] loc "normalize"
        return %3
        """,
    )


@settings(max_examples=60, deadline=None)
@given(st.none() | st.sampled_from(SHAPES), st.sampled_from(SHAPES), st.booleans(), st.booleans(), st.integers(0, 99))
def test_same_numbers(
    scale: tuple[int, ...] | None, shift: tuple[int, ...], scale_first: bool, shift_first: bool, seed: int
) -> None:
    value: Op = image()
    if scale is not None:
        factor = values(scale, seed)
        value = Mul(factor, value) if scale_first else Mul(value, factor)
    offset = values(shift, seed + 1)
    graph = Graph.of("g", [Add(offset, value) if shift_first else Add(value, offset)])
    result = check_pass(PASS, graph)
    assert names(result) == ["conv2d"]
    assert result.outputs[0].shape == graph.outputs[0].shape


def test_what_is_not_per_channel_is_rejected() -> None:
    rows, other = values((3, 1, 1), 0), image()
    computed = ops.ReduceMean(other, (1, 2))
    for output, reason in (
        (Add(Mul(other, rows), values((3,), 1)), "are not per channel"),
        (Add(other, values((1, 3, 3, 3), 1)), "are not per channel"),
        (Add(Mul(other, values((3,), 1)), computed), "scale or shift of the image is computed"),
    ):
        graph = Graph.of("g", [output])
        assert names(check_pass(PASS, graph)) == names(graph)
        (found,) = reasons(PASS, graph)
        assert found.endswith(reason)


def test_other_sums_are_none_of_its_business() -> None:
    conv = Conv2d(image(), values((3, 1, 1, 3), 0))
    graph = Graph.of("g", [Add(conv, values((3,), 1)), ops.Relu(conv)])
    assert PASS.run(graph) is graph
    assert PASS.why(graph) == ()
