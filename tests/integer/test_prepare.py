"""The float passes of the integer path change no number, and leave the ops that it has kernels for."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.integer.prepare import float_passes, integer_config, integer_policy
from edgevit.ir import ops as core
from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.types import DType
from edgevit.quant.config import QuantConfig
from edgevit.quant.constraints import group_spec, share_grids
from tests.ir.single import normal
from tests.quant.graphs import pictures, vit


def test_the_miniature_keeps_its_logits() -> None:
    graph = vit()
    prepared = float_passes().run(graph).graph
    images = pictures(4)[:, None].astype(np.float32)
    np.testing.assert_allclose(run(prepared, [images])[0], run(graph, [images])[0], rtol=2e-4, atol=2e-4)
    kinds = {type(op) for op in prepared.ops}
    assert core.Attention not in kinds
    assert {core.Softmax, core.Gelu, core.LayerNorm, core.MatMul} <= kinds


def test_an_affine_part_with_several_readers_returns_to_its_norm() -> None:
    prepared = float_passes().run(vit()).graph
    norms = {op.loc: op for op in prepared.ops if isinstance(op, core.LayerNorm)}
    assert norms["blocks.0.norm1"].gamma is not None, "read by all heads' q, k and v"
    assert norms["blocks.0.norm2"].gamma is None, "folded into fc1"


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_written_out_with_its_heads_side_by_side(masked: bool) -> None:
    q, k, v = (core.Input(name, type=core.Const(normal(1, 3, 5, 4)).type) for name in "qkv")
    mask = core.Const(normal(5, 5, seed=3)) if masked else None
    graph = Graph.of("g", [core.Attention(q, k, v, mask, 0.5, loc="attn")], inputs=[q, k, v])
    prepared = float_passes().run(graph).graph
    assert [op.shape for op in prepared.ops if isinstance(op, core.MatMul)] == [(1, 3, 5, 5), (1, 3, 5, 4)]
    arrays = [normal(2, 1, 3, 5, 4, seed=i) for i in range(3)]
    np.testing.assert_allclose(run(prepared, arrays)[0], run(graph, arrays)[0], rtol=1e-5, atol=1e-6)


def test_the_policy_widens_sums_and_outputs_but_not_shifted_pixels() -> None:
    graph = float_passes().run(vit()).graph
    for bits, dtype in ((16, DType.I16), (8, DType.I8)):
        policy = integer_policy(16 if bits == 16 else 8)
        sharing = share_grids(graph, policy)
        specs = {op: group_spec(group, policy, QuantConfig()) for op, group in sharing.group_of.items()}
        for op in graph.ops:
            if isinstance(op, core.Add) and not isinstance(op.lhs, core.Input):
                assert specs[op].dtype is dtype
                assert specs[op].bits == bits
            if isinstance(op, (core.LayerNorm, core.Gelu, core.Softmax)):
                assert specs[op].dtype is DType.I8
        assert specs[graph.outputs[0]].dtype is dtype


def test_weights_are_per_channel_whatever_the_configuration_says() -> None:
    config = QuantConfig(weights="per-tensor", activation_bits=6)
    assert integer_config(config).weights == "per-channel"
    assert integer_config(config).activation_bits == 6
