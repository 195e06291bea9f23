"""Where values come from: the graph's inputs and its constants."""

from __future__ import annotations

from dataclasses import dataclass

from edgevit.ir.op import Op
from edgevit.ir.types import Array, TensorType, dtype_of


@dataclass(frozen=True, eq=False)
class Input(Op):
    """An input of the graph. Its type is always given."""

    NAME = "input"
    name: str


@dataclass(frozen=True, eq=False)
class Const(Op):
    """A constant array; by convention nobody writes to it."""

    NAME = "const"
    data: Array

    def infer(self) -> TensorType:
        return TensorType(tuple(self.data.shape), dtype_of(self.data))
