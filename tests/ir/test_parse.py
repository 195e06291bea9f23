from __future__ import annotations

import numpy as np
import pytest

from edgevit.errors import IRError
from edgevit.ir.graph import Form
from edgevit.ir.ops import Const
from edgevit.ir.parse import parse_graph
from edgevit.ir.types import Array, Dyadic, Quant

X = '%0 = input(name="x") : f32[1,4]'


def refused(lines: str, **arrays: Array) -> tuple[str, str]:
    """The first line of the message, and the text from the mark on in the offending line."""
    with pytest.raises(IRError) as caught:
        parse_graph(f"graph @g form=float\n{lines}", arrays)
    what = caught.value.what.splitlines()
    assert len(what) == 3, f"no line or no mark in {what}"
    assert what[2].endswith("^")
    return what[0], what[1][what[2].index("^") :]


@pytest.mark.parametrize(
    ("line", "message", "marked"),
    [
        ("%1 = relu(x=%7) : f32[1,4]", "line 3: %7 is not defined above", "%7) : f32[1,4]"),
        ("%1 = rela(x=%0) : f32[1,4]", "line 3: unknown op 'rela'", "rela(x=%0) : f32[1,4]"),
        ("%1 = relu(y=%0) : f32[1,4]", "line 3: relu: field 'y' is none of x", "y=%0) : f32[1,4]"),
        ("%1 = relu(x=%0, x=%0) : f32[1,4]", "line 3: relu: field 'x' stands twice", "x=%0) : f32[1,4]"),
        ("%1 = relu(x=3) : f32[1,4]", "line 3: relu: this cannot be its x", "3) : f32[1,4]"),
        ("%1 = relu(x=none) : f32[1,4]", "line 3: relu: this cannot be its x", "none) : f32[1,4]"),
        ("%1 = clip(x=%0, lo=true, hi=1) : f32[4]", "line 3: clip: this cannot be its lo", "true, hi=1) : f32[4]"),
        ("%1 = reshape(x=%0, to=[2.5]) : f32[4]", "line 3: reshape: this cannot be its to", "[2.5]) : f32[4]"),
        ("%1 = reshape(x=%0, to=[[4]]) : f32[4]", "line 3: unexpected '['", "[4]]) : f32[4]"),
        ("%1 = relu() : f32[1,4]", "line 3: relu: ", "relu() : f32[1,4]"),
        ("%1 = relu(x=%0) : f33[1,4]", "line 3: unknown element type 'f33'", "f33[1,4]"),
        ("%1 = relu(x=%0) : f32[1.5]", "line 3: expected an integer, found '1.5'", "1.5]"),
        ("%1 = relu(x=%0)", "line 3: expected ':', found 'the end of the line'", ""),
        ("%1 = relu(x=%0) : f32[1,4] trailing", "line 3: unexpected text", "trailing"),
        ("%1 = relu(x=%0 $) : f32[1,4]", "line 3: unexpected character", "$) : f32[1,4]"),
        ("%0 = relu(x=%0) : f32[1,4]", "line 3: %0 is defined twice", "%0 = relu(x=%0) : f32[1,4]"),
        ("relu(x=%0) : f32[1,4]", "line 3: expected a value, found 'relu'", "relu(x=%0) : f32[1,4]"),
        ("%1 = const(data=@abc) : f32[9]", "line 3: @abc is not among the resources", "@abc) : f32[9]"),
        ("%1 = const(data=[1, 2]) : f32[3]", "line 3: 2 values for 3 elements", "const(data=[1, 2]) : f32[3]"),
        ("%1 = const(data=[300]) : i8[1]", "line 3: data outside of i8", "const(data=[300]) : i8[1]"),
        ("%1 = const(data=[1.5]) : i8[1]", "line 3: data outside of i8", "const(data=[1.5]) : i8[1]"),
        ("%1 = const(data=[%0]) : f32[1]", "line 3: data of something else", "const(data=[%0]) : f32[1]"),
        ('%1 = input(name="\\x") : f32[1]', "line 3: no string: Invalid \\escape", '"\\x") : f32[1]'),
        ("%1 = relu(x=%0) : i8[4] q(0:0)", "line 3: a scale must be positive and finite", "(0:0)"),
        ("%1 = relu(x=%0) : i8[4] q(1:0, 1:0)", "line 3: a per-tensor grid has one scale, got 2", "(1:0, 1:0)"),
        ("%1 = relu(x=%0) : i8[4] q(1:0.5)", "line 3: expected an integer, found '0.5'", "0.5)"),
        ("%1 = relu(x=%0) : i8[4] q(@t, axis 0)", "line 3: a grid table of shape [4]", "@t, axis 0)"),
        ("return %0, %3", "line 3: %3 is not defined above", "%3"),
        ("return %0\nreturn %0", "line 4: text after the `return` line", "return %0"),
    ],
)
def test_what_the_grammar_does_not_allow_is_marked(line: str, message: str, marked: str) -> None:
    what, rest = refused(f"  {X}\n  {line}\n", t=np.zeros(4))
    assert what.startswith(message)
    assert rest == marked


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty text"),
        ("\n \n", "empty text"),
        ("grph @g form=float", "line 1: expected `graph @name form"),
        ("\ngraph @g form=floating\n", "line 2: unknown form 'floating'"),
        ('graph @"\\x" form=float\n', "line 1: the name is no string"),
        (f"graph @g form=float\n{X}\n", "the graph has no `return` line"),
    ],
)
def test_text_that_is_no_graph_is_refused(text: str, message: str) -> None:
    with pytest.raises(IRError) as caught:
        parse_graph(text)
    assert caught.value.what.startswith(message)


def test_an_unknown_form_names_the_known_ones() -> None:
    with pytest.raises(IRError) as caught:
        parse_graph("graph @g form=int\n")
    assert caught.value.hint == "one of float, calibrated, quantized, integer, target"


def test_blank_lines_and_indentation_do_not_matter() -> None:
    graph = parse_graph(f"\n  graph @g form=calibrated\n\n{X}\n\n\n\treturn %0\n")
    assert (graph.name, graph.form, len(graph.ops)) == ("g", Form.CALIBRATED, 1)


def test_special_numbers_and_escapes() -> None:
    graph = parse_graph(
        "graph @g form=float\n"
        '  %0 = const(data=[inf, -inf, nan, -0.0, 1e-05, 3]) : f32[2,3] loc "a \\"b\\" \\u2028"\n  return %0\n'
    )
    (op,) = graph.ops
    assert isinstance(op, Const)
    expected = np.array([[np.inf, -np.inf, np.nan], [-0.0, 1e-05, 3]], np.float32)
    assert op.data.tobytes() == expected.tobytes()
    assert op.loc == 'a "b" \u2028'


def test_grids_are_read_as_they_stand() -> None:
    table = np.array([[0.5] * 9, range(9)], np.float64)
    graph = parse_graph(
        'graph @g form=float\n  %0 = input(name="a") : i8[2] q(0.5:-3, 7p-9:4, axis 0)\n'
        '  %1 = input(name="b") : i8[9] q(@t, axis 0)\n  return %0, %1\n',
        {"t": table},
    )
    first, second = graph.ops
    assert first.type.quant == Quant((0.5, Dyadic(7, 9)), (-3, 4), 0)
    assert second.type.quant == Quant((0.5,) * 9, tuple(range(9)), 0)
