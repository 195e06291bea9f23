"""A TensorFlow Lite model as plain typed data: what the writer writes, the reader reads and the mapping judges.

It is deliberately flatter than the IR: one subgraph, tensors by index, every operator with the options that it carries
in the file. The IR's ``tflite.*`` ops are converted to it (``emit.py``); a foreign ``.tflite`` file is read into it
(``reader.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

OptionValue = int | float | bool | str | tuple[int, ...]


@dataclass(frozen=True, eq=False)
class TensorSpec:
    """One tensor of the file.

    ``dtype`` is a numpy type name (``int8``, ``uint8``, ``int32``, ``float32`` ...). ``scale`` and ``zero_point`` are
    empty for a tensor without quantization, of length 1 per tensor, of length ``shape[axis]`` per channel. ``data`` is
    None for an activation.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    axis: int = 0
    data: NDArray[np.generic] | None = None

    @property
    def is_constant(self) -> bool:
        return self.data is not None


@dataclass(frozen=True, eq=False)
class OperatorSpec:
    """One operator: its builtin name (``FULLY_CONNECTED``), version, tensors by index (-1: an absent optional input),
    options.

    ``options`` holds the fields of the schema's options table in snake case (``keep_num_dims``,
    ``fused_activation_function`` as the schema's name, such as ``RELU``).
    """

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    loc: str = ""


@dataclass(frozen=True, eq=False)
class TfliteModel:
    """One subgraph in execution order. ``inputs`` and ``outputs`` are tensor indices."""

    tensors: tuple[TensorSpec, ...]
    operators: tuple[OperatorSpec, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    description: str = ""
    subgraph_count: int = 1
