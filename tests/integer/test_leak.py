"""The float-leak check finds nothing in lowered graphs and everything that is put into one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgevit.integer.forms import SETS
from edgevit.integer.leak import Leak, find_leaks
from edgevit.ir import ops as core
from edgevit.ir.graph import Form, Graph
from edgevit.ir.op import Op
from edgevit.ir.types import DType, Quant, TensorType
from tests.integer.lowered import exact_grid, grid, integer_vit, quantized_vit, value


@pytest.mark.parametrize("name", SETS)
def test_lowered_graphs_have_no_leak(name: str) -> None:
    assert find_leaks(integer_vit(SETS[name])) == []


def test_a_quantized_graph_leaks_everywhere() -> None:
    graph = quantized_vit()
    computing = [op for op in graph.ops if not isinstance(op, (core.Const, core.Input, *core.LAYOUT_OPS))]
    foreign = [leak for leak in find_leaks(graph) if leak.what == "no op of the integer form"]
    assert [(leak.loc, leak.op) for leak in foreign] == [(op.loc, op.NAME) for op in computing]


X = value(exact_grid(1, 4))


@pytest.mark.parametrize(
    ("op", "what"),
    [
        (core.Dequantize(X, type=TensorType((1, 4)), loc="head"), ["a float tensor", "no op of the integer form"]),
        (core.Reshape(X, (4,), type=grid(4), loc="head"), ["a float scale"]),
        (core.Pad(X, (0, 1), (0, 0), value=0.5, type=exact_grid(1, 5), loc="head"), ["a float in value"]),
        (core.Relu(X, type=exact_grid(1, 4), loc="head"), ["no op of the integer form"]),
        (core.Const(np.ones(3, np.float32), loc="head"), ["a float tensor", "a float in data"]),
    ],
)
def test_a_leak_is_named_with_its_place(op: Op, what: list[str]) -> None:
    found = find_leaks(Graph.of("g", [op], form=Form.INTEGER))
    assert found == [Leak("head", op.NAME, each) for each in what]
    assert str(found[0]).startswith("head: ")


def test_padding_with_zero_is_no_leak() -> None:
    op = core.Pad(X, (0, 1), (0, 0), type=exact_grid(1, 5))
    assert find_leaks(Graph.of("g", [op], form=Form.INTEGER)) == []


def test_one_float_scale_in_the_middle_of_a_model_is_found() -> None:
    graph = integer_vit(SETS["edgevit"])
    victim = next(op for op in graph.ops if op.loc == "blocks.1.mlp.act")
    assert victim.type.quant is not None
    floating = Quant((float(victim.type.quant.scale[0]),), victim.type.quant.zero_point)
    damaged = graph.map(
        lambda op: (
            op.with_type(replace(op.type, quant=floating)) if op.loc == victim.loc and op.NAME == victim.NAME else op
        )
    )
    assert find_leaks(damaged) == [Leak(victim.loc, "int.gelu", "a float scale")]
    assert victim.type.dtype is DType.I8
