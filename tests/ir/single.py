"""One op as a graph, evaluated by the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgevit.ir.graph import Form, Graph
from edgevit.ir.interp import run
from edgevit.ir.op import Op
from edgevit.ir.ops import Input
from edgevit.ir.types import Array, TensorType, dtype_of
from edgevit.ir.verify import verify

Floats = NDArray[np.float32]


def normal(*shape: int, seed: int = 0) -> Floats:
    """Standard normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def evaluate(
    build: Callable[..., Op], *arrays: Array, types: Sequence[TensorType] = (), form: Form = Form.FLOAT
) -> NDArray[Any]:
    """``build(*inputs)`` on arrays with a sample axis; the result, whose shape and element type are the op's.

    The types of the inputs follow from the arrays unless they are given. What a batch gives is compared with what each
    sample gives alone.
    """
    found = types or [TensorType(array.shape[1:], dtype_of(array)) for array in arrays]
    inputs = [Input(f"x{i}", type=type) for i, type in enumerate(found)]
    graph = Graph.of("g", [build(*inputs)], inputs=inputs, form=form)
    verify(graph)
    (whole,) = run(graph, arrays)
    output = graph.outputs[0].type
    assert whole.dtype == output.dtype.numpy
    assert whole.shape == (arrays[0].shape[0], *output.shape)
    for sample in range(len(whole)):
        (alone,) = run(graph, [array[sample : sample + 1] for array in arrays])
        assert alone.shape == (1, *output.shape)
        np.testing.assert_allclose(alone[0], whole[sample], rtol=2e-6, atol=2e-6)
    return whole
