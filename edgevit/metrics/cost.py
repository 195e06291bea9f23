"""What a graph costs whatever runs it: parameters, multiply-accumulates, bits, and bytes.

The survey's "FLOPs" are multiply-accumulates: its reference, ViT-B/16, has 17.6 G of them at 224 x 224, and 35.1 G
additions and multiplications. Counted are the products that convolutions, linear layers, matrix products and both
halves of attention sum up, as fvcore and ``torch.utils.flop_counter`` (which then doubles them) do; padding counts as
input, and biases, normalizations, activations and pooling do not count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Attention, Const, Conv2d, Linear, MatMul
from edgevit.metrics.eer import Figure, Figures
from edgevit.quant.config import QuantConfig

FLOAT_BITS = 32


@dataclass(frozen=True)
class Cost:
    """Counts for one image. ``weight_bits`` and ``activation_bits`` are means where layers differ; ``bytes`` is what
    the parameters take at ``weight_bits``, without the structure of a file.
    """

    parameters: int
    macs: int
    weight_bits: float
    activation_bits: float

    @property
    def bits(self) -> float:
        """#Bit of the survey, the mean of both: its rows with 8 and 4 bits agree with 6 and with nothing else."""
        return (self.weight_bits + self.activation_bits) / 2

    @property
    def bytes(self) -> float:
        return self.parameters * self.weight_bits / 8

    def figures(self, file_bytes: int | None = None) -> Figures:
        """The survey's four metrics. Size is that of a file, measured, or without one `bytes`, estimated; in MB of
        1,000,000 bytes, as the survey's models are (its reference is not: see `edgevit.metrics.eer.VIT_B16`).
        """
        size = Figure(self.bytes / 1e6, "MB", "estimated")
        if file_bytes is not None:
            size = Figure(file_bytes / 1e6, "MB", "measured")
        return {
            "params": Figure(self.parameters / 1e6, "M", "measured"),
            "flops": Figure(self.macs / 1e9, "GMAC", "measured"),
            "bits": Figure(self.bits, "bit", "measured"),
            "size": size,
        }


def graph_cost(graph: Graph, parameters: int, config: QuantConfig | None = None) -> Cost:
    """The cost of a float graph as it came from the frontend, quantized as ``config`` says (None: float32).

    ``parameters`` is the number that the captured program holds. The constants of a graph do not tell it: capture has
    computed what does not depend on the image (Swin's tables of relative positions have become one bias for every pair
    of positions, a class token with its position one row).
    """
    weight_bits, activation_bits = (FLOAT_BITS, FLOAT_BITS) if config is None else mean_bits(graph, config)
    return Cost(parameters, macs(graph), weight_bits, activation_bits)


def macs(graph: Graph) -> int:
    """Multiply-accumulates for one image."""
    return sum(map(op_macs, graph.ops))


def op_macs(op: Op) -> int:
    """Multiply-accumulates of one op; 0 for ops that sum no products."""
    if isinstance(op, (Linear, Conv2d)):
        return op.type.size * math.prod(op.weight.shape[1:])
    if isinstance(op, MatMul):
        return op.type.size * op.lhs.shape[-1]
    if isinstance(op, Attention):
        scores = math.prod(op.q.shape[:-1]) * op.k.shape[-2]
        return scores * (op.q.shape[-1] + op.v.shape[-1])
    return 0


def mean_bits(graph: Graph, config: QuantConfig) -> tuple[float, float]:
    """Bits of weights and of activations: the layers' settings, weighted by the elements of the weights and of the
    results of the ops that `op_macs` counts. The width of the containers does not matter.
    """
    weights: list[tuple[int, int]] = []
    activations: list[tuple[int, int]] = []
    for op in graph.ops:
        if not op_macs(op):
            continue
        layer = config.layer(op.loc, op.NAME)
        activations.append((op.type.size, layer.activation_bits))
        weights += [(x.type.size, layer.weight_bits) for x in op.operands if isinstance(x, Const) and x.type.rank > 1]
    return _mean(weights, config.weight_bits), _mean(activations, config.activation_bits)


def _mean(weighted: list[tuple[int, int]], otherwise: int) -> float:
    total = sum(count for count, _ in weighted)
    return sum(count * bits for count, bits in weighted) / total if total else float(otherwise)
