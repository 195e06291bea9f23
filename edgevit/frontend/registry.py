"""Which function lowers which torch operator, and what such a function has at hand.

A lowering is called as ``f(node, *arguments)`` with all arguments of the operator's schema in order, defaults filled
in. A tensor argument is an Op where it depends on the image and a ``torch.Tensor`` where it does not; a lowering is
called only when at least one is an Op, the rest is evaluated by torch itself. It returns an Op of exactly torch's
result shape, or several for an operator with several results (``None`` for one that is never read).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from edgevit.errors import EdgevitError
from edgevit.ir.op import Op
from edgevit.ir.ops import Const
from edgevit.ir.types import Array

if TYPE_CHECKING:
    import torch

Lowered = Any
"""An Op, a constant ``torch.Tensor``, or a tuple, list or None of them."""

Lowering = Callable[..., Lowered]
LoweringT = TypeVar("LoweringT", bound=Lowering)

LOWERINGS: dict[str, Lowering] = {}
"""By the operator's name, as ``str(OpOverload)`` writes it: ``aten.add.Tensor``."""

SHAPE_ONLY = frozenset(
    f"aten.{name}"
    for name in (
        "full_like.default",
        "new_full.default",
        "new_ones.default",
        "new_zeros.default",
        "ones_like.default",
        "zeros_like.default",
    )
)
"""Operators whose result does not depend on the elements of their operand, only on its shape."""

MASKED = -1e4
"""What an additive mask's -inf becomes: its exponential is zero in float32 beside any score that a classifier has."""


class CannotLower(EdgevitError):
    """An operator that has a lowering, but not for these arguments. The walk over the graph collects these."""


def lowers(*names: str) -> Callable[[LoweringT], LoweringT]:
    """Register a lowering for the operators ``aten.<name>``; a second one for the same operator is a ValueError."""

    def register(function: LoweringT) -> LoweringT:
        for name in names:
            if LOWERINGS.setdefault(f"aten.{name}", function) is not function:
                raise ValueError(f"two lowerings for aten.{name}")
        return function

    return register


class Node:
    """The torch node that is being lowered: where it stands, what shape it has, and the constants made so far."""

    def __init__(self, loc: str, shape: tuple[int, ...], constants: Constants) -> None:
        self.loc, self.shape, self._constants = loc, shape, constants

    def op(self, value: Any) -> Op:
        """``value`` (an Op, a constant tensor or a number) as a float operand."""
        if isinstance(value, Op):
            return value
        if isinstance(value, (bool, int, float)):
            return Const(np.float32(value).reshape(()), loc=self.loc)
        return self._constants.op(value, self.loc)

    def optional(self, value: Any) -> Op | None:
        """As :meth:`op`, None for None."""
        return None if value is None else self.op(value)

    def const(self, array: Array) -> Const:
        """A new constant: float32, or int32 for integers."""
        dtype = np.int32 if array.dtype.kind in "iu" else np.float32
        return Const(np.ascontiguousarray(array, dtype), loc=self.loc)

    def array(self, value: Any, what: str) -> Array:
        """The elements of a constant tensor; CannotLower where they depend on the image."""
        if isinstance(value, Op):
            raise self.cannot(f"the {what} depends on the image")
        return self._constants.array(value)

    def cannot(self, why: str) -> CannotLower:
        """The error to raise for arguments that have no lowering."""
        return CannotLower(why, where=self.loc)


class Constants:
    """The constants of one graph: a tensor that is used twice becomes one Const."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        """The qualified name of each parameter and buffer, by the tensor's id."""
        self._ops: dict[int, tuple[torch.Tensor, Const]] = {}

    def op(self, tensor: torch.Tensor, loc: str) -> Const:
        """``tensor`` as float32; of a parameter or buffer, the place is its own name."""
        found = self._ops.get(id(tensor))
        if found is None:
            array = np.array(self.array(tensor), np.float32, order="C")
            const = Const(np.where(np.isneginf(array), np.float32(MASKED), array), loc=self.names.get(id(tensor), loc))
            # The tensor is kept beside its op, so that no later one can get its id.
            found = self._ops[id(tensor)] = (tensor, const)
        return found[1]

    def array(self, tensor: torch.Tensor) -> Array:
        """The elements of ``tensor``; half precision is widened to float32."""
        import torch

        tensor = tensor.detach()
        if tensor.is_floating_point():
            tensor = tensor.to(torch.float32)
        array: Array = tensor.cpu().numpy()
        return array


def axis_of(axis: int, rank: int) -> int:
    """A torch dimension, which may count from the end, as an axis in 0..rank-1."""
    return axis + rank if axis < 0 else axis


def axes_of(axes: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Torch dimensions as sorted axes; none or an empty list stands for all."""
    if axes is None or (not isinstance(axes, int) and not axes):
        return tuple(range(rank))
    return tuple(sorted(axis_of(axis, rank) for axis in ([axes] if isinstance(axes, int) else axes)))


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    """A size that torch allows as one number for both axes, as (vertical, horizontal)."""
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])
