from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from edgevit.errors import UsageError
from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.ops import Gelu, Input
from edgevit.ir.types import TensorType
from edgevit.passes import gelu_forms
from edgevit.passes.gelu_forms import FORMS, GeluForms
from tests.passes.helpers import expect, graph_of, names

GELUS = """
    %0 = input(name="x") : f32[1,4]
    %1 = gelu(x=%0, approximate="none") : f32[1,4] loc "blocks.0.mlp.act"
    %2 = gelu(x=%1, approximate="tanh") : f32[1,4] loc "blocks.1.mlp.act"
    return %2
"""


def test_sigmoid_form_as_text() -> None:
    graph = graph_of("""
        %0 = input(name="x") : f32[1,4]
        %1 = gelu(x=%0, approximate="none") : f32[1,4] loc "act"
        return %1
    """)
    expect(
        GeluForms().run(graph),
        """
        %0 = input(name="x") : f32[1,4]
        %1 = const(data=[1.7020000219345093]) : f32[] loc "act"
        %2 = mul(lhs=%0, rhs=%1) : f32[1,4] loc "act"
        %3 = sigmoid(x=%2) : f32[1,4] loc "act"
        %4 = mul(lhs=%0, rhs=%3) : f32[1,4] loc "act"
        return %4
        """,
    )


@pytest.mark.parametrize(
    ("form", "ops", "error", "place"),
    [
        ("sigmoid", 3, 0.020335, 2.27),
        ("cubic", 6, 0.0004735, 2.70),
        ("tanh", 8, 0.0004735, 2.70),
        ("relu6", 5, 0.068709, 1.763),
    ],
)
def test_largest_error_of_each_form(form: str, ops: int, error: float, place: float) -> None:
    """The figures of the docstring of ``gelu_forms``, within 1 percent."""
    values = np.linspace(-8, 8, 160_001).astype(np.float32)
    x = Input("x", type=TensorType(values.shape))
    graph = GeluForms(form).run(Graph.of("g", [Gelu(x)]))
    assert len(names(graph)) == ops
    (found,) = run(graph, [values[None]])
    errors = np.abs(found[0] - values * special.ndtr(values.astype(np.float64)))
    assert errors.max() == pytest.approx(error, rel=0.01)
    assert abs(values[errors.argmax()]) == pytest.approx(place, abs=0.01)
    assert gelu_forms.__doc__ is not None
    (row,) = (line for line in gelu_forms.__doc__.splitlines() if line.startswith(f"| ``{form}``"))
    _, _, count, largest, at, _ = row.split("|", 5)
    assert int(count) == ops
    assert float(largest) == pytest.approx(errors.max(), rel=0.001)
    assert float(at.replace("±", "")) == pytest.approx(place, abs=0.01)


def test_tanh_form_is_the_tanh_approximation() -> None:
    values = np.linspace(-6, 6, 1001).astype(np.float32)
    x = Input("x", type=TensorType(values.shape))
    graph = Graph.of("g", [Gelu(x, "tanh")])
    (exact,) = run(graph, [values[None]])
    for form in ("tanh", "cubic"):
        (found,) = run(GeluForms(form).run(graph), [values[None]])
        np.testing.assert_allclose(found, exact, rtol=0, atol=2e-6)


def test_a_form_for_a_place_wins_and_the_first_pattern_counts() -> None:
    item = GeluForms("sigmoid", (("blocks.1.*", "relu6"), ("*", "tanh")))
    assert names(item.run(graph_of(GELUS)))[:8].count("tanh") == 1
    assert names(item.run(graph_of(GELUS)))[8:] == ["mul", "add", "clip", "mul", "mul"]
    assert names(GeluForms("sigmoid", (("nowhere", "tanh"),)).run(graph_of(GELUS))) == ["mul", "sigmoid", "mul"] * 2


@pytest.mark.parametrize("form", FORMS)
def test_no_gelu_is_left_and_a_second_run_changes_nothing(form: str) -> None:
    item = GeluForms(form)
    once = item.run(graph_of(GELUS))
    assert "gelu" not in names(once)
    assert item.run(once) is once
    assert item.why(once) == ()


def test_an_unknown_form_names_the_known_ones() -> None:
    for build in (lambda: GeluForms("erf"), lambda: GeluForms("sigmoid", (("*", "erf"),))):
        with pytest.raises(UsageError) as caught:
            build()
        assert caught.value.what == "no GELU form 'erf'"
        assert caught.value.hint == "one of sigmoid, cubic, tanh, relu6"
