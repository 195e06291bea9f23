"""What happens to a picture before the model sees it: its geometry (done here), its normalization (by the graph)."""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgevit.data.decode import MAX_PIXELS, UnreadableImage
from edgevit.errors import UsageError

Interpolation = Literal["bilinear", "bicubic"]
_Edge = Annotated[int, Field(ge=1, le=4096)]
_Mean = Annotated[float, Field(allow_inf_nan=False)]
_Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]

IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)

_FILTERS: Final = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class Preprocess(BaseModel):
    """Geometry and normalization of a model's input.

    ``size`` is (height, width) in pixels, ``crop_pct`` in (0, 1] the part of the resized shorter side that the centre
    crop keeps, ``mean`` and ``std`` are per RGB channel for pixels scaled to [0, 1]. :meth:`apply` covers the
    geometry only: mean and std are part of the graph, so that an exported model takes plain uint8 pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[_Edge, _Edge]
    crop_pct: Annotated[float, Field(gt=0, le=1)] = 1.0
    interpolation: Interpolation = "bicubic"
    mean: tuple[_Mean, _Mean, _Mean] = IMAGENET_MEAN
    std: tuple[_Deviation, _Deviation, _Deviation] = IMAGENET_STD

    def apply(self, image: Image.Image) -> Image.Image:
        """Resize the shorter side and crop the centre; returns ``image`` itself where it has the wanted size already.

        The roundings are those of timm's evaluation transform (floor of ``size / crop_pct``, the longer side
        truncated, the crop's origin rounded half to even), because accuracies are published with them. Raises
        :class:`UnreadableImage` for a picture so elongated that the resized one would exceed ``MAX_PIXELS``.
        """
        height, width = self.size
        if image.size == (width, height):
            return image
        resized = self._resized(image.width, image.height)
        if resized[0] * resized[1] > MAX_PIXELS:
            raise UnreadableImage(
                f"{image.width}x{image.height} pixels are too elongated to be resized to {width}x{height}"
            )
        left, top = round((resized[0] - width) / 2), round((resized[1] - height) / 2)
        return image.resize(resized, _FILTERS[self.interpolation]).crop((left, top, left + width, top + height))

    def _resized(self, image_width: int, image_height: int) -> tuple[int, int]:
        """(width, height) after the resize and before the crop; neither is below the crop's."""
        height, width = (math.floor(edge / self.crop_pct) for edge in self.size)
        if height == width:
            if image_width <= image_height:
                return width, int(width * image_height / image_width)
            return int(height * image_width / image_height), height
        ratio = min(image_width / width, image_height / height)
        return max(round(image_width / ratio), self.size[1]), max(round(image_height / ratio), self.size[0])


def geometry(size: tuple[int, int], crop_pct: float, interpolation: Interpolation, *, where: str) -> Preprocess:
    """The :class:`Preprocess` of these values; raises :class:`UsageError` at ``where`` for values out of range."""
    try:
        return Preprocess(size=size, crop_pct=crop_pct, interpolation=interpolation)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise UsageError(
            problems, where=where, hint="size is (height, width) in pixels, crop_pct lies in (0, 1]"
        ) from error
