"""Pictures in an .npz: JPEG files end to end, or plain pixels.

JPEG container: ``jpeg`` uint8 (B,), all files end to end; ``offsets`` integer (N + 1,), picture i being
``jpeg[offsets[i]:offsets[i + 1]]``. Pixels: ``images`` uint8 (N, H, W, 3). Both may have ``labels`` integer (N,) and
``classes``, the names of the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgevit.data.arrays import read_arrays, write_arrays
from edgevit.data.decode import MAX_PIXELS, UnreadableImage, decode
from edgevit.data.imageset import ImageSet, ImageSource
from edgevit.data.preprocess import Interpolation, geometry
from edgevit.errors import UsageError

_NAMES: Final = ("jpeg", "offsets", "images", "labels", "classes")
_MAX_LABEL: Final = 2**31 - 1
_LAYOUT: Final = (
    "an .npz of pictures has `images` uint8 (N, H, W, 3), or `jpeg` and `offsets`; and `labels` (N,) where known"
)


class JpegSource:
    """Pictures that lie end to end in one uint8 array; ``offsets`` int64 (N + 1,) within it, never falling."""

    def __init__(self, jpeg: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        self._jpeg, self._offsets = jpeg, offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def name(self, index: int) -> str:
        """``#index``: pictures in a container have no names."""
        return f"#{index}"

    def encoded(self, index: int) -> bytes:
        """The JPEG file."""
        start, end = int(self._offsets[index]), int(self._offsets[index + 1])
        return self._jpeg[start:end].tobytes()

    def picture(self, index: int) -> Image.Image:
        """The decoded JPEG file; raises :class:`edgevit.data.decode.UnreadableImage`."""
        return decode(self.encoded(index))


class PixelSource:
    """Pictures as one uint8 array (N, H, W, 3)."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def name(self, index: int) -> str:
        """``#index``: pictures in an array have no names."""
        return f"#{index}"

    def encoded(self, index: int) -> bytes:
        """The pixels, row by row, preceded by the shape, so that equal bytes mean equal pictures."""
        pixels: NDArray[np.uint8] = self._images[index]
        return f"{pixels.shape[0]}x{pixels.shape[1]}:".encode() + pixels.tobytes()

    def picture(self, index: int) -> Image.Image:
        """The pixels as an image."""
        return Image.fromarray(np.ascontiguousarray(self._images[index]))


def from_npz(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    crop_pct: float = 1.0,
    interpolation: Interpolation = "bicubic",
    limit: int | None = None,
    seed: int = 0,
) -> ImageSet:
    """The pictures of an .npz, brought to ``size`` (height, width), by default that of the first good picture.

    ``limit`` takes so many of them, chosen by ``seed``. Raises :class:`UsageError` for an archive of another layout,
    offsets or labels out of range, and where no picture can be read.
    """
    path = Path(path)
    arrays = read_arrays(path, _NAMES)
    try:
        source = _source(arrays)
        classes = _classes(arrays.get("classes"))
        labels = _labels(arrays.get("labels"), len(source), classes)
    except ValueError as error:
        raise UsageError(str(error), where=str(path), hint=_LAYOUT) from error
    preprocess = geometry(_native_size(source) if size is None else size, crop_pct, interpolation, where=str(path))
    images = ImageSet(source, preprocess, origin=str(path), labels=labels, classes=classes)
    return images if limit is None else images.take(limit, seed)


def write_jpegs(path: Path, files: Sequence[bytes], labels: Sequence[int], classes: Sequence[str]) -> None:
    """Write JPEG ``files`` as they are, with their class indices and the classes' names, as a container.

    The same content gives the same bytes. Raises ValueError where the numbers of files and labels differ.
    """
    if len(files) != len(labels):
        raise ValueError(f"{len(files)} files, but {len(labels)} labels")
    write_arrays(
        path,
        {
            "jpeg": np.frombuffer(b"".join(files), np.uint8),
            "offsets": np.cumsum([0, *map(len, files)], dtype="<i8"),
            "labels": np.asarray(labels, dtype="<u2" if max(labels, default=0) > 255 else "u1"),
            "classes": np.asarray(classes, dtype="<U"),
        },
    )


def _native_size(source: ImageSource) -> tuple[int, int]:
    """(height, width) of the first good picture; 1x1 where there is none, which the set's constructor reports."""
    for index in range(len(source)):
        try:
            picture = source.picture(index)
        except UnreadableImage:
            continue
        return picture.height, picture.width
    return 1, 1


def _source(arrays: dict[str, NDArray[Any]]) -> ImageSource:
    if "jpeg" in arrays and "offsets" in arrays:
        return _jpegs(arrays["jpeg"], arrays["offsets"])
    if "images" not in arrays:
        raise ValueError(f"holds {', '.join(arrays) or 'none'} of the arrays {', '.join(_NAMES)}")
    images = arrays["images"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape[1:]:
        raise ValueError(f"`images` is {images.dtype} {images.shape}, not uint8 (N, H, W, 3)")
    if images.shape[1] * images.shape[2] > MAX_PIXELS:
        raise ValueError(f"`images` has pictures of more than {MAX_PIXELS} pixels")
    return PixelSource(images)


def _jpegs(jpeg: NDArray[Any], offsets: NDArray[Any]) -> JpegSource:
    if jpeg.dtype != np.uint8 or jpeg.ndim != 1:
        raise ValueError(f"`jpeg` is {jpeg.dtype} {jpeg.shape}, not uint8 (B,)")
    if offsets.dtype.kind not in "iu" or offsets.ndim != 1 or not len(offsets):
        raise ValueError(f"`offsets` is {offsets.dtype} {offsets.shape}, not integers (N + 1,)")
    lowest, highest = int(offsets.min()), int(offsets.max())
    if lowest < 0 or highest > len(jpeg):
        raise ValueError(f"`offsets` reach from {lowest} to {highest}, outside the {len(jpeg)} bytes of `jpeg`")
    within = offsets.astype(np.int64)
    falling = np.flatnonzero(within[1:] < within[:-1])
    if len(falling):
        raise ValueError(f"`offsets` fall after entry {falling[0]}")
    return JpegSource(jpeg, within)


def _classes(names: NDArray[Any] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    if names.dtype.kind != "U" or names.ndim != 1:
        raise ValueError(f"`classes` is {names.dtype} {names.shape}, not strings (K,)")
    return tuple(str(name) for name in names)


def _labels(labels: NDArray[Any] | None, count: int, classes: tuple[str, ...] | None) -> NDArray[np.int64] | None:
    if labels is None:
        return None
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise ValueError(f"`labels` is {labels.dtype} {labels.shape}, not integers ({count},)")
    highest = _MAX_LABEL if classes is None else len(classes) - 1
    if count and not 0 <= int(labels.min()) <= int(labels.max()) <= highest:
        raise ValueError(f"`labels` reach from {labels.min()} to {labels.max()}, outside 0 to {highest}")
    return labels.astype(np.int64)
