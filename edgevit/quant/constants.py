"""Grids of constants, which depend on who uses them: a weight, a term of a sum, a part of a concatenation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgevit.errors import QuantError
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Const, Conv2d, LayerNorm, Linear
from edgevit.ir.types import DType, Quant
from edgevit.quant.config import QuantConfig
from edgevit.quant.constraints import GridPolicy
from edgevit.quant.grids import GridSpec, range_grid, weight_spec
from edgevit.quant.weights import Chosen, quantized_weight


@dataclass(frozen=True, eq=False)
class ConstantGrids:
    """Answers for one graph: ``chosen`` are the weights' granularities, ``group_grid`` the grid of a value's group."""

    config: QuantConfig
    policy: GridPolicy
    chosen: Mapping[Op, Chosen]
    group_grid: Callable[[Op], tuple[Quant, GridSpec]]

    def grid(self, user: Op, const: Const) -> tuple[Quant, GridSpec] | None:
        """The grid of ``const`` as an operand of ``user``; None for integers and for biases.

        Raises QuantError for numbers that are not finite, or that do not fit a grid that is given.
        """
        if const.type.dtype is not DType.F32:
            return None
        if isinstance(user, (Linear, Conv2d)):
            if const is user.weight:
                return quantized_weight(user, self.chosen[user], self.config), weight_spec(
                    self.config.layer(user.loc, user.NAME).weight_bits
                )
            if const is user.bias:
                return None
        if const in self.policy.data_operands(user):
            return self.group_grid(user)
        lo, hi = float(const.data.min()), float(const.data.max())
        symmetric = const in self.policy.symmetric_operands(user)
        spec = GridSpec(self.policy.dtype, symmetric=symmetric)
        stream = self.policy.stream
        if stream is not None and (
            isinstance(user, LayerNorm) or (isinstance(user, Add) and self.group_grid(user)[1].dtype is stream)
        ):
            spec = GridSpec(stream, stream.bits, symmetric=symmetric)
        try:
            return range_grid(min(lo, 0.0), max(hi, 0.0), spec), spec
        except QuantError as error:
            raise QuantError(f"a constant of {user.NAME}: {error.what}", where=user.loc, hint=error.hint) from None
