"""Small float graphs that the tests of this folder quantize."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import (
    Add,
    Concat,
    Const,
    Conv2d,
    Gelu,
    Input,
    LayerNorm,
    Linear,
    MatMul,
    Mul,
    Relu,
    Reshape,
    Softmax,
    Transpose,
)
from edgevit.ir.types import DType, TensorType

Floats = NDArray[np.float32]


def constant(array: object) -> Const:
    return Const(np.asarray(array, np.float32))


def linear(x: Op, out: int, rng: np.random.Generator, loc: str, *, bias: bool = True, scale: float = 1.0) -> Linear:
    fan_in = x.shape[-1]
    weight = constant(rng.normal(size=(out, fan_in)) * scale / np.sqrt(fan_in))
    return Linear(x, weight, constant(rng.normal(size=out) * 0.1) if bias else None, loc=loc)


def features(size: int) -> Input:
    return Input("x", type=TensorType((1, size), DType.F32))


def mlp(seed: int = 0, size: int = 16) -> Graph:
    """Linear, relu, linear on a vector that is no image."""
    rng = np.random.default_rng(seed)
    x = features(size)
    hidden = Relu(linear(x, 32, rng, "fc1"), loc="act")
    return Graph.of("mlp", [linear(hidden, 10, rng, "fc2")], inputs=[x])


def vit(seed: int = 0, *, side: int = 8, channels: int = 16, heads: int = 2, depth: int = 2) -> Graph:
    """A ViT in miniature on raw pixels: patches by convolution, class token, pre-norm blocks, one head matrix product
    each.
    """
    rng = np.random.default_rng(seed)
    image = Input("image", type=TensorType((1, side, side, 3), DType.F32))
    normal = Add(Mul(image, constant([1 / 64, 1 / 60, 1 / 70])), constant([-2.0, -1.9, -1.8]), loc="normalize")
    kernel = constant(rng.normal(size=(channels, 4, 4, 3)) / np.sqrt(48))
    patches = Conv2d(normal, kernel, constant(rng.normal(size=channels) * 0.1), stride=(4, 4), loc="patch_embed")
    count = (side // 4) ** 2
    tokens = Reshape(patches, (1, count, channels), loc="patch_embed")
    x: Op = Concat((constant(rng.normal(size=(1, 1, channels))), tokens), 1, loc="class_token")
    x = Add(x, constant(rng.normal(size=(1, count + 1, channels)) * 0.2), loc="pos_embed")
    for i in range(depth):
        x = _block(x, rng, f"blocks.{i}", heads)
    x = _norm(x, rng, "norm")
    return Graph.of("vit", [linear(x, 10, rng, "head")], inputs=[image])


def _norm(x: Op, rng: np.random.Generator, loc: str) -> Op:
    channels = x.shape[-1]
    gamma = np.exp(rng.normal(size=channels))
    return LayerNorm(x, constant(gamma), constant(rng.normal(size=channels) * gamma), loc=loc)


def _block(x: Op, rng: np.random.Generator, loc: str, heads: int) -> Op:
    channels = x.shape[-1]
    each = channels // heads
    y = _norm(x, rng, f"{loc}.norm1")
    mixed: list[Op] = []
    for _ in range(heads):
        q, k, v = (linear(y, each, rng, f"{loc}.attn.qkv") for _ in range(3))
        product = MatMul(q, Transpose(k, (0, 2, 1), loc=f"{loc}.attn"), loc=f"{loc}.attn")
        scores = Mul(product, constant(each**-0.5), loc=f"{loc}.attn")
        mixed.append(MatMul(Softmax(scores, loc=f"{loc}.attn"), v, loc=f"{loc}.attn"))
    attended = linear(Concat(tuple(mixed), 2, loc=f"{loc}.attn"), channels, rng, f"{loc}.attn.proj")
    x = Add(x, attended, loc=f"{loc}.add1")
    y = _norm(x, rng, f"{loc}.norm2")
    hidden = Gelu(linear(y, 4 * channels, rng, f"{loc}.mlp.fc1"), loc=f"{loc}.mlp.act")
    return Add(x, linear(hidden, channels, rng, f"{loc}.mlp.fc2"), loc=f"{loc}.add2")


def pictures(count: int, side: int = 8, seed: int = 1) -> NDArray[np.uint8]:
    """Smooth random images (S, side, side, 3) of all 256 brightnesses."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, side // 2, side // 2, 3))
    fine = coarse.repeat(2, axis=1).repeat(2, axis=2) + rng.integers(-20, 21, (count, side, side, 3))
    return np.clip(fine, 0, 255).astype(np.uint8)


def vectors(count: int, size: int = 16, seed: int = 2) -> Floats:
    return np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
