from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevit.passes.fold_constants import FoldConstants
from tests.passes.helpers import SEARCH, check_pass, constants, expect, graph_of, names, reasons

PASS = FoldConstants()


def test_constants_alone_are_evaluated() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,2]
        %1 = const(data=[1.0, 4.0]) : f32[2]
        %2 = sqrt(x=%1) : f32[2] loc "model.scale"
        %3 = reshape(x=%2, to=[1, 2]) : f32[1,2] loc "model.view"
        %4 = maximum(lhs=%0, rhs=%3) : f32[1,2]
        return %4
    """)
    expect(
        check_pass(PASS, graph),
        """
        %0 = input(name="x") : f32[1,2]
        %1 = const(data=[1.0, 2.0]) : f32[1,2] loc "model.view"
        %2 = maximum(lhs=%0, rhs=%1) : f32[1,2]
        return %2
        """,
    )


def test_a_large_broadcast_stays_an_op() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[100,100]
        %1 = const(data=[1.0, 4.0, 2.0, 3.0]) : f32[4,1,1]
        %2 = broadcast(x=%1, to=[4, 100, 100]) : f32[4,100,100]
        %3 = maximum(lhs=%0, rhs=%2) : f32[4,100,100]
        return %3
    """)
    assert names(check_pass(PASS, graph)) == ["broadcast", "maximum"]
    assert reasons(PASS, graph) == ["its result has 40000 elements, its constants 4; max_elements is 4096"]
    assert names(check_pass(FoldConstants(max_elements=40000), graph)) == ["maximum"]


@pytest.mark.parametrize(
    "line",
    [
        "add(lhs=%0, rhs=%1) : f32[1,4,4]",
        "add(lhs=%1, rhs=%0) : f32[1,4,4]",
        "sub(lhs=%0, rhs=%1) : f32[1,4,4]",
        "mul(lhs=%0, rhs=%2) : f32[1,4,4]",
        "mul(lhs=%2, rhs=%0) : f32[1,4,4]",
        "div(lhs=%0, rhs=%2) : f32[1,4,4]",
        "pow(lhs=%0, rhs=%2) : f32[1,4,4]",
        "reshape(x=%0, to=[1, 4, 4]) : f32[1,4,4]",
        "broadcast(x=%0, to=[1, 4, 4]) : f32[1,4,4]",
        "transpose(x=%0, perm=[0, 1, 2]) : f32[1,4,4]",
        "slice(x=%0, start=[0, 0, 0], stop=[1, 4, 4], step=[1, 1, 1]) : f32[1,4,4]",
        'pad(x=%0, low=[0, 0, 0], high=[0, 0, 0], mode="constant", value=1.0) : f32[1,4,4]',
        "concat(xs=[%0], axis=1) : f32[1,4,4]",
    ],
)
def test_identities_vanish(line: str) -> None:
    graph = graph_of(f"""
        %0 = input(name="x") : f32[1,4,4]
        %1 = const(data=[0.0]) : f32[1]
        %2 = const(data=[1.0]) : f32[]
        %3 = {line}
        return %3
    """)
    expect(check_pass(PASS, graph), '%0 = input(name="x") : f32[1,4,4]\nreturn %0')


@pytest.mark.parametrize(
    "line",
    [
        "sub(lhs=%1, rhs=%0) : f32[1,4,4]",
        "div(lhs=%2, rhs=%0) : f32[1,4,4]",
        "transpose(x=%0, perm=[0, 2, 1]) : f32[1,4,4]",
        "slice(x=%0, start=[0, 0, 0], stop=[1, 4, 4], step=[1, 2, 1]) : f32[1,2,4]",
        "concat(xs=[%0, %0], axis=1) : f32[1,8,4]",
    ],
)
def test_near_identities_stay(line: str) -> None:
    graph = graph_of(f"""
        %0 = input(name="x") : f32[1,4,4]
        %1 = const(data=[0.0]) : f32[1]
        %2 = const(data=[1.0]) : f32[]
        %3 = {line}
        return %3
    """)
    assert len(names(check_pass(PASS, graph))) == 1


