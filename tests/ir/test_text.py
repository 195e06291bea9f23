from __future__ import annotations

from typing import Any, get_args, get_origin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgevit_coral.ops  # registers the tflite dialect, which has the same text form
from edgevit.errors import IRError
from edgevit.ir import ops
from edgevit.ir.fields import field_types
from edgevit.ir.graph import Form, Graph
from edgevit.ir.op import REGISTRY, Op, field_names, same_attributes
from edgevit.ir.ops import Add, Clip, Const, Input, Relu
from edgevit.ir.parse import parse_graph
from edgevit.ir.text import array_name, print_graph, print_op, print_type, resources
from edgevit.ir.types import DType, Dyadic, Quant, TensorType

assert edgevit_coral.ops.TfliteOp
CLASSES = sorted(REGISTRY)
FLOATS = st.floats(allow_nan=False)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
SHAPES = st.lists(st.integers(1, 5), max_size=4).map(tuple)
SCALES = st.floats(1e-30, 1e30)
DYADICS = st.builds(Dyadic, st.integers(1, 2**40), st.integers(0, 200))


@st.composite
def quants(draw: st.DrawFn) -> Quant:
    scales = draw(st.sampled_from([SCALES, DYADICS]))
    axis = draw(st.none() | st.integers(0, 3))
    count = 1 if axis is None else draw(st.integers(1, 12))
    zeros = st.integers(-(2**31), 2**31 - 1)
    return Quant(
        tuple(draw(st.lists(scales, min_size=count, max_size=count))),
        tuple(draw(st.lists(zeros, min_size=count, max_size=count))),
        axis,
    )


def tensor_types() -> st.SearchStrategy[TensorType]:
    dtypes = st.sampled_from(DType)
    plain = st.builds(TensorType, SHAPES, dtypes)
    ranged = st.builds(TensorType, SHAPES, dtypes, range=st.tuples(FLOATS, FLOATS))
    return plain | ranged | st.builds(TensorType, SHAPES, dtypes, quants())


def values_of(declared: Any, operands: list[Op]) -> st.SearchStrategy[Any]:
    """Anything that the declared type of a field allows."""
    arguments = get_args(declared)
    if get_origin(declared) is tuple:
        item = values_of(arguments[0], operands)
        if arguments[1:] == (Ellipsis,):
            return st.lists(item, max_size=12).map(tuple)
        return st.tuples(*(values_of(one, operands) for one in arguments))
    if type(None) in arguments:
        return st.none() | values_of(arguments[0], operands)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        Op: st.sampled_from(operands),
        bool: st.booleans(),
        int: st.integers(),
        float: FLOATS,
        str: TEXTS,
    }
    return simple[declared]


