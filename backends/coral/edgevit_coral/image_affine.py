"""`image-affine`: the normalization of the image as one depthwise convolution.

Where the first convolution pads, mean and scale cannot go into its weights (the border would see 0 and not the mean). A 1x1
DEPTHWISE_CONV_2D does both in one mapped op with one rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Const, Conv2d, Input, Mul
from edgevit.passes.base import Context, Reject, RewritePass, Rule


class AffineToDepthwise(Rule):
    """image * scale + shift -> a depthwise 1x1 convolution with bias."""

    def apply(self, op: Op, context: Context) -> Op | Reject | None:
        if not isinstance(op, Add):
            return None
        scaled = op.lhs
        image = scaled.lhs if isinstance(scaled, Mul) else scaled
        if not isinstance(image, Input):
            return None
        scale = scaled.rhs if isinstance(scaled, Mul) else Const(np.ones(1, np.float32))
        shift = op.rhs
        if not isinstance(scale, Const) or not isinstance(shift, Const):
            return Reject("scale or shift of the image is computed")
        channels = image.shape[-1]
        if image.type.rank != 4 or any(c.type.size not in (1, channels) for c in (scale, shift)):
            return Reject(
                f"image {list(image.shape)}, scale {list(scale.shape)} and shift {list(shift.shape)} are not per channel"
            )
        weight, bias = (np.broadcast_to(c.data.ravel(), (channels,)).astype(np.float32) for c in (scale, shift))
        return Conv2d(
            image, Const(weight.reshape(channels, 1, 1, 1)), Const(bias), groups=channels, loc=op.loc or "normalize"
        )


@dataclass(frozen=True)
class ImageAffine(RewritePass):
    """The normalization of the image as a depthwise convolution."""

    NAME: ClassVar[str] = "image-affine"

    def rules(self) -> tuple[Rule, ...]:
        return (AffineToDepthwise(),)
