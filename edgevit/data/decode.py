"""Bytes of an image file to 8-bit RGB, for files that nobody vouches for."""

from __future__ import annotations

import io
import warnings
from typing import Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from edgevit.errors import UsageError

MAX_FILE_BYTES: Final = 256 * 2**20
MAX_PIXELS: Final = 2**26
"""192 MiB as RGB: above what cameras take, below what exhausts a small host."""

_FORMATS: Final = ("PNG", "JPEG", "BMP", "WEBP", "GIF")


class UnreadableImage(UsageError):
    """One picture that cannot be decoded, or not within the limits; ``what`` is the reason."""


def decode(data: bytes) -> Image.Image:
    """The picture in ``data`` as 8-bit RGB, upright as EXIF says, without alpha; of an animation the start.

    Reads PNG, JPEG, BMP, WebP and GIF. Raises :class:`UnreadableImage` for anything else: other formats, truncated or
    damaged files, more than ``MAX_PIXELS`` pixels (found from the header, before any pixel is decoded).
    """
    if not data:
        raise UnreadableImage("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UnreadableImage(f"{image.width}x{image.height} pixels exceed the limit of {MAX_PIXELS}")
                image.load()
                return _to_rgb(ImageOps.exif_transpose(image))
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"not a {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]} image") from error
    except (
        Exception
    ) as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, zlib.error, ... on damaged files.
        raise UnreadableImage(f"damaged: {str(error) or type(error).__name__}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of a decoded image of any mode."""
    if image.mode == "RGB":
        return image
    if image.mode == "I" or image.mode.startswith("I;16"):
        # convert() clips 16-bit gray at 255 instead of scaling it; 257 maps 65535 to 255.
        gray = np.clip(np.asarray(image, dtype=np.int64), 0, 65535)
        return Image.fromarray(((gray + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")
