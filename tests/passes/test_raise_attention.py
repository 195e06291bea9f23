from __future__ import annotations

import pytest

from edgevit.passes.raise_attention import RaiseAttention
from tests.passes.helpers import check_pass, expect, graph_of, names, reasons

PASS = RaiseAttention()
HEAD = """
    %0 = input(name="q") : f32[2,5,4]
    %1 = input(name="k") : f32[2,3,4]
    %2 = input(name="v") : f32[2,3,6]
    %3 = input(name="mask") : f32[5,3]
    %4 = const(data=[0.5]) : f32[]
    %5 = transpose(x=%1, perm=[0, 2, 1]) : f32[2,4,3]
"""
TAIL = "%30 = softmax(x=%29) : f32[2,5,3]\n%31 = matmul(lhs=%30, rhs=%2) : f32[2,5,6]\nreturn %31"


def attention(scores: str) -> str:
    return f"{HEAD}{scores}\n{TAIL}"


@pytest.mark.parametrize(
    ("scores", "mask", "scale"),
    [
        ("%29 = matmul(lhs=%0, rhs=%5) : f32[2,5,3]", "none", 1.0),
        ("%28 = matmul(lhs=%0, rhs=%5) : f32[2,5,3]\n%29 = mul(lhs=%28, rhs=%4) : f32[2,5,3]", "none", 0.5),
        ("%28 = matmul(lhs=%0, rhs=%5) : f32[2,5,3]\n%29 = div(lhs=%28, rhs=%4) : f32[2,5,3]", "none", 2.0),
        ("%28 = mul(lhs=%4, rhs=%0) : f32[2,5,4]\n%29 = matmul(lhs=%28, rhs=%5) : f32[2,5,3]", "none", 0.5),
        ("%28 = mul(lhs=%5, rhs=%4) : f32[2,4,3]\n%29 = matmul(lhs=%0, rhs=%28) : f32[2,5,3]", "none", 0.5),
        (
            """
            %27 = matmul(lhs=%0, rhs=%5) : f32[2,5,3]
            %28 = mul(lhs=%27, rhs=%4) : f32[2,5,3]
            %29 = add(lhs=%3, rhs=%28) : f32[2,5,3]
            """,
            "%3",
            0.5,
        ),
    ],
)
def test_forms(scores: str, mask: str, scale: float) -> None:
    expect(
        check_pass(PASS, graph_of(attention(scores))),
        f"""
        %0 = input(name="q") : f32[2,5,4]
        %1 = input(name="k") : f32[2,3,4]
        %2 = input(name="v") : f32[2,3,6]
        %3 = input(name="mask") : f32[5,3]
        %4 = transpose(x=%1, perm=[0, 2, 1]) : f32[2,4,3]
        %5 = transpose(x=%4, perm=[0, 2, 1]) : f32[2,3,4]
        %6 = attention(q=%0, k=%5, v=%2, mask={mask}, scale={scale}) : f32[2,5,6]
        return %6
        """,
    )


def test_two_masks_are_added_up() -> None:
    scores = """
        %27 = matmul(lhs=%0, rhs=%5) : f32[2,5,3]
        %28 = add(lhs=%27, rhs=%3) : f32[2,5,3]
        %29 = add(lhs=%28, rhs=%3) : f32[2,5,3]
    """
    assert names(check_pass(PASS, graph_of(attention(scores)))) == ["transpose", "transpose", "add", "attention"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (attention("%29 = matmul(lhs=%0, rhs=%5) : f32[2,5,3]") + ", %30", "the softmax before it has 2 uses"),
        (
            attention("%28 = matmul(lhs=%0, rhs=%5) : f32[2,5,3]\n%29 = relu(x=%28) : f32[2,5,3]"),
            "its softmax is of relu, not of a matmul",
        ),
        (
            attention("""
                %27 = matmul(lhs=%0, rhs=%5) : f32[2,5,3]
                %28 = add(lhs=%27, rhs=%3) : f32[2,5,3]
                %29 = mul(lhs=%28, rhs=%4) : f32[2,5,3]
            """),
            "the scores are scaled after the mask",
        ),
        (
            attention(
                "%28 = relu(x=%3) : f32[5,3]\n%27 = broadcast(x=%28, to=[2, 5, 3]) : f32[2,5,3]\n"
                "%29 = add(lhs=%27, rhs=%3) : f32[2,5,3]"
            ),
            "neither side of the add before its softmax is a matmul",
        ),
        (
            attention("%28 = matmul(lhs=%0, rhs=%5) : f32[2,5,3]\n%29 = add(lhs=%28, rhs=%3) : f32[2,5,3]")
            .replace("f32[2,5,3]", "f32[1,5,3]")
            .replace("f32[2,5,4]", "f32[1,5,4]")
            .replace('"k") : f32[2,3,4]', '"k") : f32[1,3,4]')
            .replace("f32[2,4,3]", "f32[1,4,3]"),
            "the leading axes of q are [1], those of the result [2]",
        ),
    ],
)
def test_why_a_form_is_not_raised(text: str, reason: str) -> None:
    graph = graph_of(text)
    assert check_pass(PASS, graph) is graph
    assert reasons(PASS, graph) == [reason]
