"""Random changes to training pictures, on whole batches: float32 (S, 3, H, W) in [0, 1] before normalization.

Every function draws from the generator that it is given, so that a run can be repeated.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in the brightness of a pixel, ITU-R BT.601."""


def augment(pictures: Tensor, generator: Generator) -> Tensor:
    """Shift by up to 4 pixels, mirror half of the pictures, vary their colours by up to 40 %; the result stays in [0,
    1].
    """
    return vary_colours(mirror(shift(pictures, 4, generator), generator), 0.4, generator)


def shift(pictures: Tensor, reach: int, generator: Generator) -> Tensor:
    """Move each picture by up to ``reach`` pixels along both axes; what comes into view is its reflection."""
    count, _, height, width = pictures.shape
    device = pictures.device
    padded = functional.pad(pictures, (reach,) * 4, mode="reflect")
    corners = torch.randint(0, 2 * reach + 1, (2, count, 1), generator=generator, device=device)
    rows = (torch.arange(height, device=device) + corners[0])[:, :, None]
    columns = (torch.arange(width, device=device) + corners[1])[:, None, :]
    samples = torch.arange(count, device=device)[:, None, None]
    return padded[samples, :, rows, columns].permute(0, 3, 1, 2)


def mirror(pictures: Tensor, generator: Generator) -> Tensor:
    """Swap left and right in about half of the pictures."""
    chosen = torch.rand(len(pictures), 1, 1, 1, generator=generator, device=pictures.device) < 0.5
    return torch.where(chosen, pictures.flip(-1), pictures)


def vary_colours(pictures: Tensor, strength: float, generator: Generator) -> Tensor:
    """Scale brightness, contrast and saturation of each picture by factors within 1 ± ``strength``, clipped to [0,
    1].
    """
    random = torch.rand(3, len(pictures), 1, 1, 1, generator=generator, device=pictures.device)
    brightness, contrast, saturation = 1 + strength * (2 * random - 1)
    pictures = pictures * brightness
    mean = luma(pictures).mean((-2, -1), keepdim=True)
    pictures = torch.lerp(mean.expand_as(pictures), pictures, contrast)
    return torch.lerp(luma(pictures).expand_as(pictures), pictures, saturation).clamp(0, 1)


def luma(pictures: Tensor) -> Tensor:
    """Brightness of each pixel, (S, 1, H, W)."""
    weights = torch.tensor(LUMA, device=pictures.device).view(3, 1, 1)
    return (pictures * weights).sum(1, keepdim=True)


def punch_hole(pictures: Tensor, edge: int, share: float, generator: Generator) -> Tensor:
    """Set a square of ``edge`` pixels to 0 in about ``share`` of the pictures; on normalized pictures 0 is the mean
    colour.
    """
    count, _, height, width = pictures.shape
    device = pictures.device
    top = torch.randint(0, height - edge + 1, (count, 1, 1, 1), generator=generator, device=device)
    left = torch.randint(0, width - edge + 1, (count, 1, 1, 1), generator=generator, device=device)
    rows = torch.arange(height, device=device)[:, None]
    columns = torch.arange(width, device=device)
    inside = (rows >= top) & (rows < top + edge) & (columns >= left) & (columns < left + edge)
    chosen = torch.rand(count, 1, 1, 1, generator=generator, device=device) < share
    return pictures.masked_fill(inside & chosen, 0)
