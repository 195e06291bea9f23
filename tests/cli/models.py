"""Models small enough to be exported in a moment, as a file that a user would name: ``FILE.py:CALLABLE``."""

from __future__ import annotations

from pathlib import Path

SOURCE = '''
import torch
from torch.nn import functional

from edgevit.data import Preprocess

SIZE = Preprocess(size=(16, 16))


class Attention(torch.nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = torch.nn.Linear(dim, 3 * dim)
        self.proj = torch.nn.Linear(dim, dim)

    def forward(self, x):
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        x = functional.scaled_dot_product_attention(*qkv.unbind(0))
        return self.proj(x.transpose(1, 2).reshape(batch, tokens, dim))


class Block(torch.nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm1, self.norm2 = torch.nn.LayerNorm(dim), torch.nn.LayerNorm(dim)
        self.attn = Attention(dim, 2)
        self.fc1, self.fc2 = torch.nn.Linear(dim, 2 * dim), torch.nn.Linear(2 * dim, dim)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class Tiny(torch.nn.Module):
    """A Vision Transformer of one block on four patches."""

    def __init__(self, middle=None):
        super().__init__()
        self.embed = torch.nn.Conv2d(3, 16, 8, 8)
        self.position = torch.nn.Parameter(0.1 * torch.randn(1, 4, 16))
        self.block = Block(16)
        self.middle = middle or torch.nn.Identity()
        self.norm = torch.nn.LayerNorm(16)
        self.head = torch.nn.Linear(16, 3)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2) + self.position
        return self.head(self.norm(self.middle(self.block(x))).mean(1))


class Unsupported(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = Determinant(), Sorted()

    def forward(self, x):
        return self.second(self.first(x))


class Determinant(torch.nn.Module):
    def forward(self, x):
        return x * torch.linalg.det(x[:, :4, :4])[:, None, None]


class Sorted(torch.nn.Module):
    def forward(self, x):
        return torch.sort(x, dim=-1).values


class Dead(torch.nn.Module):
    """Adds a branch that is zero for every image."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(16, 16)
        torch.nn.init.constant_(self.fc.bias, -1000.0)

    def forward(self, x):
        return x + functional.relu(self.fc(x))


def tiny():
    return Tiny(), SIZE


def unsupported():
    return Tiny(Unsupported()), SIZE


def dead():
    return Tiny(Dead()), SIZE


def nan():
    model = Tiny()
    with torch.no_grad():
        model.block.fc1.weight[0, 0] = float("nan")
    return model, SIZE


def dynamic():
    batch = {0: torch.export.Dim("n")}
    return torch.export.export(Tiny().eval(), (torch.zeros(2, 3, 16, 16),), dynamic_shapes=(batch,))


def raises():
    raise KeyError("width")
'''


def write_models(folder: Path) -> Path:
    """The file with the models."""
    path = folder / "net.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path
