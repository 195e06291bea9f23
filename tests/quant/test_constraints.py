from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgevit.errors import QuantError
from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Concat, Input, MatMul, Pad, Relu, Reshape, Sigmoid, Slice, Softmax, Transpose
from edgevit.ir.types import DType, TensorType
from edgevit.quant.config import LayerOverride, QuantConfig
from edgevit.quant.constraints import INT8_POLICY, group_range, group_spec, share_grids
from tests.quant.graphs import constant, vit


def value(name: str, *shape: int) -> Input:
    return Input(name, type=TensorType(shape, DType.F32))


def test_layout_ops_and_their_operand_share_one_group() -> None:
    x = value("x", 2, 6)
    y = Transpose(Reshape(x, (3, 4)), (1, 0))
    z = Relu(y)
    sharing = share_grids(Graph.of("g", [z]), INT8_POLICY)
    group = sharing.group_of[x]
    assert group.members == [x, y.x, y]
    assert group.sources == [x]
    assert sharing.group_of[z] is not group


def test_concat_joins_its_operands_and_holds_its_constants() -> None:
    a, b = value("a", 1, 2), value("b", 1, 3)
    part = Slice(b, (0, 0), (1, 2), (1, 1))
    whole = Concat((a, constant([[-9.0]]), part), 1)
    sharing = share_grids(Graph.of("g", [whole]), INT8_POLICY)
    group = sharing.group_of[whole]
    assert group.sources == [a, b]
    spec = group_spec(group, INT8_POLICY, QuantConfig())
    assert group_range(group, {a: (-1.0, 1.0), b: (-2.0, 0.5)}, spec) == (-9.0, 1.0)


def test_padding_widens_the_group() -> None:
    x = value("x", 1, 2)
    group = share_grids(Graph.of("g", [Pad(x, (0, 1), (0, 0), value=7.0)]), INT8_POLICY).group_of[x]
    assert group_range(group, {x: (-1.0, 1.0)}, group_spec(group, INT8_POLICY, QuantConfig())) == (-1.0, 7.0)


def test_built_in_grids_stay_apart_from_others_but_join_their_like() -> None:
    x = value("x", 1, 4)
    probabilities, gates = Softmax(x), Sigmoid(x)
    alike = Concat((probabilities, Reshape(gates, (1, 4))), 1)
    mixed = Concat((probabilities, Add(x, x)), 1)
    sharing = share_grids(Graph.of("g", [alike, mixed]), INT8_POLICY)
    assert sharing.group_of[alike].fixed == INT8_POLICY.fixed[Softmax]
    assert sharing.group_of[mixed].fixed is None
    assert sharing.requantized == {(mixed, probabilities)}
    assert sharing.group_of[mixed].feeds == [probabilities]


def test_right_hand_operands_are_symmetric_back_to_their_source() -> None:
    q, k = value("q", 1, 4, 8), value("k", 1, 4, 8)
    product = MatMul(q, Transpose(k, (0, 2, 1)))
    sharing = share_grids(Graph.of("g", [product]), INT8_POLICY)
    assert group_spec(sharing.group_of[k], INT8_POLICY, QuantConfig()).symmetric
    assert not group_spec(sharing.group_of[q], INT8_POLICY, QuantConfig()).symmetric


def test_a_right_hand_operand_with_a_built_in_zero_point_is_refused() -> None:
    x = value("x", 1, 4, 4)
    with pytest.raises(QuantError, match="zero point 0") as caught:
        share_grids(Graph.of("g", [MatMul(x, Softmax(x), loc="attn")]), INT8_POLICY)
    assert caught.value.where == "attn"


def test_the_finest_wish_in_a_group_wins() -> None:
    a, b = value("a", 1, 2), value("b", 1, 2)
    one, two = Relu(a, loc="one"), Relu(b, loc="two")
    group = share_grids(Graph.of("g", [Concat((one, two), 1)]), INT8_POLICY).group_of[one]
    config = QuantConfig(activation_bits=4, layers=(LayerOverride(match="two", activation_bits=6),))
    assert group_spec(group, INT8_POLICY, config).bits == 6


def test_every_activation_is_in_exactly_one_group() -> None:
    graph = vit()
    sharing = share_grids(graph, INT8_POLICY)
    activations = [op for op in graph.ops if op.NAME != "const"]
    counted: list[Op] = [op for group in sharing.groups for op in group.members]
    assert len(counted) == len(set(counted)) == len(activations)
    assert all(group.sources or group.fixed for group in sharing.groups)
    assert sharing.group_of[graph.inputs[0]].fixed == INT8_POLICY.pixels


def test_pixel_grids_are_the_pixels() -> None:
    assert INT8_POLICY.pixels.zero_point == (-128,)
    unsigned = replace(INT8_POLICY, dtype=DType.U8)
    assert unsigned.pixels.zero_point == (0,)
    assert np.float32(unsigned.pixels.scale[0]) == 1
