"""Pictures for the tests of edgevit.data, made here so that each test shows what it feeds in."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def gradient(width: int, height: int) -> NDArray[np.uint8]:
    """uint8 (height, width, 3): red grows to the right, green downwards, blue is constant."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = columns * 255 // max(1, width - 1), rows * 255 // max(1, height - 1)
    pixels: NDArray[np.uint8] = np.stack([red, green, np.full_like(red, 77)], axis=-1).astype(np.uint8)
    return pixels


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The image as a file of the format ``kind``."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int = 8, height: int = 8, shade: int | None = None) -> bytes:
    """A PNG file, of one gray ``shade`` or a gradient."""
    pixels = gradient(width, height) if shade is None else np.full((height, width, 3), shade, np.uint8)
    return encoded(Image.fromarray(pixels))


def write(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    """Write ``files`` (paths below ``folder``) and return ``folder``."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def shades(images: NDArray[np.uint8]) -> list[int]:
    """The gray value of each picture of a batch made by ``png(shade=...)``."""
    return [int(image[0, 0, 0]) for image in images]
