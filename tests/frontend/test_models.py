"""Whole models: their logits in the interpreter are torch's."""

from __future__ import annotations

import pytest

from edgevit.frontend import LoadedModel, load_model, lower
from edgevit.ir.graph import Graph
from edgevit.ir.ops import Attention, BatchNorm, Conv2d, Gelu, GroupNorm, LayerNorm, Linear
from edgevit.ir.verify import verify
from tests.frontend.compare import assert_same, perturb
from tests.tools import requires

NAMED = (
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "deit_small_patch16_224",
    "vit_base_patch16_224",
    "swin_tiny_patch4_window7_224",
    "pvt_v2_b0",
    "poolformer_s12",
    "resmlp_12_224",
)
FURTHER = (
    "convnext_atto",
    "edgenext_xx_small",
    "efficientformer_l1",
    "efficientvit_b1",
    "levit_128s",
    "mobilevit_xxs",
    "tiny_vit_5m_224",
    "xcit_nano_12_p16_224",
)
"""One of each further family of the survey whose operators the named models do not have, in its smallest size."""


def count(graph: Graph, cls: type) -> int:
    return sum(isinstance(op, cls) for op in graph.ops)


def check(loaded: LoadedModel) -> Graph:
    assert loaded.module is not None
    perturb(loaded.module)
    graph = lower(loaded)
    verify(graph)
    assert_same(graph, loaded.module, loaded.preprocess)
    return graph


@requires("torch")
def test_embedded_model_matches_torch() -> None:
    graph = check(load_model("embedded"))
    assert graph.inputs[0].shape == (1, 32, 32, 3)
    assert graph.outputs[0].shape == (1, 10)
    assert (count(graph, Conv2d), count(graph, BatchNorm), count(graph, LayerNorm), count(graph, Gelu)) == (2, 2, 13, 6)


@requires("torch", "timm")
@pytest.mark.parametrize("name", NAMED)
def test_named_model_matches_torch(name: str) -> None:
    loaded = load_model(f"timm:{name}")
    graph = check(loaded)
    assert graph.name == name
    assert graph.inputs[0].shape == (1, 224, 224, 3)
    assert graph.outputs[0].shape == (1, 1000)
    assert loaded.num_classes == 1000


@requires("torch", "timm")
@pytest.mark.parametrize("name", FURTHER)
def test_further_family_matches_torch(name: str) -> None:
    check(load_model(f"timm:{name}"))


@requires("torch", "timm")
def test_vit_is_raised_to_whole_ops() -> None:
    graph = lower(load_model("timm:deit_tiny_patch16_224"))
    found = [count(graph, cls) for cls in (Attention, LayerNorm, Gelu, Linear, Conv2d)]
    assert found == [12, 25, 12, 49, 1]
    assert graph.parameters == pytest.approx(5_717_416, rel=0.001)


@requires("torch", "timm")
def test_swin_bias_and_mask_are_constants_of_attention() -> None:
    graph = lower(load_model("timm:swin_tiny_patch4_window7_224"))
    masks = [op.mask for op in graph.ops if isinstance(op, Attention)]
    assert len(masks) == 12
    assert all(mask is not None and mask.NAME == "const" for mask in masks)


@requires("torch", "timm")
def test_poolformer_has_group_norms() -> None:
    assert count(lower(load_model("timm:poolformer_s12")), GroupNorm) == 24


@requires("torch", "timm")
def test_every_compute_op_has_a_module_path() -> None:
    graph = lower(load_model("timm:deit_tiny_patch16_224"))
    places = [op.loc for op in graph.ops if isinstance(op, (Linear, LayerNorm, Gelu, Attention, Conv2d))]
    assert "blocks.3.attn.qkv" in places
    assert "blocks.11.mlp.fc2" in places
    assert "patch_embed.proj" in places
    assert "head" in places
    assert {op.loc for op in graph.ops if isinstance(op, Gelu)} == {f"blocks.{i}.mlp.act" for i in range(12)}
    assert all(places)
    weights = {op.weight.loc for op in graph.ops if isinstance(op, Linear)}
    assert "blocks.3.attn.qkv.weight" in weights
