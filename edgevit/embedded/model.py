"""The embedded model in PyTorch: a small Vision Transformer with a convolutional stem for 32x32 pictures.

Importing this module imports torch. Parameter names of the blocks follow timm's ``VisionTransformer``; those of the
whole model are those of ``weights.safetensors``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgevit.errors import FrontendError

LAYER_NORM_EPS: Final = 1e-6


class ConvStem(nn.Module):
    """(S, 3, H, W) to (S, H*W/16, dim): two 3x3 convolutions of stride 2, batch-normalized, ReLU between them."""

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, kernel_size=3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, dim, kernel_size=3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(dim)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens in raster order."""
        features: Tensor = functional.relu(self.bn1(self.conv1(images)))
        features = self.bn2(self.conv2(features))
        return features.flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention on (S, tokens, dim), written out as two products and a softmax."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, dim // heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """The attended tokens, same shape."""
        samples, length, dim = tokens.shape
        qkv = self.qkv(tokens).reshape(samples, length, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        weights = (query * self.head_dim**-0.5 @ key.transpose(-2, -1)).softmax(-1)
        merged = (weights @ value).transpose(1, 2).reshape(samples, length, dim)
        out: Tensor = self.proj(merged)
        return out


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them, on each token."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Same shape as ``tokens``."""
        out: Tensor = self.fc2(functional.gelu(self.fc1(tokens)))
        return out


class Block(nn.Module):
    """A pre-norm transformer block on (S, tokens, dim)."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(dim, hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """Same shape as ``tokens``."""
        tokens = tokens + self.attn(self.norm1(tokens))
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out


class SmallViT(nn.Module):
    """Normalized float32 (S, 3, 32, 32) to logits (S, classes): stem, class token, blocks, norm, linear head."""

    def __init__(
        self, dim: int = 128, depth: int = 6, heads: int = 4, hidden: int = 256, stem: int = 48, classes: int = 10
    ) -> None:
        super().__init__()
        self.patch_embed = ConvStem(dim, stem)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + 8 * 8, dim))
        self.blocks = nn.Sequential(*(Block(dim, heads, hidden) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.head = nn.Linear(dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (S, classes)."""
        return self.classify(self.patch_embed(images))

    def classify(self, patches: Tensor) -> Tensor:
        """Logits (S, classes) of the stem's tokens (S, 64, dim): all but the stem, which trains in float32."""
        class_token = self.cls_token.expand(patches.shape[0], -1, -1)
        tokens = torch.cat([class_token, patches], dim=1) + self.pos_embed
        logits: Tensor = self.head(self.norm(self.blocks(tokens))[:, 0])
        return logits


def saved_state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors that a weights file holds: all but the step counters of batch normalization."""
    return {name: tensor for name, tensor in model.state_dict().items() if not name.endswith(".num_batches_tracked")}


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill ``model`` from a safetensors file; raises :class:`FrontendError` if its tensors are not the model's."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    hint = "give a file written for this architecture, or reinstall edgevit where its own file is damaged"
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise FrontendError(f"weights cannot be read ({error})", where=str(path), hint=hint) from error
    expected = saved_state(model)
    differing = sorted(
        name
        for name in expected.keys() | found.keys()
        if name not in expected
        or name not in found
        or (found[name].shape, found[name].dtype) != (expected[name].shape, expected[name].dtype)
    )
    if differing:
        what = f"{len(differing)} tensors differ from the model in presence, shape or type, the first is {differing[0]}"
        raise FrontendError(what, where=str(path), hint=hint)
    model.load_state_dict(found, strict=False)
