"""Small graphs in the quantized and the integer form, for the tests of this folder."""

from __future__ import annotations

from functools import cache
from typing import Literal

from edgevit.integer.factors import choose_factors
from edgevit.integer.forms import Forms
from edgevit.integer.lower import ToInteger
from edgevit.integer.prepare import float_passes, integer_config, integer_policy
from edgevit.ir.graph import Form, Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Input
from edgevit.ir.types import DType, Dyadic, Quant, TensorType
from edgevit.quant.calibrate import calibrate
from edgevit.quant.quantize import QuantizeGraph
from tests.quant.graphs import pictures, vit


def grid(*shape: int, dtype: DType = DType.I8, scale: float = 1 / 16, zero_point: int = 0) -> TensorType:
    """A type on a per-tensor grid with a float scale."""
    return TensorType(shape, dtype, Quant.per_tensor(scale, zero_point))


def exact_grid(*shape: int, dtype: DType = DType.I8, shift: int = 4, zero_point: int = 0) -> TensorType:
    """A type on the grid of scale 2**-shift."""
    return TensorType(shape, dtype, Quant.per_tensor(Dyadic(1, shift), zero_point))


def value(type: TensorType, name: str = "x") -> Input:
    return Input(name, type=type)


def lower_op(op: Op, forms: Forms | None = None) -> Graph:
    """A graph with one quantized op as its output, in the integer form."""
    return ToInteger(Forms() if forms is None else forms).run(Graph.of("g", [op], form=Form.QUANTIZED))


def to_quantized(graph: Graph, stream_bits: Literal[8, 16] = 16) -> Graph:
    """A float graph on 8x8 pictures, calibrated on 16 of them and quantized."""
    config, policy = integer_config(), integer_policy(stream_bits)
    prepared = float_passes().run(graph).graph
    return QuantizeGraph(config, policy).run(calibrate(prepared, [pictures(16)], config, constraints=policy))


@cache
def quantized_vit() -> Graph:
    """The miniature ViT in the quantized form."""
    return to_quantized(vit())


@cache
def integer_vit(forms: Forms) -> Graph:
    """The miniature ViT in the integer form."""
    source = quantized_vit()
    factors = choose_factors(source, pictures(8)) if forms.layer_norm == "fqvit" else {}
    return ToInteger(forms, factors).run(source)
