"""The borders between real numbers and grids. The grids are those of the result's and the operand's type."""

from __future__ import annotations

from edgevit.ir.ops.elementwise import Unary


class Quantize(Unary):
    """Real numbers, or integers on another grid, rounded onto the result's grid. The result type is always given."""

    NAME = "quantize"


class Dequantize(Unary):
    """The real numbers that the operand's integers stand for. The result type is always given."""

    NAME = "dequantize"
