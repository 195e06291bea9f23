"""The base of the ``tflite.*`` op classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from edgevit.ir.op import Op
from edgevit.ir.ops import broadcast_shapes
from edgevit.ir.types import TensorType

from ..model import OptionValue

Extra = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class TfliteOp(Op):
    """Base of the dialect. ``BUILTIN`` and ``VERSION`` are those of the file."""

    BUILTIN: ClassVar[str] = ""
    VERSION: ClassVar[int] = 2

    def file_options(self) -> Mapping[str, OptionValue]:
        """The fields of the operator's options table."""
        return {}

    def shape_operands(self) -> tuple[Extra, ...]:
        """The int32 constants that follow the operands in the file."""
        return ()

    def file_operands(self) -> tuple[Op | None, ...]:
        """The operands in the file's order; None for an optional one that is absent."""
        return self.operands


def broadcast_type(op: Op, *operands: Op) -> TensorType:
    """The type of an elementwise op: the operands' common shape. Raises IRError where they do not broadcast."""
    shape: tuple[int, ...] | None = ()
    for operand in operands:
        shape = broadcast_shapes(shape, operand.shape) if shape is not None else None
    if shape is None:
        raise op.fail(f"{[list(operand.shape) for operand in operands]} do not broadcast")
    return TensorType(shape, operands[0].type.dtype)
