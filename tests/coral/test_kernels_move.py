"""Data movement equals LiteRT's; whole models run in order, observed and freed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgevit.errors import BackendError, QuantError, UnsupportedOp
from edgevit_coral.execute import run_model
from edgevit_coral.model import OperatorSpec, TensorSpec, TfliteModel
from tests.coral.kernel_models import (
    SEEDS,
    Array,
    assert_exact,
    examples,
    integers,
    litert,
    model,
    random_int8,
    tensor,
)
from tests.tools import requires

pytestmark = requires("litert")

SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


def t(shape: tuple[int, ...], data: Array | None = None) -> TensorSpec:
    return tensor(shape, 0.5, 9, data=data)


@examples(25)
@given(SEEDS, SHAPES, st.data())
def test_transpose(seed: int, shape: tuple[int, ...], data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(shape))))
    one = model("TRANSPOSE", [t(shape), integers(*order)], t(tuple(shape[axis] for axis in order)))
    assert_exact(one, random_int8(seed, 2, *shape))


@examples(25)
@given(SEEDS, SHAPES, st.data())
def test_slice(seed: int, shape: tuple[int, ...], data: st.DataObject) -> None:
    begin = [data.draw(st.integers(0, size - 1)) for size in shape]
    size = [data.draw(st.one_of(st.just(-1), st.integers(1, n - b))) for b, n in zip(begin, shape, strict=True)]
    result = tuple(n - b if s == -1 else s for b, s, n in zip(begin, size, shape, strict=True))
    one = model("SLICE", [t(shape), integers(*begin), integers(*size)], t(result))
    assert_exact(one, random_int8(seed, 2, *shape))


@examples(60)
@given(SEEDS, SHAPES, st.data(), st.integers(0, 15), st.integers(0, 15), st.integers(0, 15))
def test_strided_slice(
    seed: int, shape: tuple[int, ...], data: st.DataObject, begin_mask: int, end_mask: int, shrink: int
) -> None:
    begin = [data.draw(st.integers(-n, n - 1)) for n in shape]
    end = [data.draw(st.integers(-n - 1, n + 1)) for n in shape]
    steps = [data.draw(st.sampled_from([1, 1, 2, -1, -2])) for n in shape]
    bits = 2 ** len(shape) - 1
    begin_mask, end_mask, shrink = begin_mask & bits & ~shrink, end_mask & bits, shrink & bits
    steps = [1 if shrink >> i & 1 else step for i, step in enumerate(steps)]
    index = tuple(
        b if shrink >> i & 1 else slice(None if begin_mask >> i & 1 else b, None if end_mask >> i & 1 else e, s)
        for i, (b, e, s) in enumerate(zip(begin, end, steps, strict=True))
    )
    result = np.empty(shape)[index].shape
    assume(0 not in result)
    specs = [t(shape), integers(*begin), integers(*end), integers(*steps)]
    one = model("STRIDED_SLICE", specs, t(result), begin_mask=begin_mask, end_mask=end_mask, shrink_axis_mask=shrink)
    assert_exact(one, random_int8(seed, 2, *shape))


@examples(25)
@given(SEEDS, SHAPES, st.data())
def test_pad(seed: int, shape: tuple[int, ...], data: st.DataObject) -> None:
    widths = np.array([[data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))] for _ in shape], dtype=np.int32)
    padding = tensor(widths.shape, dtype="int32", data=widths)
    one = model("PAD", [t(shape), padding], t(tuple(int(n + w.sum()) for n, w in zip(shape, widths, strict=True))))
    assert_exact(one, random_int8(seed, 2, *shape))


@examples(25)
@given(SEEDS, SHAPES, st.data(), st.integers(2, 4), st.booleans())
def test_concatenation_and_pack(
    seed: int, shape: tuple[int, ...], data: st.DataObject, count: int, constant: bool
) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    values = [random_int8(seed + i, 2, *shape) for i in range(count)]
    specs = [t(shape) for _ in range(count)]
    if constant:
        specs[-1], values = t(shape, random_int8(seed, *shape)), values[:-1]
    joined = list(shape)
    joined[axis] *= count
    assert_exact(model("CONCATENATION", specs, t(tuple(joined)), axis=axis), *values)
    stacked = [*shape]
    stacked.insert(axis % len(shape), count)
    assert_exact(model("PACK", specs, t(tuple(stacked)), axis=axis % len(shape), values_count=count), *values)


@pytest.mark.parametrize(
    "one",
    [
        model("RESHAPE", [t((2, 6)), integers(3, 4)], t((3, 4)), 1, new_shape=(3, 4)),
        model("SQUEEZE", [t((2, 1, 6, 1))], t((2, 6, 1)), 1, squeeze_dims=(1,)),
        model("EXPAND_DIMS", [t((2, 6)), integers(1)], t((2, 1, 6)), 1),
        model("SPACE_TO_DEPTH", [t((1, 4, 6, 3))], t((1, 2, 3, 12)), block_size=2),
    ],
    ids=lambda one: one.operators[0].name,
)
def test_reshapes(one: TfliteModel) -> None:
    assert_exact(one, random_int8(1, 3, *one.tensors[0].shape))


@examples(50)
@given(SEEDS, st.tuples(*[st.integers(1, 9)] * 4), st.sampled_from([(False, False), (True, False), (False, True)]))
def test_resize_nearest_neighbor(seed: int, sides: tuple[int, ...], flags: tuple[bool, bool]) -> None:
    height, width, out_h, out_w = sides
    specs = [t((1, height, width, 2)), integers(out_h, out_w)]
    one = model(
        "RESIZE_NEAREST_NEIGHBOR",
        specs,
        t((1, out_h, out_w, 2)),
        3,
        align_corners=flags[0],
        half_pixel_centers=flags[1],
    )
    assert_exact(one, random_int8(seed, 2, 1, height, width, 2))


REFUSED = [
    (model("SLICE", [t((4,)), integers(2), integers(3)], t((3,))), "SLICE"),
    (model("STRIDED_SLICE", [t((4,)), integers(0), integers(3), integers(0)], t((3,))), "stride of 0"),
    (model("STRIDED_SLICE", [t((4,)), integers(9), integers(3), integers(1)], t(()), shrink_axis_mask=1), "at 9"),
    (model("STRIDED_SLICE", [t((4,)), integers(0), integers(3), integers(1)], t((3,)), ellipsis_mask=1), "ellipsis"),
    (model("RESHAPE", [t((4,))], t((3,)), 1), "cannot become"),
    (model("PAD", [t((4,)), tensor((1, 2), dtype="int32")], t((4,))), "must be a constant"),
    (model("CONCATENATION", [t((4,)), tensor((4,), 0.25)], t((8,)), axis=0), "different grids"),
    (model("QUANTIZE", [tensor((4,))], t((4,))), "no scale"),
    (model("QUANTIZE", [tensor((4,), [0.5] * 4)], t((4,))), "4 scales where one"),
]


@pytest.mark.parametrize(("one", "why"), REFUSED)
def test_what_does_not_fit_is_refused(one: TfliteModel, why: str) -> None:
    values = [random_int8(1, 1, *one.tensors[i].shape).astype(one.tensors[i].dtype) for i in one.inputs]
    with pytest.raises(QuantError, match=why):
        run_model(one, values)


def chain() -> TfliteModel:
    """x -> RELU -> a; a + x -> b; outputs b and a."""
    specs = (t((3,)), tensor((3,), 0.25, -1), tensor((3,), 1.0, 2))
    operators = (OperatorSpec("RELU", 2, (0,), (1,)), OperatorSpec("ADD", 2, (1, 0), (2,)))
    return TfliteModel(specs, operators, (0,), (2, 1))


def test_a_model_runs_in_order_and_is_observed() -> None:
    x = random_int8(5, 7, 3)
    seen: dict[int, Array] = {}
    outputs = run_model(chain(), [x], observe=seen.__setitem__)
    assert list(seen) == [0, 1, 2]
    np.testing.assert_array_equal(seen[0], x)
    assert outputs[0] is seen[2]
    assert outputs[1] is seen[1]
    np.testing.assert_array_equal(outputs[0], litert(chain(), [x]))


def test_a_constant_may_be_an_output() -> None:
    data = random_int8(1, 3)
    assert run_model(TfliteModel((t((3,), data),), (), (), (0,)), [])[0].tolist() == [data.tolist()]


BROKEN = [
    (TfliteModel(chain().tensors, chain().operators[1:], (0,), (2,)), "nothing computed"),
    (TfliteModel(chain().tensors, (), (0,), (2,)), "nothing computed"),
    (TfliteModel(chain().tensors, (OperatorSpec("RELU", 2, (0,), (1, 2)),), (0,), (2,)), "2 outputs"),
]


@pytest.mark.parametrize(("broken", "why"), BROKEN)
def test_a_broken_model_is_refused(broken: TfliteModel, why: str) -> None:
    with pytest.raises(BackendError, match=why):
        run_model(broken, [random_int8(1, 1, 3)])


def test_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BackendError, match="0 inputs for a model of 1"):
        run_model(chain(), [])
    with pytest.raises(BackendError, match="one leading sample axis"):
        run_model(chain(), [random_int8(1, 3)])
    with pytest.raises(BackendError, match="uint8"):
        run_model(chain(), [random_int8(1, 1, 3).view(np.uint8)])


def test_an_operator_without_a_kernel_is_named() -> None:
    with pytest.raises(UnsupportedOp, match="no exact kernel for GELU"):
        run_model(model("GELU", [t((3,))], t((3,))), [random_int8(1, 1, 3)])
