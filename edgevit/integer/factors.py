"""Power-of-two factors of the channels that enter each LayerNorm, for FQ-ViT's form of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgevit.errors import QuantError
from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.op import Op
from edgevit.ir.ops import LayerNorm
from edgevit.ir.types import Array, dequantize_array
from edgevit.quant.walk import as_input, stack_images
from edgevit_kernels.layer_norm.fqvit.factors import Factors, choose

MAX_IMAGES = 32
"""The squared error of a channel settles long before."""


def choose_factors(quantized: Graph, images: Array) -> Mapping[str, Factors]:
    """The factors of every LayerNorm's operand by the module path of the LayerNorm, on at most MAX_IMAGES images.

    ``images`` are raw pixels (S, H, W, 3). Raises QuantError for images that do not fit, for constant operands and
    for LayerNorms that a module path does not tell apart.
    """
    readers: dict[Op, list[str]] = {}
    for op in quantized.ops:
        if isinstance(op, LayerNorm):
            readers.setdefault(op.x, []).append(op.loc)
    places = [loc for locs in readers.values() for loc in locs]
    if len(set(places)) < len(places):
        raise QuantError(
            "several LayerNorms have one module path", where=quantized.name, hint="use another form of LayerNorm"
        )
    found: dict[str, Factors] = {}

    def observe(value: Op, array: Array) -> None:
        if value in readers:
            real = dequantize_array(array, value.type)
            found.update(dict.fromkeys(readers[value], choose(real.reshape(-1, real.shape[-1]))))

    pixels = stack_images(quantized, [np.asarray(images[:MAX_IMAGES])])
    run(quantized, [as_input(quantized, pixels)], observe)
    return found
