from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgevit.ir.graph import Graph
from edgevit.ir.ops import Const, Input, LayerNorm, RmsNorm
from edgevit.ir.types import TensorType
from edgevit.passes.norm_affine import NormAffine
from tests.passes.helpers import SEARCH, check_pass, expect, graph_of, names

PASS = NormAffine()


def test_affine_as_text() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,3,2]
        %1 = const(data=[1.0, 2.0]) : f32[2]
        %2 = const(data=[3.0, 4.0]) : f32[2]
        %3 = layer_norm(x=%0, gamma=%1, beta=%2, eps=1e-06) : f32[1,3,2] loc "norm1"
        return %3
    """)
    expect(
        check_pass(PASS, graph),
        """
        %0 = input(name="x") : f32[1,3,2]
        %1 = layer_norm(x=%0, gamma=none, beta=none, eps=1e-06) : f32[1,3,2] loc "norm1"
        %2 = const(data=[1.0, 2.0]) : f32[2]
        %3 = mul(lhs=%1, rhs=%2) : f32[1,3,2] loc "norm1"
        %4 = const(data=[3.0, 4.0]) : f32[2]
        %5 = add(lhs=%3, rhs=%4) : f32[1,3,2] loc "norm1"
        return %5
        """,
    )


@SEARCH
@given(st.sampled_from([LayerNorm, RmsNorm]), st.integers(1, 9), st.integers(0, 99), st.booleans())
def test_same_numbers(cls: type[LayerNorm] | type[RmsNorm], channels: int, seed: int, affine: bool) -> None:
    rng = np.random.default_rng(seed)
    gamma, beta = (Const(rng.standard_normal(channels).astype(np.float32)) for _ in range(2))
    x = Input("x", type=TensorType((2, channels)))
    graph = Graph.of("g", [cls(x, gamma, beta) if affine else cls(x)])
    assert names(check_pass(PASS, graph)) == ([cls.NAME, "mul", "add"] if affine else [cls.NAME])


def test_other_norms_are_none_of_its_business() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,3,2]
        %1 = const(data=[1.0, 2.0]) : f32[2]
        %2 = group_norm(x=%0, gamma=%1, beta=%1, groups=1, eps=1e-05) : f32[1,3,2]
        %3 = layer_norm(x=%2, gamma=none, beta=none, eps=1e-05) : f32[1,3,2]
        return %3
    """)
    assert PASS.run(graph) is graph
    assert PASS.why(graph) == ()
