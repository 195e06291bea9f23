"""Every ``int.*`` op prints and parses back, and means the same afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.errors import IRError
from edgevit.integer import ops
from edgevit.integer.forms import SETS
from edgevit.ir import ops as core
from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.op import REGISTRY, same_attributes
from edgevit.ir.parse import parse_graph
from edgevit.ir.text import print_graph, resources
from edgevit.ir.verify import verify
from tests.integer.lowered import grid, integer_vit, lower_op, value
from tests.quant.graphs import pictures

TABLE = core.Silu(value(grid(1, 4)), type=grid(1, 4, scale=1 / 32))
RELU = core.Relu(value(grid(1, 4)), type=grid(1, 4, scale=1 / 32, zero_point=-128))


def graphs() -> dict[str, Graph]:
    found = {name: integer_vit(forms) for name, forms in SETS.items()}
    return found | {"table": lower_op(TABLE), "requantize": lower_op(RELU)}


@pytest.mark.parametrize("name", [*SETS, "table", "requantize"])
def test_a_graph_comes_back_from_its_text(name: str) -> None:
    graph = graphs()[name]
    text = print_graph(graph)
    back = parse_graph(text, resources(graph))
    verify(back)
    assert print_graph(back) == text
    assert all(same_attributes(a, b) and a.type == b.type for a, b in zip(graph.ops, back.ops, strict=True))
    if name in SETS:
        images = pictures(3)[:, None]
        assert np.array_equal(run(graph, [images])[0], run(back, [images])[0])


def test_the_graphs_above_hold_every_op_class_of_the_dialect() -> None:
    seen = {type(op) for graph in graphs().values() for op in graph.ops}
    assert set(ops.INTEGER_OPS) <= seen
    assert {cls.NAME for cls in ops.INTEGER_OPS} == {name for name in REGISTRY if name.startswith("int.")}


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('form="table", params=[65', 'form="none", params=[65', "no form 'none'"),
        ("params=[65", "params=[1, 65", "left over"),
        ("multipliers=[", "multipliers=[7, ", "2 multipliers and 1 shifts"),
        ("shifts=[31]", "shifts=[63]", "no multiplier"),
        ("limits=[-128, 127]", "limits=[-129, 127]", "outside of i8"),
    ],
)
def test_damaged_numbers_are_refused_by_the_verifier(old: str, new: str, what: str) -> None:
    x = value(grid(2, 65))
    moved = core.Quantize(x, type=grid(2, 65))
    graph = lower_op(core.Softmax(core.Quantize(moved, type=grid(2, 65, scale=1 / 15)), type=grid(2, 65)))
    text = print_graph(graph)
    assert text.count(old) == 1
    damaged = parse_graph(text.replace(old, new), resources(graph))
    with pytest.raises(IRError, match=what):
        verify(damaged)
