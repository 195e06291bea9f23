"""The one Edge TPU partition that the compiler makes by default.

Delegates of TensorFlow Lite cut a graph into alternating runs of supported and unsupported operators: a run starts
with the first operator whose inputs are ready and takes in every operator of its kind that becomes ready. The
compiler keeps the first supported run. An unsupported operator at the very beginning (QUANTIZE of a float input)
therefore strands nothing by itself; one in the middle strands all that depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .model import TfliteModel


@dataclass(frozen=True)
class Partition:
    """Per operator: whether it is in the Edge TPU partition, and the unsupported op that cuts it off (-1: none)."""

    on_tpu: tuple[bool, ...]
    blocked_by: tuple[int, ...]


def first_partition(model: TfliteModel, supported: Sequence[bool]) -> Partition:
    """Split off the first run of supported operators, in execution order.

    ``supported[i]`` says whether operator ``i`` can be mapped taken alone.
    """
    producer = {tensor: index for index, op in enumerate(model.operators) for tensor in op.outputs}
    sources = [sorted({producer[t] for t in op.inputs if t in producer}) for op in model.operators]
    # A leading run on the CPU exists only if the first operator is unsupported; it ends before the Edge TPU run begins.
    leading = [False] * len(model.operators)
    if model.operators and not supported[0]:
        for index, inputs in enumerate(sources):
            leading[index] = not supported[index] and all(leading[i] for i in inputs)
    on_tpu = [False] * len(model.operators)
    blocked_by = [-1] * len(model.operators)
    for index, inputs in enumerate(sources):
        outside = [i for i in inputs if not on_tpu[i] and not leading[i]]
        if supported[index] and not outside:
            on_tpu[index] = True
        elif supported[index]:
            inherited = blocked_by[outside[0]]
            blocked_by[index] = inherited if inherited >= 0 else outside[0]
    return Partition(tuple(on_tpu), tuple(blocked_by))
