from __future__ import annotations

import pytest

from edgevit.passes.raise_layer_norm import RaiseLayerNorm
from tests.passes.helpers import check_pass, expect, graph_of, names, reasons

PASS = RaiseLayerNorm()
HEAD = """
    %0 = input(name="x") : f32[2,3,4]
    %1 = const(data=[0.001]) : f32[]
    %2 = const(data=[2.0]) : f32[]
    %3 = const(data=[1.0]) : f32[]
    %4 = const(data=[1.0, 2.0, 3.0, 4.0]) : f32[4]
    %5 = const(data=[0.5, 0.25, 0.0, -1.0]) : f32[1,1,4]
    %6 = const(data=[-0.5]) : f32[]
    %7 = const(data=[0.5]) : f32[]
    %8 = reduce_mean(x=%0, axes=[2], keepdims=true) : f32[2,3,1]
    %9 = sub(lhs=%0, rhs=%8) : f32[2,3,4]
"""
VARIANCES = {
    "pow": """
        %10 = pow(lhs=%9, rhs=%2) : f32[2,3,4]
        %11 = reduce_mean(x=%10, axes=[2], keepdims=true) : f32[2,3,1]
    """,
    "mul": """
        %10 = mul(lhs=%9, rhs=%9) : f32[2,3,4]
        %11 = reduce_mean(x=%10, axes=[2], keepdims=true) : f32[2,3,1]
    """,
    "again": """
        %12 = reduce_mean(x=%0, axes=[2], keepdims=false) : f32[2,3]
        %13 = reshape(x=%12, to=[2, 3, 1]) : f32[2,3,1]
        %14 = sub(lhs=%0, rhs=%8) : f32[2,3,4]
        %10 = mul(lhs=%14, rhs=%9) : f32[2,3,4]
        %11 = reduce_mean(x=%10, axes=[2], keepdims=true) : f32[2,3,1]
    """,
    "moments": """
        %10 = mul(lhs=%0, rhs=%0) : f32[2,3,4]
        %12 = reduce_mean(x=%10, axes=[2], keepdims=true) : f32[2,3,1]
        %13 = mul(lhs=%8, rhs=%8) : f32[2,3,1]
        %11 = sub(lhs=%12, rhs=%13) : f32[2,3,1]
    """,
}
ROOTS = {
    "div sqrt": "%21 = sqrt(x=%20) : f32[2,3,1]\n%22 = div(lhs=%9, rhs=%21) : f32[2,3,4]",
    "mul rsqrt": "%21 = rsqrt(x=%20) : f32[2,3,1]\n%22 = mul(lhs=%21, rhs=%9) : f32[2,3,4]",
    "mul pow": "%21 = pow(lhs=%20, rhs=%6) : f32[2,3,1]\n%22 = mul(lhs=%9, rhs=%21) : f32[2,3,4]",
    "div pow": "%21 = pow(lhs=%20, rhs=%7) : f32[2,3,1]\n%22 = div(lhs=%9, rhs=%21) : f32[2,3,4]",
    "inverse": """
        %23 = sqrt(x=%20) : f32[2,3,1]
        %21 = div(lhs=%3, rhs=%23) : f32[2,3,1]
        %22 = mul(lhs=%9, rhs=%21) : f32[2,3,4]
    """,
}
SUM = "%20 = add(lhs=%11, rhs=%1) : f32[2,3,1]"


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("root", ROOTS)
def test_forms(variance: str, root: str) -> None:
    graph = graph_of(f"{HEAD}{VARIANCES[variance]}{SUM}\n{ROOTS[root]}\nreturn %22")
    result = check_pass(PASS, graph, tolerance=1e-4 if variance == "moments" else 1e-5)
    assert names(result) == ["layer_norm"]


def test_scale_and_shift_are_taken_in() -> None:
    graph = graph_of(f"""
        {HEAD}{VARIANCES["pow"]}
        %20 = add(lhs=%1, rhs=%11) : f32[2,3,1]
        {ROOTS["mul rsqrt"]}
        %30 = mul(lhs=%4, rhs=%22) : f32[2,3,4] loc "norm"
        %31 = add(lhs=%30, rhs=%5) : f32[2,3,4] loc "norm"
        return %31
    """)
    expect(
        check_pass(PASS, graph),
        """
        %0 = input(name="x") : f32[2,3,4]
        %1 = const(data=[1.0, 2.0, 3.0, 4.0]) : f32[4]
        %2 = const(data=[0.5, 0.25, 0.0, -1.0]) : f32[4]
        %3 = layer_norm(x=%0, gamma=%1, beta=%2, eps=0.0010000000474974513) : f32[2,3,4] loc "norm"
        return %3
        """,
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ((SUM, "%20 = abs(x=%11) : f32[2,3,1]"), None),
        ((SUM, ""), "no eps is added to the variance"),
        (
            (SUM, "%20 = add(lhs=%11, rhs=%8) : f32[2,3,1]"),
            "the eps that is added to the variance is no constant number",
        ),
        (("[0.001]", "[0.0]"), "eps 0.0 is not positive"),
        (("axes=[2]", "axes=[1]"), "the mean goes over axes [1], layer_norm over the last, 2"),
    ],
)
def test_why_a_form_is_not_raised(change: tuple[str, str], reason: str | None) -> None:
    text = f"{HEAD}{VARIANCES['pow']}{SUM}\n{ROOTS['div sqrt']}\nreturn %22".replace(*change)
    text = text.replace("x=%20", "x=%11") if change == (SUM, "") else text
    text = text.replace("[2,3,1]", "[2,1,4]") if "axes" in change[0] else text
    graph = graph_of(text)
    assert PASS.run(graph) is graph
    assert reasons(PASS, graph) == ([] if reason is None else [reason])


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("%30 = mul(lhs=%22, rhs=%4) : f32[2,3,4]\nreturn %30, %22", "the layer_norm before it has 2 uses"),
        (
            "%29 = const(data=[1.0, 2.0, 3.0]) : f32[3,1]\n%30 = add(lhs=%22, rhs=%29) : f32[2,3,4]\nreturn %30",
            "its constant changes along axis 1, channels are on axis 2",
        ),
    ],
)
def test_why_an_affine_part_stays_outside(lines: str, reason: str) -> None:
    graph = graph_of(f"{HEAD}{VARIANCES['pow']}{SUM}\n{ROOTS['div sqrt']}\n{lines}")
    assert len(names(check_pass(PASS, graph))) == 2
    assert reasons(PASS, graph) == [reason]
