from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.errors import UsageError
from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.ops import Input, LayerNorm, Linear, RmsNorm
from edgevit.ir.types import TensorType
from edgevit.passes.center_residual import CenterResidual
from edgevit.passes.norm_forms import FORMS, NormForms, centring_matrix
from tests.passes.helpers import SEARCH, check_pass, expect, graph_of, names, reasons

FORM_OPS = {
    ("layer_norm", "mean"): ["reduce_mean", "sub", "mul", "reduce_mean", "rsqrt", "mul"],
    ("layer_norm", "rms"): ["reduce_mean", "sub", "mul", "reduce_mean", "rsqrt", "mul"],
    ("layer_norm", "l2"): ["linear", "l2_normalize", "mul"],
    ("rms_norm", "mean"): ["mul", "reduce_mean", "rsqrt", "mul"],
    ("rms_norm", "rms"): ["mul", "reduce_mean", "rsqrt", "mul"],
    ("rms_norm", "l2"): ["l2_normalize", "mul"],
}


def test_l2_form_of_a_layer_norm_as_text() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[3,2]
        %1 = layer_norm(x=%0, gamma=none, beta=none, eps=1e-05) : f32[3,2] loc "norm"
        return %1
    """)
    expect(
        NormForms("l2").run(graph),
        """
        %0 = input(name="x") : f32[3,2]
        %1 = const(data=[0.5, -0.5, -0.5, 0.5]) : f32[2,2]
        %2 = linear(x=%0, weight=%1, bias=none) : f32[3,2] loc "norm"
        %3 = l2_normalize(x=%2, eps=1e-12) : f32[3,2] loc "norm"
        %4 = const(data=[1.4142135381698608]) : f32[] loc "norm"
        %5 = mul(lhs=%3, rhs=%4) : f32[3,2] loc "norm"
        return %5
        """,
    )


@pytest.mark.parametrize(("norm", "form"), FORM_OPS)
def test_ops_of_each_form(norm: str, form: str) -> None:
    cls = {"layer_norm": LayerNorm, "rms_norm": RmsNorm}[norm]
    graph = Graph.of("g", [cls(Input("x", type=TensorType((4, 8))), eps=1e-12)])
    assert names(check_pass(NormForms(form), graph)) == FORM_OPS[norm, form]


@SEARCH
@given(
    st.sampled_from([LayerNorm, RmsNorm]),
    st.sampled_from(FORMS),
    st.integers(2, 40),
    st.integers(0, 99),
    st.floats(-3, 3),
)
def test_forms_differ_from_the_norm_by_eps_alone(
    cls: type[LayerNorm] | type[RmsNorm], form: str, channels: int, seed: int, mean: float
) -> None:
    eps = 1e-3
    graph = Graph.of("g", [cls(Input("x", type=TensorType((channels,))), eps=eps)])
    x = np.random.default_rng(seed).standard_normal((3, channels)).astype(np.float32) + np.float32(mean)
    (exact,), (found,) = run(graph, [x]), run(NormForms(form).run(graph), [x])
    wide = x.astype(np.float64)
    variance = (wide.var(-1) if cls is LayerNorm else np.square(wide).mean(-1))[:, None]
    # sqrt(1 + eps / v) <= 1 + eps / 2v; rounding of the mean counts against a small deviation.
    allowed = eps / (2 * variance) * np.abs(found) + 1e-5 * (1 + abs(mean) / np.sqrt(variance)) * np.abs(found).max()
    assert (np.abs(found - exact) <= allowed).all()


def test_a_constant_row_is_zero_in_the_l2_form() -> None:
    graph = Graph.of("g", [RmsNorm(Input("x", type=TensorType((4,))))])
    (found,) = run(NormForms("l2").run(graph), [np.zeros((1, 4), np.float32)])
    assert not found.any()


@pytest.mark.parametrize("channels", [1, 2, 3, 192])
def test_centring_matrix_takes_the_mean_away(channels: int) -> None:
    matrix = centring_matrix(channels).astype(np.float64)
    assert np.array_equal(matrix, matrix.T)
    np.testing.assert_allclose(matrix.sum(0), 0, atol=1e-6)
    np.testing.assert_allclose(matrix @ matrix, matrix, atol=1e-6)
    np.testing.assert_allclose(matrix, CenterResidual().matrix(channels), atol=1e-7)


def test_affine_norms_are_rejected_with_the_remedy() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[3,2]
        %1 = const(data=[1.0, 2.0]) : f32[2]
        %2 = layer_norm(x=%0, gamma=%1, beta=%1, eps=1e-05) : f32[3,2]
        return %2
    """)
    assert NormForms().run(graph) is graph
    assert reasons(NormForms(), graph) == ["still has gamma and beta: run `norm-affine` first"]


def test_a_form_for_a_place_wins() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[3,2]
        %1 = rms_norm(x=%0, gamma=none, beta=none, eps=1e-05) : f32[3,2] loc "blocks.0.norm1"
        %2 = rms_norm(x=%1, gamma=none, beta=none, eps=1e-05) : f32[3,2] loc "norm"
        return %2
    """)
    found = NormForms("l2", (("blocks.*", "rms"),)).run(graph)
    assert names(found) == ["mul", "reduce_mean", "rsqrt", "mul", "l2_normalize", "mul"]
    assert not any(isinstance(op, Linear) for op in found.ops)


def test_an_unknown_form_names_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        NormForms("fast")
    assert caught.value.what == "no normalization form 'fast'"
    assert caught.value.hint == "one of mean, rms, l2"
