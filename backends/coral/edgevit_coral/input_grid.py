"""The grid that the file declares for its image.

In the IR a pixel value is itself: uint8 with scale 1 and zero point 0. The classifiers that people run (pycoral's
classify_image.py) feed raw bytes only to an input with scale 1/128 and zero point 128, and rescale them for any other.
The first convolution can be told so exactly: its weight scale grows by 128, and its bias takes what the moved zero
point takes away, an integer.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Const, Input
from edgevit.ir.types import Quant

from . import ops as tfl

SCALE = 1 / 128
SHIFT = 128
"""By how much the zero point moves: pixel 128 is the new zero."""


def declare_signed_pixels(graph: Graph) -> Graph:
    """The graph with its image on the grid (1/128, 128) for uint8, (1/128, 0) for int8; results stay equal bit for bit.

    The graph is returned as it is where something other than an unpadded convolution reads the image.
    """
    (image,) = graph.inputs
    pixels: list[Op] = [image, *(user for user in graph.users[image] if _same_pixels(user, image))]
    readers = [user for value in pixels for user in graph.users[value] if user not in pixels]
    if not readers or not all(_can_move(reader, pixels) for reader in readers):
        return graph
    originals = iter(graph.ops)

    def transform(op: Op) -> Op:
        old = next(originals)
        if old in pixels:
            quant = op.type.quant
            assert quant is not None
            return op.with_type(replace(op.type, quant=Quant.per_tensor(SCALE, quant.zero_point[0] + SHIFT)))
        return _moved(op) if old in readers and isinstance(op, tfl.Convolution) else op

    rewritten = graph.map(transform)
    inputs = [op for op in rewritten.ops if isinstance(op, Input)]
    return Graph.of(graph.name, rewritten.outputs, inputs=inputs, form=graph.form)


def _same_pixels(op: Op, image: Op) -> bool:
    """Whether ``op`` only takes the pixels from uint8 to int8 or back: one step stays one pixel value."""
    if not isinstance(op, tfl.Requantize) or op.type.quant is None or image.type.quant is None:
        return False
    offset = image.type.dtype.limits[0] - op.type.dtype.limits[0]
    return op.type.quant == Quant.per_tensor(image.type.quant.scale[0], image.type.quant.zero_point[0] - offset)


def _can_move(reader: Op, pixels: list[Op]) -> bool:
    if not isinstance(reader, tfl.Convolution) or reader.x not in pixels or not isinstance(reader.filter, Const):
        return False
    kernel = reader.filter.shape[1:3]
    return isinstance(reader.bias, Const) and (reader.padding == "VALID" or kernel == (1, 1))


def _moved(op: tfl.Convolution) -> tfl.Convolution:
    """The convolution for pixels that are 128 smaller and 128 times finer: sum w (p - 128) + (bias + 128 sum w)."""
    assert isinstance(op.filter, Const)
    assert isinstance(op.bias, Const)
    quant = op.filter.type.quant
    assert quant is not None
    axes = tuple(axis for axis in range(4) if axis != (3 if isinstance(op, tfl.DepthwiseConv2D) else 0))
    total = op.filter.data.astype(np.int64).sum(axis=axes)
    bias = (op.bias.data.astype(np.int64) + SHIFT * total).astype(np.int32)
    finer = Quant(tuple(float(s) / SCALE for s in quant.scale), quant.zero_point, quant.axis)
    filter = Const(op.filter.data, type=replace(op.filter.type, quant=finer), loc=op.filter.loc)
    return replace(op, filter=filter, bias=Const(bias, type=op.bias.type, loc=op.bias.loc))
