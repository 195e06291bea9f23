from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np
import pytest

from edgevit.errors import IRError
from edgevit.ir import ops
from edgevit.ir.graph import Graph
from edgevit.ir.interp import evaluate_op, run
from edgevit.ir.op import REGISTRY, Op
from edgevit.ir.ops import Add, Concat, Const, Input, LayerNorm, Linear, MatMul, Mul, Relu, Unary
from edgevit.ir.types import Array, DType, Quant, TensorType
from tests.ir.single import evaluate, normal

KEEP_TYPE = sorted(name for name, cls in REGISTRY.items() if issubclass(cls, Unary) and not name.endswith("quantize"))


def vector(*shape: int, name: str = "x") -> Input:
    return Input(name, type=TensorType(shape))


def constant(*shape: int) -> Const:
    return Const(normal(*shape, seed=7))


@pytest.mark.parametrize("const_shape", [(), (1,), (4,), (3, 4), (1, 3, 1), (2, 3, 4), (5, 1, 1, 4)])
@pytest.mark.parametrize("const_first", [False, True])
def test_constants_broadcast_against_values_with_a_sample_axis(const_shape: tuple[int, ...], const_first: bool) -> None:
    x, c = normal(6, 3, 4), constant(*const_shape)

    def build(value: Op) -> Op:
        return ops.Sub(c, value) if const_first else ops.Sub(value, c)

    expected = np.stack([c.data - sample if const_first else sample - c.data for sample in x])
    np.testing.assert_array_equal(evaluate(build, x), expected)


def test_values_of_different_rank_broadcast_sample_by_sample() -> None:
    # As many samples as channels: aligning the sample axis with a data axis would go unnoticed otherwise.
    a, b = normal(4, 4), normal(4, 3, 4, seed=1)
    expected = np.stack([x * y for x, y in zip(a, b, strict=True)])
    np.testing.assert_array_equal(evaluate(Mul, a, b), expected)
    np.testing.assert_array_equal(evaluate(Mul, b, a), expected)
    m, n = normal(3, 4, 5), normal(3, 2, 5, 6, seed=1)
    expected = np.stack([x @ y for x, y in zip(m, n, strict=True)])
    np.testing.assert_allclose(evaluate(MatMul, m, n), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (1, 3, 4), (4, 3, 4)])
def test_computed_weights_belong_to_their_sample(shape: tuple[int, ...]) -> None:
    x, weight, bias = normal(4, *shape), normal(4, 4, 4, seed=1), normal(4, 4, seed=2)
    expected = np.stack([a @ w.T + b for a, w, b in zip(x, weight, bias, strict=True)])
    np.testing.assert_allclose(evaluate(Linear, x, weight, bias), expected, rtol=1e-5, atol=1e-6)
    normed = np.stack([evaluate(LayerNorm, a[None])[0] * w + b for a, w, b in zip(x, bias, bias, strict=True)])
    np.testing.assert_allclose(evaluate(LayerNorm, x, bias, bias), normed, rtol=1e-5, atol=1e-6)


def test_computed_weights_of_a_convolution_are_refused() -> None:
    with pytest.raises(IRError, match="conv2d with computed weights"):
        evaluate(ops.Conv2d, normal(2, 1, 4, 4, 3), normal(2, 5, 1, 1, 3))


@pytest.mark.parametrize("name", KEEP_TYPE)
def test_a_scalar_constant_keeps_its_element_type(name: str) -> None:
    cls = REGISTRY[name]
    extra = (0.0, 6.0) if cls is ops.Clip else ()
    op = cls(Const(np.array(0.5, np.float32)), *extra)
    value = evaluate_op(op, [op.operands[0].data])
    assert isinstance(value, np.ndarray)
    assert (value.dtype, value.shape) == (np.float32, ())


def test_outputs_that_depend_on_no_input_get_the_sample_axis() -> None:
    x, c = vector(3), constant(2)
    graph = Graph.of("g", [Relu(c), c, x], inputs=[x])
    first, second, third = run(graph, [normal(5, 3)])
    assert (first.shape, second.shape, third.shape) == ((5, 2), (5, 2), (5, 3))
    np.testing.assert_array_equal(second, np.broadcast_to(c.data, (5, 2)))
    (alone,) = run(Graph.of("g", [c]), [])
    assert alone.shape == (1, 2)


