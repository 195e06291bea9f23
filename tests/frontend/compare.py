"""Lower a torch model and run it in the interpreter, next to torch itself, on the same random pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgevit.data.preprocess import Preprocess
from edgevit.frontend.capture import decompose
from edgevit.ir.graph import Graph
from edgevit.ir.interp import run

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

TOLERANCE = 1e-4
SIZE = (8, 8)
PREPROCESS = Preprocess(size=SIZE, mean=(0.5, 0.4, 0.3), std=(0.25, 0.2, 0.3))


def pixels(size: tuple[int, int], samples: int = 1) -> np.ndarray:
    """Random pictures, float32 (samples, 1, H, W, 3) in 0..255."""
    return np.random.default_rng(5).integers(0, 256, (samples, 1, *size, 3)).astype(np.float32)


def normalized(images: np.ndarray, preprocess: Preprocess) -> torch.Tensor:
    """What the torch model sees of pictures (samples, 1, H, W, 3): float32 (samples, 3, H, W)."""
    import torch

    scaled = (images[:, 0] / 255 - np.array(preprocess.mean)) / np.array(preprocess.std)
    return torch.from_numpy(scaled.astype(np.float32)).permute(0, 3, 1, 2)


def perturb(module: torch.nn.Module, scale: float = 0.02) -> None:
    """Shift all parameters: zero-initialized heads and tiny layer scales would hide the layers in front of them."""
    import torch

    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=scale)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(torch.randn(buffer.shape, generator=generator), alpha=0.1)
            if name.endswith("running_var"):
                buffer.mul_(1 + torch.rand(buffer.shape, generator=generator))


def assert_same(graph: Graph, model: torch.nn.Module, preprocess: Preprocess = PREPROCESS) -> None:
    """The graph's logits are the model's within TOLERANCE, and are not all the same."""
    import torch

    images = pixels(preprocess.size)
    (found,) = run(graph, [images])
    with torch.no_grad():
        wanted = model.eval()(normalized(images, preprocess)).numpy()
    assert found.shape == (1, *wanted.shape)
    assert wanted.std() > 1e-3, "the comparison would be trivial"
    assert np.abs(found[0] - wanted).max() < TOLERANCE * max(1.0, float(np.abs(wanted).max()))


def export(model: torch.nn.Module, size: tuple[int, int] = SIZE, channels: int = 3) -> ExportedProgram:
    """The exported program of a model in evaluation mode."""
    import torch

    return torch.export.export(model.eval(), (torch.zeros(1, channels, *size),))


def decomposed_of(program: ExportedProgram) -> ExportedProgram:
    """The program in torch's core operators, as others may have saved it."""
    import torch

    return decompose(program, torch.export.default_decompositions())
