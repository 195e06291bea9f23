"""Float graphs of core ops, quantized on random data, lowered, and run by the interpreter and by LiteRT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit.ir.graph import Form, Graph
from edgevit.ir.interp import run
from edgevit.ir.op import Op
from edgevit.ir.ops import Const, Input
from edgevit.ir.types import Array, DType, TensorType, quantize_array
from edgevit.ir.verify import verify
from edgevit.quant.config import QuantConfig
from edgevit.quant.constraints import INT8_POLICY, group_range, group_spec, share_grids
from edgevit.quant.quantize import QuantizeGraph
from edgevit_coral.emit import to_model
from edgevit_coral.legalize import fuse_relu_ranges
from edgevit_coral.lower import lower
from tests.coral.kernel_models import litert

SAMPLES = 3


def const(*shape: int, seed: int = 1, scale: float = 1.0) -> Const:
    """Normal numbers."""
    return Const((scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32))


def inputs(*shapes: tuple[int, ...]) -> list[Input]:
    """One float input a shape."""
    return [Input(f"x{i}", type=TensorType(shape)) for i, shape in enumerate(shapes)]


def image(size: int = 8, channels: int = 3) -> Input:
    """The image input, (1, size, size, channels), of raw pixels."""
    return Input("image", type=TensorType((1, size, size, channels)))


def quantized(output: Op | Sequence[Op], seed: int = 0, **config: Any) -> tuple[Graph, list[Array]]:
    """The quantized graph of some float ops, and integers for its inputs. ``config``: fields of QuantConfig.

    Ranges are those of normal numbers (pixels for the input ``image``); weights are per tensor unless asked otherwise.
    """
    outputs = [output] if isinstance(output, Op) else list(output)
    graph = Graph.of("g", outputs)
    verify(graph)
    rng = np.random.default_rng(seed)
    given: list[NDArray[np.float32]] = []
    for op in graph.inputs:
        shape = (SAMPLES, *op.shape)
        values = rng.integers(0, 256, shape) if op.name == "image" else rng.standard_normal(shape)
        given.append(values.astype(np.float32))
    ranges: dict[Op, tuple[float, float]] = {}
    run(graph, given, lambda op, value: ranges.__setitem__(op, (float(value.min()), float(value.max()))))
    settings = QuantConfig(**{"sequential": False, "weights": "per-tensor", **config})
    policy = replace(INT8_POLICY, pixel_dtype=DType.U8)
    for group in share_grids(graph, policy).groups:
        limits = group_range(group, dict(ranges), group_spec(group, policy, settings))
        ranges.update(dict.fromkeys(group.members, limits))
    originals = iter(graph.ops)

    def with_range(op: Op) -> Op:
        found = ranges.get(next(originals))
        return op if found is None or op.type.dtype is not DType.F32 else op.with_type(op.type.with_range(*found))

    calibrated = fuse_relu_ranges(graph.map(with_range).with_form(Form.CALIBRATED))
    result = QuantizeGraph(settings, policy).run(calibrated)
    verify(result)
    stored = [quantize_array(array, op.type) for op, array in zip(result.inputs, given, strict=True)]
    return result, stored


def lowered(graph: Graph) -> Graph:
    """The target form, verified."""
    result = lower(graph).graph
    verify(result)
    return result


def file_arrays(graph: Graph, arrays: Sequence[Array]) -> list[Array]:
    """Inputs of a quantized graph in the shapes of the file."""
    return [array.reshape((len(array), *op.shape)) for op, array in zip(graph.inputs, arrays, strict=True)]


def assert_same_as_litert(target: Graph, arrays: Sequence[Array]) -> Array:
    """The first output of a target graph by the interpreter, after asserting that LiteRT's is the same bit for bit."""
    given = file_arrays(target, arrays)
    ours = run(target, given)[0]
    theirs = litert(to_model(target), given)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)
    assert len(np.unique(ours)) > 1, "a constant result proves nothing"
    return ours


def steps_apart(graph: Graph, target: Graph, arrays: Sequence[Array]) -> int:
    """Largest difference, in steps of the grid, between a quantized graph by definition and its lowering."""
    first = run(graph, arrays)[0].astype(np.int64)
    second = run(target, file_arrays(target, arrays))[0].astype(np.int64)
    return int(np.abs(first.reshape(second.shape) - second).max())


Build = Callable[[], Op]
