"""Unary operators on all 256 values and binary operators on all 65,536 pairs equal LiteRT's reference kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgevit.errors import QuantError
from edgevit_coral.execute import run_model
from edgevit_coral.model import TfliteModel
from tests.coral.kernel_models import (
    ACTIVATIONS,
    EVERY_INT8,
    SEEDS,
    ZERO_POINTS,
    assert_exact,
    examples,
    litert,
    model,
    random_int8,
    scales,
    tensor,
)
from tests.tools import requires

pytestmark = requires("litert")

LEFT = np.repeat(EVERY_INT8[0], 256).reshape(1, 256, 256)
RIGHT = np.tile(EVERY_INT8[0], 256).reshape(1, 256, 256)
RATIOS = scales(-9, 9)


def unary(name: str, x_scale: float, x_zero: int, out_scale: float, out_zero: int) -> TfliteModel:
    return model(name, [tensor((256,), x_scale, x_zero)], tensor((256,), out_scale, out_zero))


@examples(60)
@given(st.sampled_from(["RELU", "RELU6", "QUANTIZE"]), scales(-12, 4), ZERO_POINTS, RATIOS, ZERO_POINTS)
def test_rescaling_unary(name: str, x_scale: float, x_zero: int, ratio: float, out_zero: int) -> None:
    assert_exact(unary(name, x_scale, x_zero, x_scale * ratio, out_zero), EVERY_INT8)


# Scales at which the quotient in float32, as TFLite takes it, gives another result than the quotient in double.
@pytest.mark.parametrize(
    ("x_scale", "out_scale"),
    [(1.700323462486267, 2.2217559814453125), (0.980571985244751, 1.4226603507995605)],
)
def test_relu_divides_scales_in_float32(x_scale: float, out_scale: float) -> None:
    result = assert_exact(unary("RELU", x_scale, -128, out_scale, -128), EVERY_INT8)
    in_double = run_model(unary("QUANTIZE", x_scale, -128, out_scale, -128), [EVERY_INT8])[0]
    assert np.any(result != in_double)


@pytest.mark.parametrize(
    ("a", "b", "out"),
    [
        (0.016609380021691322, 0.023295901715755463, 0.1547485738992691),
        (0.0203501358628273, 0.07989455759525299, 0.3658466041088104),
    ],
)
def test_mul_multiplies_scales_in_float32(a: float, b: float, out: float) -> None:
    inputs = [tensor((256, 256), a, -128), tensor((256, 256), b, -128)]
    assert_exact(model("MUL", inputs, tensor((256, 256), out, -128)), LEFT, RIGHT)


@examples(40)
@given(st.booleans(), scales(-12, 4), ZERO_POINTS, st.one_of(st.just(1.0), RATIOS), ZERO_POINTS)
def test_quantize_between_int8_and_uint8(to_int8: bool, scale: float, x_zero: int, ratio: float, out_zero: int) -> None:
    kinds = ("uint8", "int8") if to_int8 else ("int8", "uint8")
    zeros = (x_zero + 128 * to_int8, out_zero + 128 * (not to_int8))
    x = tensor((256,), scale, zeros[0], dtype=kinds[0])
    one = model("QUANTIZE", [x], tensor((256,), scale * ratio, zeros[1], dtype=kinds[1]))
    assert_exact(one, EVERY_INT8.view(kinds[0]))


@examples(60)
@given(scales(-14, 6), ZERO_POINTS, st.one_of(st.just(-128), ZERO_POINTS))
def test_logistic(x_scale: float, x_zero: int, out_zero: int) -> None:
    assert_exact(unary("LOGISTIC", x_scale, x_zero, 1 / 256, out_zero), EVERY_INT8)


@examples(60)
@given(scales(-14, 6), ZERO_POINTS, st.one_of(st.just(1 / 128), scales(-12, 0)), ZERO_POINTS)
def test_tanh(x_scale: float, x_zero: int, out_scale: float, out_zero: int) -> None:
    assert_exact(unary("TANH", x_scale, x_zero, out_scale, out_zero), EVERY_INT8)


# Grids at which numpy's own float32 functions, a unit or two off the C library's, give another table.
@pytest.mark.parametrize(
    "one",
    [
        unary("TANH", 0.018544122576713562, 106, 0.0067526777274906635, 127),
        unary("TANH", 0.028648557141423225, -94, 0.005665094591677189, -128),
        unary("TANH", 0.014454800635576248, 37, 0.007145017851144075, 0),
        unary("LOGISTIC", 0.017059296369552612, 104, 1 / 256, -128),
        unary("LOGISTIC", 0.00232441583648324, -36, 1 / 256, -128),
        unary("LOGISTIC", 0.009116843342781067, 14, 1 / 256, -128),
    ],
)
def test_tables_ask_the_c_library(one: TfliteModel) -> None:
    assert_exact(one, EVERY_INT8)


def test_tables_round_ties_away_from_zero() -> None:
    # tanh saturates at 1, which is 50.5 steps of this output.
    result = assert_exact(unary("TANH", 1.0, 0, 0.019801979884505272, 0), EVERY_INT8)
    assert (result.min(), result.max()) == (-51, 51)


@examples(60)
@given(scales(-20, 6), ZERO_POINTS, scales(-9, 9), ZERO_POINTS)
def test_rsqrt(x_scale: float, x_zero: int, ratio: float, out_zero: int) -> None:
    one = unary("RSQRT", x_scale, x_zero, ratio / 128 / np.sqrt(x_scale), out_zero)
    result = assert_exact(one, np.maximum(EVERY_INT8, x_zero).astype(np.int8))
    assert result[0, x_zero + 128] == 127  # real zero


def test_rsqrt_of_a_negative_value_is_refused_by_both() -> None:
    one = unary("RSQRT", 0.1, 0, 0.1, 0)
    with pytest.raises(QuantError, match="negative"):
        run_model(one, [EVERY_INT8])
    with pytest.raises(RuntimeError, match="Rsqrt is only defined for positive values"):
        litert(one, [EVERY_INT8])


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (unary("LOGISTIC", 0.1, 0, 1 / 128, -128), "output scale of"),
        (unary("RSQRT", 2.0**-60, 0, 2.0**-60, 0), "ratio of scales"),
        (unary("QUANTIZE", 1.0, 0, 2.0**-40, 0), "a multiplier of"),
        (unary("QUANTIZE", 1.0, 0, 2.0**-26, 0), "overflows 32 bits"),
        (unary("RELU6", 1.0, 0, 2.0**-30, 0), "beyond int32"),
    ],
)
def test_unary_operators_outside_their_range_are_refused(one: TfliteModel, why: str) -> None:
    with pytest.raises(QuantError, match=why):
        run_model(one, [EVERY_INT8])


@examples(50)
@given(
    st.sampled_from(["ADD", "SUB"]),
    scales(-10, 4),
    scales(-10, 4),
    RATIOS,
    ZERO_POINTS,
    ZERO_POINTS,
    ZERO_POINTS,
    ACTIVATIONS,
)
def test_sums_of_all_pairs(
    name: str, a: float, b: float, ratio: float, a_zero: int, b_zero: int, out_zero: int, activation: str
) -> None:
    inputs = [tensor((256, 256), a, a_zero), tensor((256, 256), b, b_zero)]
    output = tensor((256, 256), max(a, b) * ratio, out_zero)
    assert_exact(model(name, inputs, output, fused_activation_function=activation), LEFT, RIGHT)


@examples(40)
@given(scales(-10, 4), scales(-10, 4), scales(-9, 16), ZERO_POINTS, ZERO_POINTS, ZERO_POINTS, ACTIVATIONS)
def test_products_of_all_pairs(
    a: float, b: float, ratio: float, a_zero: int, b_zero: int, out_zero: int, activation: str
) -> None:
    inputs = [tensor((256, 256), a, a_zero), tensor((256, 256), b, b_zero)]
    output = tensor((256, 256), a * b * ratio, out_zero)
    assert_exact(model("MUL", inputs, output, fused_activation_function=activation), LEFT, RIGHT)


@examples(40)
@given(scales(-8, 4), scales(-8, 4), scales(-9, 12), ZERO_POINTS, ZERO_POINTS, ZERO_POINTS)
def test_squared_differences_of_all_pairs(
    a: float, b: float, ratio: float, a_zero: int, b_zero: int, out_zero: int
) -> None:
    inputs = [tensor((256, 256), a, a_zero), tensor((256, 256), b, b_zero)]
    assert_exact(model("SQUARED_DIFFERENCE", inputs, tensor((256, 256), max(a, b) ** 2 * ratio, out_zero)), LEFT, RIGHT)


# Shapes that broadcast, from the file's right end; True: the second input is a constant.
BROADCASTS = [
    ((2, 3, 4), (4,), True),
    ((2, 3, 4), (4,), False),
    ((4,), (2, 3, 4), False),
    ((4,), (2, 3, 4), True),
    ((2, 3, 1), (3, 4), False),
    ((2, 1, 4), (1, 3, 1), True),
    ((2, 3, 4), (), True),
    ((1, 1), (1, 1), False),
]


@pytest.mark.parametrize("name", ["ADD", "SUB", "MUL", "SQUARED_DIFFERENCE", "MAXIMUM", "MINIMUM"])
@pytest.mark.parametrize(("left", "right", "constant"), BROADCASTS)
def test_broadcasting(name: str, left: Sequence[int], right: Sequence[int], constant: bool) -> None:
    b = random_int8(2, 1 if constant else 3, *right)
    one_grid = name in ("MAXIMUM", "MINIMUM")
    grids = [(0.5, 3)] * 3 if one_grid else [(0.5, 3), (0.25, -5), (1.0, 9)]
    inputs = [tensor(left, *grids[0]), tensor(right, *grids[1], data=b[0] if constant else None)]
    one = model(name, inputs, tensor(np.broadcast_shapes(left, right), *grids[2]))
    assert_exact(one, random_int8(1, 3, *left), *([] if constant else [b]))


@examples(10)
@given(SEEDS, st.integers(1, 3000), st.integers(1, 300))
def test_blocks_of_pairs(seed: int, rows: int, columns: int) -> None:
    assume(rows * columns > 2**18 // 4)
    one = model("ADD", [tensor((columns,), 0.5), tensor((1,), 0.25, 7)], tensor((columns,), 1.0))
    a, b = random_int8(seed, rows, columns), random_int8(seed + 1, rows, 1)
    (whole,) = run_model(one, [a, b])
    for row in (0, rows // 2, rows - 1):
        np.testing.assert_array_equal(whole[row], litert(one, [a[row : row + 1], b[row : row + 1]])[0])


@pytest.mark.parametrize(("name", "low"), [("ADD", 2.0**-19), ("SUB", 2.0**-19), ("SQUARED_DIFFERENCE", 2.0**-12)])
def test_output_multipliers_of_one_and_more_are_refused(name: str, low: float) -> None:
    def run(scale: float) -> None:
        specs = [tensor((1,), 1.0), tensor((1,), 1.0)]
        run_model(model(name, specs, tensor((1,), scale)), [random_int8(1, 1, 1), random_int8(2, 1, 1)])

    run(low * 1.001)
    with pytest.raises(QuantError, match="not below 1"):
        run(low)


def test_selection_between_grids_is_refused() -> None:
    one = model("MAXIMUM", [tensor((2,), 0.5), tensor((2,), 0.25)], tensor((2,), 0.5))
    with pytest.raises(QuantError, match="different grids"):
        run_model(one, [random_int8(1, 1, 2), random_int8(2, 1, 2)])
