"""What core ops mean on integers: the real op on dequantized operands, rounded once; layout ops move the integers."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgevit.ir import ops
from edgevit.ir.graph import Form, Graph
from edgevit.ir.interp import run
from edgevit.ir.op import Op
from edgevit.ir.ops import Const, Input
from edgevit.ir.types import Array, DType, Quant, TensorType, dequantize_array
from tests.ir.single import evaluate

# Multiples of powers of two: sums and products are exact in double precision, and so are halves between grid points.
OUT = Quant.per_tensor(9 / 128, -11)
A, B = Quant.per_tensor(13 / 256, 9), Quant.per_tensor(1 / 32, -40)


def integers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def i8(shape: tuple[int, ...], quant: Quant) -> TensorType:
    return TensorType(shape, DType.I8, quant)


def reals(q: Array, quant: Quant) -> list[Fraction]:
    """The exact numbers of a per-tensor grid."""
    return [Fraction(float(quant.scale[0])) * (int(v) - quant.zero_point[0]) for v in q.ravel()]


def rounded(value: float | Fraction, quant: Quant) -> int:
    """Half to even onto an 8-bit grid."""
    return min(max(round(Fraction(value) / Fraction(float(quant.scale[0]))) + quant.zero_point[0], -128), 127)


BINARY: list[tuple[type[ops.Binary], Callable[[Fraction, Fraction], Fraction]]] = [
    (ops.Add, lambda a, b: a + b),
    (ops.Sub, lambda a, b: a - b),
    (ops.Mul, lambda a, b: a * b),
    (ops.Maximum, max),
    (ops.Minimum, min),
]


@pytest.mark.parametrize(("cls", "exact"), BINARY, ids=lambda value: getattr(value, "NAME", ""))
def test_arithmetic_is_exact_and_rounds_once(
    cls: type[ops.Binary], exact: Callable[[Fraction, Fraction], Fraction]
) -> None:
    a, b = np.meshgrid(np.arange(-128, 128), np.arange(-128, 128, 3))
    a, b = a.astype(np.int8)[None], b.astype(np.int8)[None]
    shape = a.shape[1:]
    types = [i8(shape, A), i8(shape, B)]
    found = evaluate(lambda x, y: cls(x, y, type=i8(shape, OUT)), a, b, types=types, form=Form.QUANTIZED)
    expected = [rounded(exact(x, y), OUT) for x, y in zip(reals(a, A), reals(b, B), strict=True)]
    assert found.ravel().tolist() == expected


UNARY: list[tuple[type[ops.Unary], Callable[[float], float]]] = [
    (ops.Sigmoid, lambda x: 1 / (1 + math.exp(-x))),
    (ops.Tanh, math.tanh),
    (ops.Exp, math.exp),
    (ops.Gelu, lambda x: x / 2 * (1 + math.erf(x / math.sqrt(2)))),
    (ops.Relu, lambda x: max(x, 0.0)),
    (ops.HardSwish, lambda x: x * min(max(x + 3, 0), 6) / 6),
]


@pytest.mark.parametrize(("cls", "exact"), UNARY, ids=lambda value: getattr(value, "NAME", ""))
def test_functions_of_all_256_integers(cls: type[ops.Unary], exact: Callable[[float], float]) -> None:
    q = np.arange(-128, 128).astype(np.int8)[None]
    type = i8((256,), Quant.per_tensor(0.03, 17))
    out = Quant.per_tensor(0.013, -100)
    found = evaluate(lambda x: cls(x, type=i8((256,), out)), q, types=[type], form=Form.QUANTIZED)
    assert found.ravel().tolist() == [rounded(exact(x), out) for x in dequantize_array(q, type).ravel().tolist()]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.booleans())
def test_a_linear_layer_is_the_exact_sum_rounded_once(seed: int, features: int, per_channel: bool) -> None:
    rng = np.random.default_rng(seed)
    x, weight = integers(2, 3, features, seed=seed), rng.integers(-127, 128, (4, features)).astype(np.int8)
    scales = tuple(float(s) for s in rng.uniform(0.001, 0.02, 4 if per_channel else 1))
    quant = Quant(scales, (0,) * len(scales), 0 if per_channel else None)
    bias_quant = Quant(tuple(float(A.scale[0]) * s for s in scales), quant.zero_point, quant.axis)
    bias = rng.integers(-(2**14), 2**14, 4).astype(np.int32)
    w = Const(weight, type=TensorType(weight.shape, DType.I8, quant))
    b = Const(bias, type=TensorType((4,), DType.I32, bias_quant))
    found = evaluate(
        lambda v: ops.Linear(v, w, b, type=i8((3, 4), OUT)), x, types=[i8((3, features), A)], form=Form.QUANTIZED
    )
    accumulator = (x.astype(np.int64) - A.zero_point[0]) @ weight.astype(np.int64).T + bias
    for row in np.ndindex(2, 3):
        for out in range(4):
            real = int(accumulator[(*row, out)]) * float(bias_quant.scale[out if per_channel else 0])
            # Double precision may fall on the other side of a half: the accumulator itself is exact.
            step = real / float(OUT.scale[0])
            if abs(step - math.floor(step) - 0.5) > 1e-9:
                assert found[(*row, out)] == rounded(real, OUT)


def test_layout_ops_move_the_integers() -> None:
    q = integers(3, 2, 4, 5)
    for build, expected in (
        (lambda x: ops.Reshape(x, (8, 5)), q.reshape(3, 8, 5)),
        (lambda x: ops.Transpose(x, (1, 0, 2)), q.transpose(0, 2, 1, 3)),
        (lambda x: ops.Slice(x, (0, 1, 0), (2, 3, 5), (1, 1, 2)), q[:, :, 1:3, ::2]),
        (lambda x: ops.Concat((x, x), 1), np.concatenate([q, q], 2)),
        (lambda x: ops.Gather(x, Const(np.array([4, 0])), 2), q[..., [4, 0]]),
        (lambda x: ops.Broadcast(x, (1, 2, 4, 5)), q[:, None]),
    ):

        def typed(x: Op, build: Callable[[Op], Op] = build) -> Op:
            op = build(x)
            return op.with_type(TensorType(op.shape, DType.I8, A))

        found = evaluate(typed, q, types=[i8((2, 4, 5), A)], form=Form.QUANTIZED)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("value", "stored"), [(0.0, 9), (0.05, 10), (-0.11, 7), (100.0, 127), (-100.0, -128)])
def test_padding_is_the_number_on_the_grid(value: float, stored: int) -> None:
    q = integers(1, 3)
    build = lambda x: ops.Pad(x, (1,), (2,), value=value, type=i8((6,), A))  # noqa: E731
    found = evaluate(build, q, types=[i8((3,), A)], form=Form.QUANTIZED)
    assert found[0].tolist() == [stored, *q[0].tolist(), stored, stored]


def test_quantize_and_dequantize_are_the_borders() -> None:
    values = np.linspace(-10, 10, 101, dtype=np.float32)[None]
    x = Input("x", type=TensorType((101,)))
    stored = ops.Quantize(x, type=i8((101,), A))
    moved = ops.Quantize(stored, type=TensorType((101,), DType.U8, Quant.per_tensor(3 / 32, 128)))
    real = ops.Dequantize(moved, type=TensorType((101,)))
    first, second, third = run(Graph.of("g", [stored, moved, real]), [values])
    assert first[0].tolist() == [rounded(float(v), A) for v in values[0]]
    expected = [min(max(round(v / Fraction(3, 32)) + 128, 0), 255) for v in reals(first, A)]
    assert (second.dtype, second[0].tolist()) == (np.uint8, expected)
    assert third.dtype == np.float32
    np.testing.assert_array_equal(third[0], ((second[0].astype(float) - 128) * 3 / 32).astype(np.float32))


def test_max_pooling_ignores_padding_whatever_the_grid() -> None:
    q = np.full((1, 1, 2, 2, 1), -128, np.int8)
    type = i8((1, 2, 2, 1), Quant.per_tensor(0.1, 127))
    build = lambda x: ops.MaxPool2d(x, (2, 2), (1, 1), (1, 1, 1, 1), type=i8((1, 3, 3, 1), OUT))  # noqa: E731
    assert (evaluate(build, q, types=[type], form=Form.QUANTIZED) == rounded(-25.5, OUT)).all()
