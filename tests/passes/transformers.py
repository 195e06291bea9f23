"""Pre-norm transformers in miniature, as the passes of the residual stream find them: norms without affine part."""

from __future__ import annotations

import numpy as np

from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import (
    Add,
    Attention,
    Concat,
    Const,
    Conv2d,
    Gelu,
    Input,
    LayerNorm,
    Linear,
    Reshape,
    RmsNorm,
    Slice,
    Transpose,
)
from edgevit.ir.types import TensorType


class Builder:
    """Draws weights in order; ``outlier`` is the factor of one channel of everything that writes to the stream."""

    def __init__(self, seed: int = 0, outlier: float = 1.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.outlier = outlier

    def const(self, *shape: int, scale: float = 1.0) -> Const:
        """Normal numbers."""
        return Const((scale * self.rng.standard_normal(shape)).astype(np.float32))

    def linear(self, x: Op, out: int, loc: str, *, bias: bool = True, writes: bool = False) -> Linear:
        """A linear layer that keeps the size of its numbers; ``writes``: with the outlier channel and a mean."""
        weight = self.const(out, x.shape[-1], scale=x.shape[-1] ** -0.5)
        shift = self.const(out, scale=0.3) if bias else None
        if writes:
            weight.data[0] *= self.outlier
            weight.data[:] += np.float32(0.1)
        return Linear(x, weight, shift, loc=loc)

    def heads(self, x: Op, heads: int, loc: str) -> Op:
        """Attention over (1, N, C) with a fused projection, as timm writes it; the heads merged, not projected yet."""
        _, n, c = x.shape
        qkv = Reshape(self.linear(x, 3 * c, f"{loc}.qkv"), (1, n, 3, heads, c // heads))
        parts = Transpose(qkv, (2, 0, 3, 1, 4))

        def part(i: int) -> Op:
            sliced = Slice(parts, (i, 0, 0, 0, 0), (i + 1, *parts.shape[1:]), (1,) * 5)
            return Reshape(sliced, parts.shape[1:])

        attended = Attention(part(0), part(1), part(2), scale=(c // heads) ** -0.5, loc=loc)
        return Reshape(Transpose(attended, (0, 2, 1, 3)), (1, n, c), loc=loc)

    def block(self, x: Op, heads: int, loc: str) -> Op:
        """One pre-norm block on the stream (1, N, C)."""
        c = x.shape[-1]
        merged = self.heads(LayerNorm(x, eps=1e-6, loc=f"{loc}.norm1"), heads, f"{loc}.attn")
        x = Add(x, self.linear(merged, c, f"{loc}.attn.proj", writes=True), loc=loc)
        hidden = Gelu(self.linear(LayerNorm(x, eps=1e-6, loc=f"{loc}.norm2"), 2 * c, f"{loc}.mlp.fc1"))
        return Add(x, self.linear(hidden, c, f"{loc}.mlp.fc2", writes=True), loc=loc)


def vit(
    channels: int = 16,
    *,
    depth: int = 2,
    heads: int = 2,
    tokens: int = 1,
    side: int = 8,
    seed: int = 0,
    outlier: float = 1.0,
    extra_reader: bool = False,
) -> Graph:
    """An image, patches by convolution, ``tokens`` class tokens, position embedding, blocks, norm, one head a token.

    ``extra_reader`` adds an output that reads the stream without a norm.
    """
    build = Builder(seed, outlier)
    image = Input("image", type=TensorType((1, side, side, 3)))
    patches = Conv2d(
        image, build.const(channels, 4, 4, 3, scale=0.2), build.const(channels), stride=(4, 4), loc="embed"
    )
    count = (side // 4) ** 2
    x: Op = Reshape(patches, (1, count, channels))
    x = Concat((build.const(1, tokens, channels), x), 1)
    x = Add(x, build.const(1, count + tokens, channels))
    for i in range(depth):
        x = build.block(x, heads, f"blocks.{i}")
    normed = LayerNorm(x, eps=1e-6, loc="norm")
    outputs: list[Op] = []
    for i in range(tokens):
        token = Slice(normed, (0, i, 0), (1, i + 1, channels), (1, 1, 1))
        outputs.append(build.linear(Reshape(token, (1, channels)), 10, f"head{i}"))
    if extra_reader:
        outputs.append(Gelu(x, loc="probe"))
    return Graph.of("vit", outputs, inputs=[image])


def two_stages(seed: int = 0) -> Graph:
    """Two streams of different width: the second begins with a norm and a projection of the first."""
    build = Builder(seed)
    x: Op = Input("x", type=TensorType((1, 6, 12)))
    x = build.block(build.linear(x, 8, "embed"), 2, "stages.0")
    x = build.linear(LayerNorm(x, loc="merge.norm"), 12, "merge", bias=False)
    x = build.block(x, 3, "stages.1")
    return Graph.of("stages", [build.linear(LayerNorm(x, loc="norm"), 4, "head")])


def norms(graph: Graph) -> list[LayerNorm | RmsNorm]:
    """The norms in execution order."""
    return [op for op in graph.ops if isinstance(op, (LayerNorm, RmsNorm))]
