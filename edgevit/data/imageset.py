"""A set of pictures that is decoded while it is read, and that knows which of them could not be."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgevit.data.decode import UnreadableImage
from edgevit.data.preprocess import Preprocess
from edgevit.errors import UsageError

Purpose = Literal["calibration", "evaluation"]

_NAMED_SKIPS: Final = 3


@dataclass(frozen=True, eq=False)
class Batch:
    """``images`` uint8 RGB (S, H, W, 3), ``labels`` int64 (S,) class indices or None, ``names`` S names."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    names: tuple[str, ...]


class ImageSource(Protocol):
    """Where pictures come from; ``index`` runs from 0 to ``len() - 1``."""

    def __len__(self) -> int:
        """Number of pictures, damaged ones included."""

    def name(self, index: int) -> str:
        """What to call the picture in messages."""

    def encoded(self, index: int) -> bytes:
        """The bytes that identify the picture; raises :class:`UnreadableImage`."""

    def picture(self, index: int) -> Image.Image:
        """The picture as 8-bit RGB of its own size; raises :class:`UnreadableImage`."""


def shuffled(count: int, seed: int) -> list[int]:
    """A permutation of ``range(count)`` that depends on ``seed`` only.

    Sorted by ``random.Random(seed).random()``: the one sequence that Python promises to keep from version to version.
    """
    generator = random.Random(seed)
    keys = [generator.random() for _ in range(count)]
    return sorted(range(count), key=keys.__getitem__)


