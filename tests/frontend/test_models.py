"""Whole models: their logits in the interpreter are torch's."""

from __future__ import annotations

import pytest

from edgevit.frontend import LoadedModel, load_model, lower
from edgevit.ir.graph import Graph
from edgevit.ir.ops import (
    Attention,
    AvgPool2d,
    BatchNorm,
    Concat,
    Const,
    Conv2d,
    Gather,
    Gelu,
    GroupNorm,
    LayerNorm,
    Linear,
    MatMul,
    Softmax,
)
from tests.frontend.compare import assert_same, perturb
from tests.tools import requires

EXPECTED = {
    "vit_tiny_patch16_224": {Attention: 12, LayerNorm: 25, Gelu: 12, Linear: 49, Conv2d: 1, Softmax: 0, MatMul: 0},
    "deit_tiny_patch16_224": {Attention: 12, LayerNorm: 25, Gelu: 12, Linear: 49, Conv2d: 1},
    "deit_tiny_distilled_patch16_224": {Attention: 12, Linear: 50},
    "deit_small_patch16_224": {Attention: 12, LayerNorm: 25},
    "vit_base_patch16_224": {Attention: 12, LayerNorm: 25},
    "swin_tiny_patch4_window7_224": {Attention: 12, LayerNorm: 29, Gather: 0, Concat: 20},
    "pvt_v2_b0": {Attention: 8, Conv2d: 18},
    "poolformer_s12": {GroupNorm: 24, AvgPool2d: 12},
    "resmlp_12_224": {Linear: 37, Gelu: 12},
}
"""The models that the first release promises, and how many ops of some classes each is raised to."""

FURTHER = (
    "convnext_atto",
    "edgenext_xx_small",
    "efficientvit_b1",
    "levit_128s",
    "mobilevit_xxs",
    "xcit_nano_12_p16_224",
)
"""Further families of the survey, for their other operators, each in its smallest size."""


def count(graph: Graph, cls: type) -> int:
    return sum(isinstance(op, cls) for op in graph.ops)


def check(loaded: LoadedModel) -> Graph:
    assert loaded.module is not None
    perturb(loaded.module)
    graph = lower(loaded)
    assert_same(graph, loaded.module, loaded.preprocess)
    return graph


@requires("torch")
def test_embedded_model_matches_torch() -> None:
    graph = check(load_model("embedded"))
    assert graph.inputs[0].shape == (1, 32, 32, 3)
    assert graph.outputs[0].shape == (1, 10)
    assert (count(graph, Conv2d), count(graph, BatchNorm), count(graph, LayerNorm), count(graph, Gelu)) == (2, 2, 13, 6)
    places = {op.loc for op in graph.ops}
    assert {"patch_embed.conv1", "blocks.3.attn", "blocks.3.attn.qkv", "blocks.5.mlp.fc2", "head"} <= places
    assert {op.weight.loc for op in graph.ops if isinstance(op, Linear)} >= {"blocks.3.attn.qkv.weight", "head.weight"}


@requires("torch", "timm")
@pytest.mark.parametrize("name", EXPECTED)
def test_named_model_matches_torch(name: str) -> None:
    loaded = load_model(f"timm:{name}")
    assert loaded.num_classes == 1000
    graph = check(loaded)
    assert graph.name == name
    assert graph.inputs[0].shape == (1, 224, 224, 3)
    assert graph.outputs[0].shape == (1, 1000)
    assert {cls: count(graph, cls) for cls in EXPECTED[name]} == EXPECTED[name]
    compute = [op for op in graph.ops if isinstance(op, (Linear, LayerNorm, GroupNorm, Gelu, Attention, Conv2d))]
    assert all(op.loc for op in compute)
    masks = [op.mask for op in graph.ops if isinstance(op, Attention) and op.mask is not None]
    assert len(masks) == (12 if name.startswith("swin") else 0)
    assert all(isinstance(mask, Const) for mask in masks)


@requires("torch", "timm")
@pytest.mark.parametrize("name", FURTHER)
def test_further_family_matches_torch(name: str) -> None:
    check(load_model(f"timm:{name}"))
