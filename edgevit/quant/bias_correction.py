"""Bias correction: b <- b - E[error], one number an output channel (methods.md A5).

Done sequentially on the quantized graph: layers are corrected in execution order, each on inputs from layers that are
already corrected, so that one walk over the calibration images takes care of all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from edgevit.errors import PassError
from edgevit.ir.graph import Form, Graph
from edgevit.ir.interp import run
from edgevit.ir.op import Op
from edgevit.ir.ops import Const, Conv2d, Input, Linear
from edgevit.ir.types import TensorType, dequantize_array
from edgevit.quant.arrays import Numbers
from edgevit.quant.config import QuantConfig
from edgevit.quant.quantize import bias_constant
from edgevit.quant.rebuild import rebuild
from edgevit.quant.walk import (
    MEMORY_BYTES,
    Progress,
    as_input,
    channel_mean,
    evaluate_all,
    live_bytes,
    slices,
    stack_images,
    walk,
)

_SLICE_BYTES = MEMORY_BYTES // 4


def correct_biases(
    reference: Graph, graph: Graph, batches: Iterable[Numbers], config: QuantConfig, *, progress: Progress | None = None
) -> Graph:
    """``graph``, quantized, with biases that give each output channel the mean it has in ``reference``, the float one.

    Uses as many of the images (S, H, W, 3) as fit in memory at once. Layers whose settings say so keep their bias.
    Raises PassError when the two graphs do not have the same linear ops, QuantError for images that do not fit.
    """
    if graph.form is not Form.QUANTIZED:
        raise PassError(f"a graph in the {graph.form.value} form", where="bias_correction", hint="run `quantize` first")
    pairs = _pairs(reference, graph)
    images = stack_images(reference, batches)
    images = images[: max(1, MEMORY_BYTES // live_bytes(graph))]
    expected = _means(reference, images)
    corrected: dict[Op, Linear | Conv2d] = {}

    def visit(op: Op, arrays: list[Numbers]) -> Numbers:
        if isinstance(op, Input):
            return arrays[0]
        if not isinstance(op, (Linear, Conv2d)) or not config.layer(op.loc, op.NAME).bias_correction:
            return evaluate_all(op, op.operands, arrays, len(images))
        # Before it is clamped to its grid: what a grid cuts off on purpose (below a ReLU, say) is no error of the mean.
        exact = op.with_type(TensorType(op.shape))
        lacking = expected[pairs[op]] - channel_mean(evaluate_all(exact, op.operands, arrays, len(images)))
        corrected[op] = new = _with_bias(op, lacking)
        return evaluate_all(new, new.operands, [*arrays[:2], _bias(new).data], len(images))

    walk(graph, as_input(graph, images), visit, progress)
    return rebuild(graph, lambda old, op: replace(op, bias=corrected[old].bias) if old in corrected else op)  # type: ignore[call-arg]


def _pairs(reference: Graph, graph: Graph) -> dict[Op, Op]:
    """The linear op of ``reference`` for each of ``graph``."""
    theirs, ours = ([op for op in g.ops if isinstance(op, (Linear, Conv2d))] for g in (reference, graph))
    if [(type(op), op.loc, op.shape) for op in theirs] != [(type(op), op.loc, op.shape) for op in ours]:
        raise PassError(
            "the float graph has other linear ops", where="bias_correction", hint="give the graph that was calibrated"
        )
    return dict(zip(ours, theirs, strict=True))


def _means(graph: Graph, images: Numbers) -> dict[Op, Numbers]:
    """The mean of each output channel of all linear ops of a float graph."""
    sums: dict[Op, Numbers] = {}

    for part in slices(len(images), live_bytes(graph), _SLICE_BYTES):
        weight = (part.stop - part.start) / len(images)

        def observe(op: Op, array: Numbers, weight: float = weight) -> None:
            if isinstance(op, (Linear, Conv2d)):
                sums[op] = sums.get(op, np.zeros(())) + weight * channel_mean(array)

        run(graph, [as_input(graph, images[part])], observe)
    return sums


def _bias(op: Linear | Conv2d) -> Const:
    assert isinstance(op.bias, Const)
    return op.bias


def _with_bias(op: Linear | Conv2d, lacking: Numbers) -> Linear | Conv2d:
    """``op`` with ``lacking`` (real numbers) added to its bias."""
    quant, input_quant = op.weight.type.quant, op.x.type.quant
    assert quant is not None
    assert input_quant is not None
    old = dequantize_array(op.bias.data, op.bias.type) if isinstance(op.bias, Const) else np.zeros(op.weight.shape[0])
    return replace(op, bias=bias_constant(old + lacking, float(input_quant.scale[0]), quant, op.loc))