@st.composite
def constants(draw: st.DrawFn) -> Const:
    dtype, shape = draw(st.sampled_from(DType)), draw(SHAPES)
    raw = draw(st.binary(min_size=512, max_size=512))
    count = int(np.prod(shape))
    data = np.frombuffer((raw * -(-count * 8 // 512))[: count * dtype.numpy.itemsize], np.uint8)
    array = (data > 127) if dtype is DType.BOOL else data.view(dtype.numpy)
    return Const(np.nan_to_num(array).reshape(shape), loc=draw(TEXTS))


def build(draw: st.DrawFn, name: str, operands: list[Op]) -> Op:
    cls = REGISTRY[name]
    fields = {field: draw(values_of(declared, operands)) for field, declared in field_types(cls).items()}
    return cls(**fields, type=draw(tensor_types()), loc=draw(TEXTS))


def same(a: Op, b: Op) -> bool:
    return same_attributes(a, b) and a.type == b.type and a.loc == b.loc and len(a.operands) == len(b.operands)


def assert_round_trip(graph: Graph) -> None:
    text = print_graph(graph)
    again = parse_graph(text, resources(graph))
    assert print_graph(again) == text
    assert (again.name, again.form) == (graph.name, graph.form)
    assert len(again.ops) == len(graph.ops)
    for was, now in zip(graph.ops, again.ops, strict=True):
        assert same(was, now), f"{print_op(was)}\n{print_op(now)}"
    assert [again.ops.index(op) for op in again.outputs] == [graph.ops.index(op) for op in graph.outputs]


@pytest.mark.parametrize("name", [name for name in CLASSES if name != "const"])
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_every_op_class_prints_and_parses_back(name: str, data: st.DataObject) -> None:
    draw: st.DrawFn = data.draw
    first, second = Input("x", type=TensorType((2, 3))), draw(constants())
    op = build(draw, name, [first, second])
    assert_round_trip(Graph("g", (first, second, op), (op, first), draw(st.sampled_from(Form))))


@settings(max_examples=60, deadline=None)
@given(constant=constants(), name=TEXTS)
def test_constants_and_graph_names_print_and_parse_back(constant: Const, name: str) -> None:
    assert_round_trip(Graph(name, (constant,), (constant,)))


def test_every_field_of_every_op_has_a_declared_type_that_can_be_read() -> None:
    for name in CLASSES:
        assert tuple(field_types(REGISTRY[name])) == field_names(REGISTRY[name])


def test_text_of_a_small_graph() -> None:
    x = Input("x", type=TensorType((1, 4)))
    weight = Const(np.arange(12, dtype=np.float32).reshape(3, 4), loc="fc.weight")
    y = ops.Linear(x, weight, loc="fc")
    z = Clip(y, -1.0, 6, type=TensorType((1, 3), range=(-1.0, 2.5)))
    digest = array_name(weight.data)
    assert print_graph(Graph.of("net", [z])).splitlines() == [
        "graph @net form=float",
        '  %0 = input(name="x") : f32[1,4]',
        f'  %1 = const(data=@{digest}) : f32[3,4] loc "fc.weight"',
        '  %2 = linear(x=%0, weight=%1, bias=none) : f32[1,3] loc "fc"',
        "  %3 = clip(x=%2, lo=-1.0, hi=6) : f32[1,3] in [-1.0, 2.5]",
        "  return %3",
    ]


def test_types_print_grids_and_ranges() -> None:
    assert print_type(TensorType((), DType.BOOL)) == "bool[]"
    assert print_type(TensorType((197, 192), DType.I8, Quant.per_tensor(0.0125, -4))) == "i8[197,192] q(0.0125:-4)"
    assert print_type(TensorType((2,), DType.I16, Quant((0.5, 0.25), (0, 1), 0))) == "i16[2] q(0.5:0, 0.25:1, axis 0)"
    assert print_type(TensorType((1,), DType.I32, Quant.per_tensor(Dyadic(3, 7)))) == "i32[1] q(3p-7:0)"
    assert print_type(TensorType((1,), range=(np.float64(-1), np.float64(2)))) == "f32[1] in [-1.0, 2.0]"


def test_arrays_of_more_than_eight_elements_are_resources_named_by_content() -> None:
    small, large = Const(np.arange(8)), Const(np.arange(9))
    graph = Graph("g", (small, large, Const(np.arange(9))), (large,))
    assert list(resources(graph)) == [array_name(large.data)]
    assert array_name(np.arange(9)) == array_name(np.arange(9).copy())
    assert len({array_name(np.arange(9, dtype=t)) for t in (np.int32, np.int64, np.float32)}) == 3
    assert array_name(np.arange(9)) != array_name(np.arange(9).reshape(3, 3))
    assert "data=[0, 1, 2, 3, 4, 5, 6, 7]" in print_graph(graph)


def test_wide_grids_travel_as_resources() -> None:
    for scale in (0.1, Dyadic(5, 9)):
        quant = Quant((scale,) * 9, tuple(range(9)), 0)
        x = Input("x", type=TensorType((9,), DType.I8, quant))
        (table,) = resources(Graph("g", (x,), (x,))).values()
        assert table.shape == (2 if scale == 0.1 else 3, 9)


def test_a_grid_of_two_kinds_of_scale_is_refused() -> None:
    x = Input("x", type=TensorType((9,), DType.I8, Quant((*(Dyadic(1, 1),) * 8, 0.5), (0,) * 9, 0)))
    with pytest.raises(IRError, match="mixes dyadic and float"):
        print_graph(Graph("g", (x,), (x,)))


def test_an_attribute_without_text_form_is_refused() -> None:
    x = Input("x", type=TensorType((1,)))
    with pytest.raises(IRError, match="no text form for an attribute of type set"):
        print_op(Clip(x, {1}, 2.0))


def test_operands_outside_the_graph_print_without_a_number() -> None:
    x = Input("x", type=TensorType((1,)))
    assert print_op(Add(x, Relu(x))) == "%? = add(lhs=%?, rhs=%?) : f32[1]"
