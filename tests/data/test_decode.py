"""Decoding of image files of every mode, and refusal of what is no image, damaged, or too large."""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from edgevit.data import decode as module
from edgevit.data.decode import UnreadableImage, decode
from tests.data.pictures import encoded, gradient, png

EXIF_ORIENTATION = 0x0112


def pixels_of(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(decode(data))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises width x height pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    # At most 256 colours, so that a GIF can hold them.
    pixels = gradient(8, 8)
    assert np.array_equal(pixels_of(encoded(Image.fromarray(pixels), kind)), pixels)


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95})])
def test_lossy_formats_stay_close(kind: str, options: dict[str, int]) -> None:
    pixels = gradient(32, 32)
    found = np.asarray(decode(encoded(Image.fromarray(pixels), kind, **options)), np.int64)
    assert np.abs(found - pixels).mean() < 4


def test_grayscale_is_repeated_in_each_channel() -> None:
    gray = gradient(8, 8)[..., 0]
    assert np.array_equal(pixels_of(encoded(Image.fromarray(gray))), np.repeat(gray[..., None], 3, -1))


def test_sixteen_bit_gray_is_scaled_not_clipped() -> None:
    values = np.array([[0, 128, 129, 255, 257, 32768, 65535]], np.uint16)
    assert np.asarray(decode(encoded(Image.fromarray(values))))[0, :, 0].tolist() == [0, 0, 1, 1, 1, 128, 255]


def test_alpha_is_dropped() -> None:
    rgba = np.dstack([gradient(8, 8), np.full((8, 8), 3, np.uint8)])
    assert np.array_equal(pixels_of(encoded(Image.fromarray(rgba))), gradient(8, 8))


def test_palette_with_transparency_gives_its_colours_without_a_warning() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    data = encoded(image, transparency=bytes([0, 128]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.asarray(decode(data)).tolist() == [[[10, 20, 30], [200, 100, 50]]]


def test_cmyk_jpeg_becomes_rgb() -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    red, green, blue = np.asarray(decode(encoded(cyan, "JPEG", quality=95)))[8, 8].tolist()
    assert red < 10
    assert min(green, blue) > 245


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6  # The camera was turned: the stored top row is the right column of the scene.
    pixels = gradient(6, 4)
    found = np.asarray(decode(encoded(Image.fromarray(pixels), exif=exif)))
    assert np.array_equal(found, np.rot90(pixels, -1))


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.asarray(decode(data))[0, 0].tolist() == [255, 0, 0]


def test_pixel_bomb_is_refused_from_its_header() -> None:
    with pytest.raises(UnreadableImage, match="9000x9000 pixels exceed the limit"):
        decode(png_claiming(9000, 9000))
    with pytest.raises(UnreadableImage, match="damaged"):
        decode(png_claiming(60000, 60000))


def test_the_limit_is_inclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PIXELS", 64)
    assert decode(png(8, 8)).size == (8, 8)
    with pytest.raises(UnreadableImage, match="13x5 pixels"):
        decode(png(13, 5))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"just a text", "not a PNG"),
        (png()[:60], "damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a PNG"),
        (encoded(Image.new("RGB", (8, 8)), "TIFF"), "not a PNG"),
    ],
)
def test_what_is_no_whole_image_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason) as caught:
        decode(data)
    assert caught.value.exit_code == 2


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(["PNG", "JPEG", "BMP", "WEBP", "GIF"]))
def test_flipped_bytes_give_an_image_or_a_refusal(data: st.DataObject, kind: str) -> None:
    damaged = bytearray(encoded(Image.fromarray(gradient(9, 7)), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnreadableImage):
        assert decode(bytes(damaged)).mode == "RGB"
