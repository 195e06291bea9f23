from __future__ import annotations

import pytest

from edgevit.passes.raise_gelu import RaiseGelu
from tests.passes.helpers import check_pass, expect, graph_of, names, reasons

PASS = RaiseGelu()
CONSTANTS = """
    %0 = input(name="x") : f32[3,4]
    %1 = const(data=[0.7071067811865476]) : f32[]
    %2 = const(data=[1.4142135623730951]) : f32[1]
    %3 = const(data=[0.5]) : f32[]
    %4 = const(data=[1.0]) : f32[1,1]
    %5 = const(data=[2.0]) : f32[]
    %6 = const(data=[3.0]) : f32[]
    %7 = const(data=[0.044715]) : f32[]
    %8 = const(data=[0.7978845608028654]) : f32[]
"""


def built(lines: str, shape: str = "3,4") -> str:
    """Statements ``name(a, b)``, one a line, numbered from %10 on; the last one is the output."""
    result = [CONSTANTS]
    statements = lines.split(";")
    for number, statement in enumerate(statements, start=10):
        name, _, arguments = statement.strip().partition(" ")
        operands = arguments.split()
        keys = ("lhs", "rhs") if len(operands) == 2 else ("x",)
        fields = ", ".join(f"{key}={value}" for key, value in zip(keys, operands, strict=True))
        result.append(f"%{number} = {name}({fields}) : f32[{shape}]")
    return "\n".join([*result, f"return %{9 + len(statements)}"])


@pytest.mark.parametrize(
    "lines",
    [
        # 0.5 * x * (1 + erf(x / sqrt(2))), x * 0.5 * (1.0 + erf(x * 0.7071...)), and other orders.
        "div %0 %2; erf %10; add %4 %11; mul %3 %0; mul %13 %12",
        "mul %0 %1; erf %10; add %11 %4; mul %0 %3; mul %13 %12",
        "mul %1 %0; erf %10; add %11 %4; mul %0 %12; mul %13 %3",
        "mul %0 %1; erf %10; add %11 %4; mul %12 %3; mul %0 %13",
        "mul %0 %1; erf %10; add %11 %4; mul %12 %0; div %13 %5",
        # x / 2 + x / 2 * erf(...), and 1 - erf(-...).
        "mul %0 %1; erf %10; mul %0 %3; mul %12 %11; add %12 %13",
        "mul %0 %1; erf %10; neg %11; sub %4 %12; mul %0 %3; mul %14 %11; add %15 %14",
    ],
)
def test_erf_forms(lines: str) -> None:
    expect(
        check_pass(PASS, graph_of(built(lines))),
        """
        %0 = input(name="x") : f32[3,4]
        %1 = gelu(x=%0, approximate="none") : f32[3,4]
        return %1
        """,
    )


@pytest.mark.parametrize(
    "lines",
    [
        # 0.5 * x * (1 + tanh(c * (x + 0.044715 * x**3)))
        "pow %0 %6; mul %10 %7; add %0 %11; mul %12 %8; tanh %13; add %14 %4; mul %0 %3; mul %16 %15",
        # with x * x * x, and with x * (1 + 0.044715 * x * x)
        "mul %0 %0; mul %10 %0; mul %7 %11; add %12 %0; mul %8 %13; tanh %14; add %4 %15; mul %0 %16; mul %17 %3",
        "mul %7 %0; mul %10 %0; add %11 %4; mul %0 %12; mul %13 %8; tanh %14; add %15 %4; mul %16 %3; mul %17 %0",
    ],
)
def test_tanh_forms(lines: str) -> None:
    expect(
        check_pass(PASS, graph_of(built(lines))),
        """
        %0 = input(name="x") : f32[3,4]
        %1 = gelu(x=%0, approximate="tanh") : f32[3,4]
        return %1
        """,
    )


def test_x_may_be_a_sum_of_its_own() -> None:
    lines = "add %0 %0; mul %10 %6; mul %11 %1; erf %12; add %13 %4; mul %11 %3; mul %15 %14"
    assert names(check_pass(PASS, graph_of(built(lines)))) == ["add", "mul", "gelu"]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("mul %0 %3; erf %10; add %11 %4; mul %0 %3; mul %13 %12", "the erf of 0.5 x, gelu has that of 0.707107 x"),
        ("mul %0 %1; erf %10; add %11 %4; mul %0 %12", "1 x + 1 x F, gelu is 0.5 x + 0.5 x F"),
        ("mul %0 %8; tanh %10; add %11 %4; mul %0 %3; mul %13 %12", "the tanh of 0.797885 x, gelu has that of"),
    ],
)
def test_why_a_formula_is_not_gelu(lines: str, reason: str) -> None:
    graph = graph_of(built(lines))
    assert check_pass(PASS, graph) is graph
    assert any(found.startswith(reason) for found in reasons(PASS, graph))


def test_tolerance_decides_how_far_a_constant_may_be_off() -> None:
    graph = graph_of(
        built("mul %0 %1; erf %10; add %11 %4; mul %0 %3; mul %13 %12").replace("0.70710678118", "0.70711678118")
    )
    assert names(check_pass(PASS, graph)) == ["gelu"]
    strict = RaiseGelu(tolerance=1e-6)
    assert strict.run(graph) is graph
    assert strict.spec() == "raise-gelu{tolerance=1e-06}"


def test_another_value_is_no_gelu() -> None:
    lines = "mul %0 %1; erf %10; add %11 %4; relu %0; mul %13 %3; mul %14 %12"
    graph = graph_of(built(lines))
    assert PASS.run(graph) is graph