def test_concat_of_constants_and_values() -> None:
    x, c = normal(4, 2, 3), constant(1, 3)
    result = evaluate(lambda value: Concat((c, value, c), 0), x)
    for sample, row in zip(x, result, strict=True):
        np.testing.assert_array_equal(row, np.concatenate([c.data, sample, c.data]))


def test_observe_sees_every_op_but_constants_in_execution_order() -> None:
    x = vector(3)
    y = Add(x, constant(3))
    graph = Graph.of("g", [Relu(y), Mul(y, y)], inputs=[x])
    seen: list[tuple[Op, tuple[int, ...]]] = []
    run(graph, [normal(2, 3)], lambda op, value: seen.append((op, value.shape)))
    assert [op for op, _ in seen] == [op for op in graph.ops if not isinstance(op, Const)]
    assert {shape for _, shape in seen} == {(2, 3)}


def test_values_are_freed_after_their_last_use() -> None:
    x = vector(1000)
    first = Add(x, constant(1000))
    second = Add(first, constant(1000))
    third = Add(second, second)
    fourth = Add(third, first)
    dead = Add(fourth, fourth)
    graph = Graph("g", (*Graph.of("g", [fourth]).ops, dead), (second, fourth))
    alive: dict[Op, weakref.ref[Array]] = {}
    counts: list[set[str]] = []
    names = {first: "first", second: "second", third: "third", fourth: "fourth", dead: "dead"}

    def observe(op: Op, value: Array) -> None:
        counts.append({names[o] for o, ref in alive.items() if ref() is not None})
        if op in names:
            alive[op] = weakref.ref(value)

    run(graph, [normal(1, 1000)], observe)
    assert counts == [
        set(),
        set(),
        {"first"},
        {"first", "second"},
        {"first", "second", "third"},
        {"second", "fourth"},
    ]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([], "0 arrays for 2 inputs"),
        ([normal(1, 3)] * 3, "3 arrays for 2 inputs"),
        ([normal(1, 3), normal(3)], r"shape \[3\] for an input of shape \[3\]"),
        ([normal(1, 3), normal(1, 4)], r"g, input y: an array of shape \[1, 4\]"),
        ([normal(1, 3), normal(1, 3).astype(np.float64)], "an array of float64 for an input of f32"),
        ([normal(1, 3), normal(2, 3)], r"inputs of \[1, 2\] samples"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(arrays: list[Array], message: str) -> None:
    x, y = vector(3), vector(3, name="y")
    with pytest.raises(IRError, match=message):
        run(Graph.of("g", [Add(x, y)], inputs=[x, y]), arrays)


def test_an_op_without_evaluator_is_named_with_its_place() -> None:
    @dataclass(frozen=True, eq=False)
    class Unknown(Unary):
        """An op that nobody registered."""

    with pytest.raises(IRError, match=r"blocks\.1: the interpreter has no evaluator"):
        evaluate(lambda x: Unknown(x, loc="blocks.1"), normal(1, 2))


def test_gather_takes_constant_indices_only() -> None:
    x = normal(3, 4, 2)
    rows = Const(np.array([[3, 0], [-1, 2]]))
    np.testing.assert_array_equal(evaluate(lambda v: ops.Gather(v, rows, 0), x), x[:, [[3, 0], [3, 2]]])
    outside = Const(np.array([4]))
    with pytest.raises(IRError, match="an index outside an axis of 4"):
        evaluate(lambda v: ops.Gather(v, outside, 0), x)
    with pytest.raises(IRError, match="computed indices"):
        evaluate(lambda v, i: ops.Gather(v, i, 0), x, np.zeros((3, 1), np.int64))


def test_concat_of_values_on_different_grids_is_refused() -> None:
    coarse, fine = (TensorType((2,), DType.I8, Quant.per_tensor(scale)) for scale in (1.0, 0.5))
    a, b = Input("a", type=coarse), Input("b", type=fine)
    op = Concat((a, b), 0, type=TensorType((4,), DType.I8, coarse.quant), loc="cat")
    with pytest.raises(IRError, match="cat: concat of values on different grids"):
        run(Graph.of("g", [op]), [np.zeros((1, 2), np.int8)] * 2)
