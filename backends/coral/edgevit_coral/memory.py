"""Where the parameters and activations of the Edge TPU partition go: cached on chip, streamed, or too large.

The compiler places parameters in execution order until the cache is full and streams what does not fit at every
inference; its packing adds some padding, so the figures are estimates [infer].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from . import limits
from .model import OperatorSpec, TensorSpec, TfliteModel


@dataclass(frozen=True)
class Memory:
    """Bytes of the Edge TPU partition.

    ``streamed_ops`` are operator indices in execution order. ``peak_activation_bytes`` is the most that is alive at
    once when the operators run in the order of the file.
    """

    parameter_bytes: int
    on_chip_bytes: int
    streamed_bytes: int
    streamed_ops: tuple[int, ...]
    largest_activation: str
    largest_activation_bytes: int
    peak_activation_bytes: int

    def to_json(self) -> dict[str, object]:
        """The figures as JSON types."""
        return {**asdict(self), "streamed_ops": list(self.streamed_ops)}


def plan_memory(model: TfliteModel, on_tpu: Sequence[int]) -> Memory:
    """Place the constants of the operators ``on_tpu`` (indices in execution order) and size their activations."""
    placed: set[int] = set()
    cached, streamed, streamed_ops = 0, 0, []
    for index in on_tpu:
        fresh = {t: size for t, size in parameter_bytes(model, model.operators[index]).items() if t not in placed}
        placed.update(fresh)
        size = sum(fresh.values())
        if cached + size <= limits.ON_CHIP_BYTES:
            cached += size
        else:
            streamed += size
            streamed_ops.append(index)
    name, largest, peak = _activations(model, on_tpu)
    return Memory(cached + streamed, cached, streamed, tuple(streamed_ops), name, largest, peak)


def parameter_bytes(model: TfliteModel, op: OperatorSpec) -> dict[int, int]:
    """Bytes of every constant of ``op`` by tensor index, without its axes and shapes, which the compiler folds in."""
    arguments = limits.SHAPE_OPERANDS.get(op.name, ())
    return {
        tensor: _bytes(model.tensors[tensor])
        for position, tensor in enumerate(op.inputs)
        if tensor >= 0 and position not in arguments and model.tensors[tensor].is_constant
    }


def _bytes(tensor: TensorSpec) -> int:
    if tensor.data is not None:
        return tensor.data.nbytes
    # A type that numpy does not know (bfloat16, int4) is counted as two bytes: it cannot be on the Edge TPU anyway.
    width = np.dtype(tensor.dtype).itemsize if tensor.dtype in np.sctypeDict else 2
    return math.prod(max(size, 0) for size in tensor.shape) * width


def _activations(model: TfliteModel, on_tpu: Sequence[int]) -> tuple[str, int, int]:
    born: dict[int, int] = {}
    dies: dict[int, int] = {}
    for step, index in enumerate(on_tpu):
        op = model.operators[index]
        for tensor in (*op.inputs, *op.outputs):
            if tensor >= 0 and not model.tensors[tensor].is_constant:
                born.setdefault(tensor, step)
                dies[tensor] = step
    dies.update({t: len(on_tpu) - 1 for t in model.outputs if t in dies})
    if not born:
        return "", 0, 0
    largest = max(born, key=lambda t: _bytes(model.tensors[t]))
    change = [0] * (len(on_tpu) + 1)
    for tensor, step in born.items():
        change[step] += _bytes(model.tensors[tensor])
        change[dies[tensor] + 1] -= _bytes(model.tensors[tensor])
    alive = np.cumsum(change)
    return model.tensors[largest].name, _bytes(model.tensors[largest]), int(alive.max())
