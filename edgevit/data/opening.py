"""From what a person types after ``--calib`` or ``--eval`` to a set of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edgevit.data.container import from_npz
from edgevit.data.folder import from_file, from_folder
from edgevit.data.imageset import ImageSet, Purpose
from edgevit.data.preprocess import Interpolation
from edgevit.errors import UsageError

EMBEDDED: Final = "embedded"
EMBEDDED_FILES: Final = Path(__file__).resolve().parent.parent / "embedded"


def open_images(
    spec: str,
    *,
    size: tuple[int, int],
    crop_pct: float = 1.0,
    interpolation: Interpolation = "bicubic",
    limit: int | None = None,
    seed: int = 0,
    purpose: Purpose = "calibration",
) -> ImageSet:
    """The pictures that ``spec`` names: ``embedded``, a folder, an .npz, or one image file.

    ``size`` is (height, width); ``limit`` takes so many pictures, chosen by ``seed``; ``purpose`` says which of the
    two embedded sets is meant. Raises :class:`UsageError` for a path that does not exist and for whatever cannot be
    read.
    """
    path = EMBEDDED_FILES / f"{purpose}.npz" if spec == EMBEDDED else Path(spec)
    if path.is_dir():
        return from_folder(path, size=size, crop_pct=crop_pct, interpolation=interpolation, limit=limit, seed=seed)
    if path.is_file() and path.suffix.lower() == ".npz":
        return from_npz(path, size=size, crop_pct=crop_pct, interpolation=interpolation, limit=limit, seed=seed)
    if path.is_file():
        return from_file(path, size=size, crop_pct=crop_pct, interpolation=interpolation)
    what = "neither a folder nor a regular file" if path.exists() else "does not exist"
    raise UsageError(what, where=spec, hint="give `embedded`, a folder of images, an .npz, or an image file")
