"""Every rule of what the Edge TPU takes, operator by operator: versions, types, shapes, options, axes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgevit_coral import limits
from edgevit_coral.mapping import Mapping, predict
from tests.coral.mapping_models import Net, attention, chain


def _one(name: str, version: int, build: Callable[[Net], tuple[list[int], int, dict[str, object]]]) -> Mapping:
    net = Net()
    inputs, output, options = build(net)
    net.op(name, version, inputs, output, **options)  # type: ignore[arg-type]
    return predict(net.model([i for i in inputs if i >= 0 and not net.tensors[i].is_constant], output))


def test_attention_over_197_tokens_is_mapped_but_unproven() -> None:
    mapping = predict(attention(197, 64, 64))
    assert mapping.summary.mapped == 3
    assert mapping.summary.unproven == 3
    assert any("197 rows; seen mapped up to 49" in note for note in mapping.ops[0].notes)
    assert any("[197, 64]; seen mapped up to 128" in note for note in mapping.ops[0].notes)
    assert mapping.ops[0].evidence == "infer"


@pytest.mark.parametrize(("name", "highest"), sorted(limits.HIGHEST_MAPPED_VERSION.items()))
def test_versions_beyond_those_seen_mapped_stay_on_the_cpu(name: str, highest: int) -> None:
    statuses = [op.status for op in predict(chain([(name, highest)])).ops]
    assert statuses == [limits.MAPPED]
    parsed = limits.HIGHEST_PARSED_VERSION.get(name, highest + 1)
    beyond = predict(chain([(name, highest + 1)]))
    assert beyond.rejected_at_parse == (highest + 1 > parsed)
    expected = limits.NOT_PARSED if beyond.rejected_at_parse else limits.VERSION
    assert beyond.ops[0].status == expected
    assert not beyond.ops[0].mapped


def test_the_reason_names_the_version() -> None:
    op = predict(chain([("FULLY_CONNECTED", 5)])).ops[0]
    assert op.why == "FULLY_CONNECTED v5: highest version seen mapped is 4"
    assert "version 4 or lower" in op.remedy
    assert (op.status, op.evidence) == (limits.VERSION, "artifact")


def test_a_version_that_the_parser_does_not_know_rejects_the_whole_model() -> None:
    mapping = predict(chain([("LOGISTIC", 2), ("FULLY_CONNECTED", 10), ("TANH", 2)]))
    assert mapping.rejected_at_parse
    assert mapping.rejected.startswith("Didn't find op for builtin opcode 'FULLY_CONNECTED' version '10'")
    assert mapping.summary.mapped == 0
    assert {op.status for op in mapping.ops} == {limits.NOT_PARSED}
    assert mapping.subgraphs == 0


def test_gelu_rejects_the_whole_model_with_the_compilers_message() -> None:
    mapping = predict(chain([("FULLY_CONNECTED", 4), ("GELU", 1)]))
    assert mapping.rejected_at_parse
    assert "Op builtin_code out of range: 150" in mapping.rejected
    assert str(mapping.summary).startswith("rejected by the compiler: Op builtin_code out of range: 150")
    assert "LOGISTIC" in mapping.ops[1].remedy


def test_every_stablehlo_builtin_is_unknown_to_the_parser() -> None:
    assert predict(chain([("STABLEHLO_COSINE", 1)])).rejected_at_parse


@pytest.mark.parametrize("name", sorted(set(limits.NEVER_MAPPED) - set(limits.UNPARSED_BUILTINS)))
def test_never_mapped_ops(name: str) -> None:
    mapping = predict(chain([("TANH", 1), (name, 1)]))
    assert [op.mapped for op in mapping.ops] == [True, False]
    assert mapping.ops[1].status in (limits.NOT_SUPPORTED, limits.DATA_TYPE)
    assert mapping.ops[1].remedy == limits.NEVER_MAPPED[name]
    assert mapping.ops[1].evidence == "artifact"


def test_an_op_outside_both_lists_is_not_supported_by_inference() -> None:
    op = predict(chain([("CUMSUM", 1)])).ops[0]
    assert (op.status, op.evidence) == (limits.NOT_SUPPORTED, "infer")


def test_requantization_of_a_uint8_input_is_mapped() -> None:
    net = Net()
    source = net.activation(1, 8, 8, 3, dtype="uint8")
    result = net.op("QUANTIZE", 1, (source,), net.activation(1, 8, 8, 3))
    assert predict(net.model((source,), result)).summary.mapped == 1


@pytest.mark.parametrize("dtype", ["float32", "int16", "int32", "bfloat16"])
def test_other_types_than_int8_and_uint8_are_unsupported(dtype: str) -> None:
    net = Net()
    source = net.activation(4, 8, dtype=dtype, name="wide")
    mapping = predict(net.model((source,), net.op("TANH", 1, (source,), net.activation(4, 8, dtype=dtype))))
    assert mapping.ops[0].status == limits.DATA_TYPE
    assert f"'wide' is {dtype}" in mapping.ops[0].why


def test_a_bias_has_to_be_int32() -> None:
    net = Net()
    source, weights = net.activation(1, 8), net.constant(np.ones((4, 8), np.int8))
    bias = net.constant(np.zeros(4, np.float32), name="bias")
    mapping = predict(net.model((source,), net.op("FULLY_CONNECTED", 4, (source, weights, bias), net.activation(1, 4))))
    assert (mapping.ops[0].status, mapping.ops[0].why) == (
        limits.DATA_TYPE,
        "bias 'bias' of FULLY_CONNECTED is float32, not int32",
    )


def test_arguments_and_convolution_weights_have_to_be_constant() -> None:
    net = Net()
    source, shape = net.activation(4, 8), net.activation(1, dtype="int32", name="shape")
    net.op("RESHAPE", 1, (source, shape), net.activation(8, 4))
    image, weights = net.activation(1, 8, 8, 3), net.activation(4, 1, 1, 3, name="kernel")
    result = net.op("CONV_2D", 3, (image, weights, -1), net.activation(1, 8, 8, 4))
    mapping = predict(net.model((source, shape, image, weights), result))
    assert mapping.ops[0].status == limits.DATA_TYPE
    assert "'shape' of RESHAPE is computed at run time" in mapping.ops[0].why
    assert "'kernel' of CONV_2D is computed at run time" in mapping.ops[1].why


def test_dynamic_shapes_stop_the_compiler_but_not_its_parser() -> None:
    net = Net()
    source = net.activation(-1, 8)
    result = net.op("TANH", 1, (source,), net.activation(-1, 8))
    mapping = predict(net.model((source,), net.op("RELU", 1, (result,), net.activation(1, 8))))
    assert mapping.summary.mapped == 0
    assert "dynamic" in mapping.rejected
    assert not mapping.rejected_at_parse
    assert {op.status for op in mapping.ops} == {limits.NOT_COMPILED}


@pytest.mark.parametrize(
    ("shape", "mapped"), [((1, 4, 49, 49), True), ((2, 4, 49, 49), False), ((1, 1, 7, 7, 8), True)]
)
def test_above_three_dimensions_only_the_innermost_three_exceed_one(shape: tuple[int, ...], mapped: bool) -> None:
    result = _one("SOFTMAX", 2, lambda net: ([net.activation(*shape)], net.activation(*shape), {}))
    assert result.ops[0].mapped is mapped


@pytest.mark.parametrize("name", ["AVERAGE_POOL_2D", "MAX_POOL_2D", "CONCATENATION"])
@pytest.mark.parametrize(("fused", "mapped"), [("NONE", True), ("RELU", False)])
def test_no_fused_activation_on_pools_and_concatenation(name: str, fused: str, mapped: bool) -> None:
    options: dict[str, object] = {"fused_activation_function": fused}
    result = _one(name, 1, lambda net: ([net.activation(1, 4, 4, 8)], net.activation(1, 2, 2, 8), options))
    assert result.ops[0].mapped is mapped
    assert mapped or "RELU fused" in result.ops[0].why


@pytest.mark.parametrize(
    ("value", "zero_point", "extra", "mapped"),
    [(0, 0, 0, True), (-5, -5, 0, True), (0, -5, 0, False), (1, 0, 0, False), (0, 0, 1, False)],
)
def test_concatenation_with_a_constant(value: int, zero_point: int, extra: int, mapped: bool) -> None:
    net = Net()
    source = net.activation(1, 4, 8)
    token = net.constant(np.full((1, 1, 8), value, np.int8), zero_point=zero_point)
    more = [net.activation(1, 1, 8) for _ in range(extra)]
    result = net.op("CONCATENATION", 2, (source, token, *more), net.activation(1, 5 + extra, 8), axis=1)
    mapping = predict(net.model((source, *more), result))
    assert mapping.ops[0].mapped is mapped


def test_concatenation_of_many_activations_is_mapped() -> None:
    result = _one(
        "CONCATENATION", 2, lambda net: ([net.activation(1, 4, 8) for _ in range(5)], net.activation(1, 20, 8), {})
    )
    assert result.ops[0].mapped


@pytest.mark.parametrize("name", ["CONV_2D", "DEPTHWISE_CONV_2D"])
@pytest.mark.parametrize(("across", "down", "mapped"), [(1, 1, True), (2, 2, True), (1, 2, False)])
def test_dilation_is_the_same_in_x_and_y(name: str, across: int, down: int, mapped: bool) -> None:
    def build(net: Net) -> tuple[list[int], int, dict[str, object]]:
        weights = net.constant(np.ones((8, 3, 3, 8), np.int8))
        options: dict[str, object] = {"dilation_w_factor": across, "dilation_h_factor": down}
        return [net.activation(1, 9, 9, 8), weights, -1], net.activation(1, 5, 5, 8), options

    assert _one(name, 3, build).ops[0].mapped is mapped


@pytest.mark.parametrize(
    ("name", "shape", "axes", "mapped"),
    [
        ("MEAN", (1, 49, 448), (1,), True),
        ("MEAN", (1, 49, 448), (-1,), True),
        ("MEAN", (1, 49, 446), (2,), False),
        ("MEAN", (1, 49, 446), (1,), True),
        ("MEAN", (1, 7, 7, 8), (1, 2), True),
        ("MEAN", (1, 7, 7, 8), (0, 1), False),
        ("MEAN", (49, 448), (-2,), False),
        ("MEAN", (448,), (0,), True),
        ("SUM", (1, 49, 446), (2,), True),
        ("SUM", (1, 49, 448), (0,), False),
        ("REDUCE_MAX", (1, 7, 7, 8), (-4,), False),
        ("REDUCE_MIN", (1, 7, 7, 8), (3,), True),
    ],
)
def test_reductions(name: str, shape: tuple[int, ...], axes: tuple[int, ...], mapped: bool) -> None:
    result = _one(name, 2, lambda net: ([net.activation(*shape), net.integers(axes)], net.activation(1, 1), {}))
    assert result.ops[0].mapped is mapped
    assert mapped or ("batch" in result.ops[0].why) != ("multiple of 4" in result.ops[0].why)


@pytest.mark.parametrize(("first", "mapped"), [([0, 0], True), ([1, 0], False), ([0, 1], False)])
def test_pad_leaves_the_batch_alone(first: list[int], mapped: bool) -> None:
    paddings = [first, [1, 1], [0, 0]]
    result = _one(
        "PAD", 2, lambda net: ([net.activation(1, 4, 8), net.integers(paddings)], net.activation(1, 6, 8), {})
    )
    assert result.ops[0].mapped is mapped


@pytest.mark.parametrize(
    ("shape", "axis", "mapped"),
    [((4, 49, 49), 0, True), ((1, 4, 7, 8), 0, False), ((1, 4, 7, 8), -4, False), ((1, 4, 7, 8), 1, True)],
)
def test_pack_to_the_front_of_three_dimensions_is_in_a_compiled_model(
    shape: tuple[int, ...], axis: int, mapped: bool
) -> None:
    result = _one("PACK", 2, lambda net: ([net.activation(49, 49)], net.activation(*shape), {"axis": axis}))
    assert result.ops[0].mapped is mapped


@pytest.mark.parametrize(("axis", "mapped"), [(0, False), (-3, False), (1, True), (-1, True)])
def test_split_along_axis_0_was_left_on_the_cpu(axis: int, mapped: bool) -> None:
    result = _one(
        "SPLIT", 2, lambda net: ([net.integers([axis]), net.activation(4, 49, 32)], net.activation(4, 49, 16), {})
    )
    assert result.ops[0].mapped is mapped
    assert mapped or result.ops[0].evidence == "artifact"


@pytest.mark.parametrize(
    ("strides", "options", "mapped"),
    [
        ([1, 1], {}, True),
        ([1, 1], {"shrink_axis_mask": 1}, True),
        ([1, 2], {}, False),
        ([1, 1], {"ellipsis_mask": 1}, False),
        ([1, 1], {"new_axis_mask": 2}, False),
    ],
)
def test_strided_slice(strides: list[int], options: dict[str, object], mapped: bool) -> None:
    def build(net: Net) -> tuple[list[int], int, dict[str, object]]:
        bounds = [net.integers([0, 0]), net.integers([4, 4]), net.integers(strides)]
        return [net.activation(8, 8), *bounds], net.activation(4, 4), options

    assert _one("STRIDED_SLICE", 2, build).ops[0].mapped is mapped


@pytest.mark.parametrize(("shape", "mapped"), [((8,), True), ((1, 1, 8), True), ((4, 4, 8), False)])
def test_prelu_has_one_alpha_a_channel(shape: tuple[int, ...], mapped: bool) -> None:
    def build(net: Net) -> tuple[list[int], int, dict[str, object]]:
        return [net.activation(1, 4, 4, 8), net.constant(np.ones(shape, np.int8))], net.activation(1, 4, 4, 8), {}

    assert _one("PRELU", 1, build).ops[0].mapped is mapped


@pytest.mark.parametrize(
    ("shape", "perm", "mapped", "proven"),
    [
        ((1, 49, 4, 32), (0, 2, 1, 3), True, True),
        ((1, 197, 3, 64), (0, 2, 1, 3), True, False),
        ((1, 64, 256, 3), (0, 3, 2, 1), False, True),
        ((1, 256, 256, 3), (0, 1, 2, 3), True, False),
        ((197, 768), (1, 0), True, False),
    ],
)
def test_transpose(shape: tuple[int, ...], perm: tuple[int, ...], mapped: bool, proven: bool) -> None:
    def build(net: Net) -> tuple[list[int], int, dict[str, object]]:
        return [net.activation(*shape), net.integers(perm)], net.activation(*(shape[axis] for axis in perm)), {}

    op = _one("TRANSPOSE", 2, build).ops[0]
    assert op.mapped is mapped
    assert (not op.notes) is proven


def test_fully_connected_wants_the_default_weight_format() -> None:
    def build(net: Net) -> tuple[list[int], int, dict[str, object]]:
        weights = net.constant(np.ones((4, 8), np.int8))
        return [net.activation(1, 8), weights, -1], net.activation(1, 4), {"weights_format": "SHUFFLED4x16INT8"}

    assert "SHUFFLED4x16INT8" in _one("FULLY_CONNECTED", 2, build).ops[0].why