class ImageSet:
    """Pictures of one size with optional labels, decoded as they are iterated, in a fixed order.

    A picture that cannot be decoded is left out and listed in :attr:`skipped`. A set has at least one good picture:
    the constructor looks for the first one and raises :class:`UsageError` where there is none.
    """

    def __init__(
        self,
        source: ImageSource,
        preprocess: Preprocess,
        *,
        origin: str,
        labels: Sequence[int] | NDArray[np.int64] | None = None,
        classes: tuple[str, ...] | None = None,
        order: Sequence[int] | None = None,
        limit: int | None = None,
    ) -> None:
        """``order`` lists the pictures of ``source`` to use (default: all), ``limit`` is how many good ones to give.

        ``origin`` names the set in messages, ``labels`` has one class index per picture of ``source``, ``classes``
        their names.
        """
        self.origin: Final = origin
        self.preprocess: Final = preprocess
        self.classes: Final = classes
        self._source: Final = source
        self._labels: Final = None if labels is None else np.asarray(labels, dtype=np.int64)
        self._order: Final[Sequence[int]] = range(len(source)) if order is None else order
        self._limit: Final = limit
        self._bad: Final[dict[int, str]] = {}
        self._accepted: list[int] | None = None
        if self._labels is not None and self._labels.shape != (len(source),):
            hint = "give one integer label per image"
            raise UsageError(f"{len(source)} images, but labels of shape {self._labels.shape}", where=origin, hint=hint)
        if limit is not None and limit < 1:
            raise UsageError(f"{limit} images asked for", where=origin, hint="ask for at least one image")
        next(self._decoded())

    def __len__(self) -> int:
        """Number of pictures that will be given: exact once all were decoded, before that an upper bound."""
        if self._accepted is not None:
            return len(self._accepted)
        usable = len(self._order) - len(self._bad)
        return usable if self._limit is None else min(usable, self._limit)

    @property
    def labelled(self) -> bool:
        """Whether the batches carry labels."""
        return self._labels is not None

    @property
    def skipped(self) -> list[tuple[str, str]]:
        """(name, reason) of each picture found unreadable so far, in the order of the set."""
        return [(self._source.name(index), self._bad[index]) for index in self._order if index in self._bad]

    def batches(self, size: int) -> Iterator[Batch]:
        """All good pictures in batches of ``size``, the last one smaller where they do not come out even."""
        if size < 1:
            raise UsageError(f"batch size {size}", where=self.origin, hint="a batch holds at least one image")
        indices: list[int] = []
        images: list[NDArray[np.uint8]] = []
        for index, pixels in self._decoded():
            indices.append(index)
            images.append(pixels)
            if len(indices) == size:
                yield self._batch(indices, images)
                indices, images = [], []
        if indices:
            yield self._batch(indices, images)

    def take(self, count: int, seed: int = 0) -> ImageSet:
        """``count`` good pictures chosen by ``seed``, or all in shuffled order where there are fewer.

        Unreadable pictures are replaced by further ones of the same shuffled order. Raises :class:`UsageError` for
        ``count < 1``.
        """
        order = self._order if self._limit is None else self._indices()
        chosen = [order[position] for position in shuffled(len(order), seed)]
        return ImageSet(
            self._source,
            self.preprocess,
            origin=self.origin,
            labels=self._labels,
            classes=self.classes,
            order=chosen,
            limit=count,
        )

    def sha256(self) -> str:
        """Hex digest of what the set gives: geometry, then length, label and bytes of each good picture, in order.

        Taken from the undecoded bytes: independent of the decoder's version, of file names and of where the files
        lie. Decodes the pictures that were not decoded before, to know which are good.
        """
        geometry = self.preprocess.model_dump_json(include={"size", "crop_pct", "interpolation"})
        digest = hashlib.sha256(geometry.encode())
        for index in self._indices():
            data = self._source.encoded(index)
            label = "" if self._labels is None else str(self._labels[index])
            digest.update(f"\n{len(data)},{label}\n".encode())
            digest.update(data)
        return digest.hexdigest()

    def warnings(self, purpose: Purpose) -> list[str]:
        """What a person should know before trusting a result from this set, given what was decoded so far."""
        found: list[str] = []
        if skipped := self.skipped:
            named = ", ".join(f"{name} ({reason})" for name, reason in skipped[:_NAMED_SKIPS])
            more = f" and {len(skipped) - _NAMED_SKIPS} more" if len(skipped) > _NAMED_SKIPS else ""
            found.append(f"{self.origin}: {len(skipped)} unreadable {_images(len(skipped))} skipped: {named}{more}")
        if self._limit is not None and len(self) < self._limit:
            found.append(f"{self.origin}: {self._limit} {purpose} images asked for, {len(self)} found")
        if len(self) == 1:
            effect = "ranges will be narrow" if purpose == "calibration" else "accuracy will mean little"
            found.append(f"1 {purpose} image: {effect}")
        return found

    def _batch(self, indices: list[int], images: list[NDArray[np.uint8]]) -> Batch:
        labels = None if self._labels is None else self._labels[indices]
        return Batch(np.stack(images), labels, tuple(self._source.name(index) for index in indices))

    def _decoded(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """(index, pixels uint8 (H, W, 3)) of the good pictures up to the limit; :class:`UsageError` if none."""
        accepted: list[int] = []
        for index in self._order:
            if len(accepted) == self._limit:
                break
            if index in self._bad:
                continue
            try:
                pixels = np.asarray(self.preprocess.apply(self._source.picture(index)), dtype=np.uint8)
            except UnreadableImage as error:
                self._bad[index] = error.what
                continue
            accepted.append(index)
            yield index, pixels
        if not accepted:
            raise self._nothing_left()
        self._accepted = accepted

    def _indices(self) -> list[int]:
        """Indices of the pictures that the set gives, in order; decodes those that no one has looked at."""
        if self._accepted is None:
            return [index for index, _ in self._decoded()]
        return self._accepted

    def _nothing_left(self) -> UsageError:
        if not self._bad:
            return UsageError(
                "holds no images", where=self.origin, hint="give a folder, an .npz or an image file with at least one"
            )
        name, reason = self.skipped[0]
        what = f"none of its {len(self._bad)} {_images(len(self._bad))} can be read; first: {name}: {reason}"
        return UsageError(what, where=self.origin, hint="check the files with an image viewer, or copy them again")


def _images(count: int) -> str:
    return "image" if count == 1 else "images"
