"""How each weight is quantized: its grid, and whether one scale for all of it is good enough.

A per-tensor weight runs as TFLite's FULLY_CONNECTED; a per-channel one needs a 1x1 CONV_2D in its place, so it has to
earn that by a gain in the signal-to-noise ratio of the layer's output.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgevit.errors import QuantError
from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.op import Op
from edgevit.ir.ops import Const, Conv2d, Linear
from edgevit.ir.types import Quant
from edgevit.quant.arrays import Numbers
from edgevit.quant.config import QuantConfig
from edgevit.quant.decibel import decibel
from edgevit.quant.grids import fake_quantize, weight_grid, weight_spec
from edgevit.quant.walk import as_input, live_bytes, slices, stack_images

MAX_ROWS = 512
MAX_IMAGES = 8
_MEMORY_BYTES = 1 << 28

Chosen = Literal["per-tensor", "per-channel"]


@dataclass(frozen=True)
class Decision:
    """The granularity of the weight of the ``index``-th linear op in execution order, and why.

    ``sqnr_tensor`` and ``sqnr_channel`` are the SQNR in dB of the layer's output, without bias, when only the weight
    is quantized; infinite where nothing is lost.
    """

    index: int
    loc: str
    sqnr_tensor: float
    sqnr_channel: float
    chosen: Chosen


def choose_granularity(graph: Graph, batches: Iterable[Numbers], config: QuantConfig) -> tuple[Decision, ...]:
    """Measure every linear op whose weight is constant, on at most MAX_IMAGES images, and decide by ``config``.

    Raises QuantError for images that do not fit, or a weight that is not finite.
    """
    images = stack_images(graph, batches)[:MAX_IMAGES]
    linears = [op for op in graph.ops if isinstance(op, Linear)]
    noise: dict[Linear, NDArray[np.float64]] = {op: np.zeros(3) for op in linears if isinstance(op.weight, Const)}
    errors = {op: _weight_errors(op, config) for op in noise}
    users: dict[Op, list[Linear]] = {}
    for op in noise:
        users.setdefault(op.x, []).append(op)

    def observe(value: Op, array: Numbers) -> None:
        if value not in users:
            return
        rows = array.reshape(-1, array.shape[-1])
        rows = rows[:: -(-len(rows) // MAX_ROWS)]
        for op in users[value]:
            for place, matrix in enumerate(errors[op]):
                noise[op][place] += float(np.square(rows @ matrix.T, dtype=np.float64).sum())

    for part in slices(len(images), live_bytes(graph), _MEMORY_BYTES):
        run(graph, [as_input(graph, images[part])], observe)
    return tuple(_decide(index, op, noise[op], config) for index, op in enumerate(linears) if op in noise)


def granularities(graph: Graph, decisions: Sequence[Decision], config: QuantConfig) -> Mapping[Op, Chosen]:
    """Per-tensor or per-channel for every Linear and Conv2d.

    Convolutions have per-channel kernels everywhere, so ``auto`` is per-channel for them; for a linear op without a
    decision it is per-tensor. Raises QuantError when the decisions were made for another graph.
    """
    linears = [op for op in graph.ops if isinstance(op, Linear)]
    chosen: dict[Op, Chosen] = {}
    for op in graph.ops:
        if isinstance(op, (Linear, Conv2d)):
            wish = config.layer(op.loc, op.NAME).weights
            if wish == "auto":
                wish = "per-channel" if isinstance(op, Conv2d) else "per-tensor"
            chosen[op] = wish
    for decision in decisions:
        if decision.index >= len(linears) or linears[decision.index].loc != decision.loc:
            raise QuantError(
                "decisions on weights belong to another graph",
                where=decision.loc,
                hint="choose them after the last pass",
            )
        chosen[linears[decision.index]] = decision.chosen
    return chosen


def weight_axis(chosen: Chosen) -> int | None:
    """The axis of output channels for a per-channel grid; weights of Linear and Conv2d have it first."""
    return 0 if chosen == "per-channel" else None


def quantized_weight(op: Linear | Conv2d, chosen: Chosen, config: QuantConfig) -> Quant:
    """The grid of a constant weight. Raises QuantError for weights that are not finite."""
    assert isinstance(op.weight, Const)
    try:
        return weight_grid(
            op.weight.data.astype(np.float32),
            weight_spec(config.layer(op.loc, op.NAME).weight_bits),
            weight_axis(chosen),
        )
    except QuantError as error:
        raise QuantError(error.what, where=op.loc, hint=error.hint) from None


def _weight_errors(
    op: Linear, config: QuantConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The weight, and its error on the per-tensor and on the per-channel grid."""
    assert isinstance(op.weight, Const)
    weight = op.weight.data.astype(np.float32)
    spec = weight_spec(config.layer(op.loc, op.NAME).weight_bits)
    tensor, channel = (
        fake_quantize(weight, quantized_weight(op, chosen, config), spec) for chosen in ("per-tensor", "per-channel")
    )
    return weight, tensor - weight, channel - weight


def _decide(index: int, op: Op, power: NDArray[np.float64], config: QuantConfig) -> Decision:
    tensor, channel = (decibel(power[0], noise) for noise in power[1:])
    wish = config.layer(op.loc, op.NAME).weights
    if wish == "auto":
        wish = "per-channel" if channel - tensor >= config.auto_gain_db and tensor < math.inf else "per-tensor"
    return Decision(index, op.loc, tensor, channel, wish)