def test_an_identity_that_broadcasts_stays() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,4]
        %1 = const(data=[0.0, 0.0]) : f32[2,1]
        %2 = add(lhs=%0, rhs=%1) : f32[2,4]
        return %2
    """)
    assert names(check_pass(PASS, graph)) == ["add"]
    assert reasons(PASS, graph) == ["it changes no number but broadcasts [1, 4] to [2, 4]"]


def test_subtraction_and_division_merge_with_their_neighbours() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,2]
        %1 = const(data=[2.0, 4.0]) : f32[2]
        %2 = const(data=[0.5]) : f32[1]
        %3 = div(lhs=%0, rhs=%1) : f32[1,2]
        %4 = mul(lhs=%2, rhs=%3) : f32[1,2]
        %5 = sub(lhs=%4, rhs=%1) : f32[1,2]
        %6 = add(lhs=%5, rhs=%2) : f32[1,2]
        return %6
    """)
    expect(
        check_pass(PASS, graph),
        """
        %0 = input(name="x") : f32[1,2]
        %1 = const(data=[0.25, 0.125]) : f32[2]
        %2 = mul(lhs=%0, rhs=%1) : f32[1,2]
        %3 = const(data=[-1.5, -3.5]) : f32[2]
        %4 = add(lhs=%2, rhs=%3) : f32[1,2]
        return %4
        """,
    )


@pytest.mark.parametrize(
    ("divisor", "reason"),
    [(0.0, "it divides by zero"), (1e-40, "the inverse of its divisor overflows single precision")],
)
def test_a_division_without_an_inverse_stays(divisor: float, reason: str) -> None:
    graph = graph_of(f"""
        %0 = input(name="x") : f32[1,2]
        %1 = const(data=[1.0, {divisor}]) : f32[2]
        %2 = div(lhs=%0, rhs=%1) : f32[1,2]
        return %2
    """)
    assert names(PASS.run(graph)) == ["div"]
    assert reasons(PASS, graph) == [reason]


def test_a_shared_product_is_not_merged() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,2]
        %1 = const(data=[2.0]) : f32[1]
        %2 = mul(lhs=%0, rhs=%1) : f32[1,2]
        %3 = mul(lhs=%2, rhs=%1) : f32[1,2]
        return %2, %3
    """)
    assert names(check_pass(PASS, graph)) == ["mul", "mul"]
    assert reasons(PASS, graph) == ["the mul before it has 2 uses"]


def test_two_constants_that_are_larger_together_are_not_merged() -> None:
    row, column = np.ones((1, 80), np.float32) * 2, np.ones((80, 1), np.float32) * 3
    graph = graph_of(
        """
        %0 = input(name="x") : f32[80,80]
        %1 = const(data=@row) : f32[1,80]
        %2 = const(data=@column) : f32[80,1]
        %3 = mul(lhs=%0, rhs=%1) : f32[80,80]
        %4 = mul(lhs=%3, rhs=%2) : f32[80,80]
        return %4
        """,
        row=row,
        column=column,
    )
    assert names(check_pass(PASS, graph)) == ["mul", "mul"]
    assert reasons(PASS, graph) == ["the merged constant has 6400 elements, the two have 160"]


def test_a_product_of_constants_that_overflows_is_not_merged() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1]
        %1 = const(data=[1e+30]) : f32[1]
        %2 = mul(lhs=%0, rhs=%1) : f32[1]
        %3 = mul(lhs=%2, rhs=%1) : f32[1]
        return %3
    """)
    assert names(PASS.run(graph)) == ["mul", "mul"]
    assert reasons(PASS, graph) == ["the merged constant overflows single precision"]


number = st.floats(-4, 4, width=32).filter(lambda value: abs(value) > 0.25)
step = st.tuples(st.sampled_from(["add", "sub", "mul", "div"]), st.lists(number, min_size=3, max_size=3), st.booleans())


@SEARCH
@given(st.lists(step, min_size=1, max_size=5), st.integers(0, 99))
def test_arithmetic_with_constants_keeps_its_meaning(steps: list[tuple[str, list[float], bool]], seed: int) -> None:
    lines = ['%0 = input(name="x") : f32[2,3]']
    value = "%0"
    for i, (name, values, constant_left) in enumerate(steps):
        lines.append(f"%{2 * i + 1} = const(data={values}) : f32[3]")
        # x is not divided by: it may be close to zero.
        operands = (f"%{2 * i + 1}", value) if constant_left and name != "div" else (value, f"%{2 * i + 1}")
        value = f"%{2 * i + 2}"
        lines.append(f"{value} = {name}(lhs={operands[0]}, rhs={operands[1]}) : f32[2,3]")
    graph = graph_of("\n".join([*lines, f"return {value}"]))
    result = check_pass(PASS, graph, seed=seed)
    assert len(names(result)) <= len(steps)
    assert all(array.dtype == np.float32 for array in constants(result))
    assert "div" not in names(result)
