"""Pictures in a folder and its sub-folders, and single image files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

from PIL import Image

from edgevit.data.decode import MAX_FILE_BYTES, UnreadableImage, decode
from edgevit.data.imageset import ImageSet
from edgevit.data.labels import find_labels
from edgevit.data.preprocess import Interpolation, geometry
from edgevit.errors import UsageError

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif"})


class FileSource:
    """Image files below ``folder``; ``names`` are their paths below it, with slashes."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, names

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        """The path below the folder; bytes that are not UTF-8 escaped, so that it can be printed."""
        return self._names[index].encode("utf-8", "backslashreplace").decode()

    def encoded(self, index: int) -> bytes:
        """The file's bytes; raises :class:`UnreadableImage` for one that is gone, irregular, or too large."""
        path = self._folder / self._names[index]
        try:
            # Not opened before it is known to be a regular file: opening a pipe would wait for its writer for ever.
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImage("not a regular file")
            if status.st_size > MAX_FILE_BYTES:
                raise UnreadableImage(f"{status.st_size} bytes exceed the limit of {MAX_FILE_BYTES}")
            return path.read_bytes()
        except OSError as error:
            raise UnreadableImage(error.strerror or str(error)) from error

    def picture(self, index: int) -> Image.Image:
        """The decoded file; raises :class:`UnreadableImage`."""
        return decode(self.encoded(index))


def from_folder(
    path: str | Path,
    *,
    size: tuple[int, int],
    crop_pct: float = 1.0,
    interpolation: Interpolation = "bicubic",
    limit: int | None = None,
    seed: int = 0,
) -> ImageSet:
    """The pictures below a folder, sorted by path, brought to ``size`` (height, width).

    ``limit`` takes so many of them, chosen by ``seed``.

    Labels come from ``labels.csv`` or ``labels.txt``, else from first-level class folders (see
    :func:`edgevit.data.labels.find_labels`). Hidden files and folders are passed over, links are followed, each
    folder once. Raises :class:`UsageError` where the folder has no picture, or none that can be read.
    """
    folder = Path(path)
    names = sorted(_walk(folder))
    if not names:
        suffixes = ", ".join(sorted(SUFFIXES))
        raise UsageError(
            "holds no images", where=str(path), hint=f"give a folder with {suffixes} files, or sub-folders of them"
        )
    labels = find_labels(folder, names)
    images = ImageSet(
        FileSource(folder, names),
        geometry(size, crop_pct, interpolation, where=str(path)),
        origin=str(path),
        labels=None if labels is None else labels.indices,
        classes=None if labels is None else labels.classes,
    )
    return images if limit is None else images.take(limit, seed)


def from_file(
    path: str | Path, *, size: tuple[int, int], crop_pct: float = 1.0, interpolation: Interpolation = "bicubic"
) -> ImageSet:
    """One image file of any suffix as a set, without label; raises :class:`UsageError` where it cannot be read."""
    file = Path(path)
    preprocess = geometry(size, crop_pct, interpolation, where=str(path))
    return ImageSet(FileSource(file.parent, [file.name]), preprocess, origin=str(path))


def _walk(folder: Path) -> Iterator[str]:
    """Paths of image files below ``folder``, with slashes; links to a folder seen before are not followed."""
    seen: set[tuple[int, int]] = set()
    _is_new(folder, seen)
    for root, directories, files in os.walk(folder, onerror=_refuse, followlinks=True):
        directories[:] = sorted(
            name for name in directories if not name.startswith(".") and _is_new(Path(root, name), seen)
        )
        below = Path(root).relative_to(folder)
        for name in files:
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield (below / name).as_posix()


def _refuse(error: OSError) -> NoReturn:
    """A folder that cannot be listed is no reason to quietly work with part of the pictures."""
    raise UsageError(
        f"cannot be listed ({error.strerror})", where=str(error.filename), hint="check its permissions"
    ) from error


def _is_new(directory: Path, seen: set[tuple[int, int]]) -> bool:
    """Whether the folder behind the path is met for the first time; one that cannot be looked at is not."""
    try:
        status = directory.stat()
    except OSError:
        return False
    identity = status.st_dev, status.st_ino
    if identity in seen:
        return False
    seen.add(identity)
    return True
