"""`image-affine`: the normalization of the image as one depthwise convolution.

Where the first convolution pads, mean and scale cannot go into its weights (the border would see 0 and not the mean). A
1x1 DEPTHWISE_CONV_2D does both in one mapped op with one rounding.
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
        scaled, shift = (op.rhs, op.lhs) if isinstance(op.lhs, Const) else (op.lhs, op.rhs)
        image, scale = _scaled_image(scaled)
        if not isinstance(image, Input):
            return None
        if not isinstance(scale, Const) or not isinstance(shift, Const):
            return Reject("scale or shift of the image is computed")
        channels = image.shape[-1]
        if image.type.rank != 4 or not all(_per_channel(c, channels) for c in (scale, shift)):
            shapes = f"image {list(image.shape)}, scale {list(scale.shape)} and shift {list(shift.shape)}"
            return Reject(f"{shapes} are not per channel")
        weight, bias = (np.broadcast_to(c.data.ravel(), (channels,)).astype(np.float32) for c in (scale, shift))
        return Conv2d(
            image, Const(weight.reshape(channels, 1, 1, 1)), Const(bias), groups=channels, loc=op.loc or "normalize"
        )


def _scaled_image(op: Op) -> tuple[Op, Op]:
    """The two factors of a product, a constant last; a single value times 1."""
    if not isinstance(op, Mul):
        return op, Const(np.ones(1, np.float32))
    return (op.rhs, op.lhs) if isinstance(op.lhs, Const) else (op.lhs, op.rhs)


def _per_channel(constant: Const, channels: int) -> bool:
    """Whether the constant is one number, or one for each element of the last axis."""
    return constant.type.size == 1 or constant.type.size == constant.shape[-1] == channels


@dataclass(frozen=True)
class ImageAffine(RewritePass):
    """The normalization of the image as a depthwise convolution."""

    NAME: ClassVar[str] = "image-affine"

    def rules(self) -> tuple[Rule, ...]:
        return (AffineToDepthwise(),)
