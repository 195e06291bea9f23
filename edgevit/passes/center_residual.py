"""`center-residual`: take the mean out of the residual stream (see ``residual_stream``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgevit.ir.op import Op
from edgevit.ir.ops import LayerNorm, RmsNorm
from edgevit.passes.residual_stream import Matrix, StreamPass


@dataclass(frozen=True)
class CenterResidual(StreamPass):
    """Take the mean out of the residual stream, so that layer_norm becomes rms_norm."""

    NAME: ClassVar[str] = "center-residual"

    def matrix(self, channels: int) -> Matrix:
        return np.eye(channels) - 1 / channels

    def norm(self, op: LayerNorm | RmsNorm) -> Op:
        return RmsNorm(op.x, eps=op.eps, type=op.type, loc=op.loc)
