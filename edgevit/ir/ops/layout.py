"""Ops that move numbers and never compute: they keep values, ranges and grids as they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgevit.ir.op import Op
from edgevit.ir.types import TensorType


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """The same elements, row-major, in another shape of equal size."""

    NAME = "reshape"
    x: Op
    to: tuple[int, ...]

    def infer(self) -> TensorType:
        if math.prod(self.to) != self.x.type.size:
            raise self.fail(
                f"{list(self.x.shape)} has {self.x.type.size} elements, {list(self.to)} has {math.prod(self.to)}"
            )
        return TensorType(self.to, self.x.type.dtype)


@dataclass(frozen=True, eq=False)
class Transpose(Op):
    """Axes permuted: result axis i is operand axis ``perm[i]``."""

    NAME = "transpose"
    x: Op
    perm: tuple[int, ...]

    def infer(self) -> TensorType:
        if sorted(self.perm) != list(range(self.x.type.rank)):
            raise self.fail(f"{list(self.perm)} is no permutation of {self.x.type.rank} axes")
        return TensorType(tuple(self.x.shape[p] for p in self.perm), self.x.type.dtype)


@dataclass(frozen=True, eq=False)
class Concat(Op):
    """Operands joined along ``axis``; all other dimensions are equal."""

    NAME = "concat"
    xs: tuple[Op, ...]
    axis: int

    def infer(self) -> TensorType:
        if not self.xs:
            raise self.fail("needs at least one operand")
        first = self.xs[0]
        if not 0 <= self.axis < first.type.rank:
            raise self.fail(f"axis {self.axis} of rank {first.type.rank}")
        for x in self.xs[1:]:
            if x.type.dtype is not first.type.dtype:
                raise self.fail(f"operands are {first.type.dtype.value} and {x.type.dtype.value}")
            if _without(x.shape, self.axis) != _without(first.shape, self.axis):
                raise self.fail(f"{list(x.shape)} and {list(first.shape)} differ outside axis {self.axis}")
        shape = list(first.shape)
        shape[self.axis] = sum(x.shape[self.axis] for x in self.xs)
        return TensorType(tuple(shape), first.type.dtype)


@dataclass(frozen=True, eq=False)
class Slice(Op):
    """Elements ``start:stop:step`` of every axis; one entry an axis, steps positive."""

    NAME = "slice"
    x: Op
    start: tuple[int, ...]
    stop: tuple[int, ...]
    step: tuple[int, ...]

    def infer(self) -> TensorType:
        if not len(self.start) == len(self.stop) == len(self.step) == self.x.type.rank:
            raise self.fail(f"needs one start, stop and step for each of {self.x.type.rank} axes")
        shape = []
        for size, start, stop, step in zip(self.x.shape, self.start, self.stop, self.step, strict=True):
            if not 0 <= start < stop <= size or step < 1:
                raise self.fail(f"{start}:{stop}:{step} of an axis of size {size}")
            shape.append(-(-(stop - start) // step))
        return TensorType(tuple(shape), self.x.type.dtype)


@dataclass(frozen=True, eq=False)
class Pad(Op):
    """``low`` and ``high`` elements added on each axis: ``value`` in mode ``constant``, mirrored in ``reflect``."""

    NAME = "pad"
    x: Op
    low: tuple[int, ...]
    high: tuple[int, ...]
    mode: str = "constant"
    value: float = 0.0

    def infer(self) -> TensorType:
        if not len(self.low) == len(self.high) == self.x.type.rank:
            raise self.fail(f"needs one low and high for each of {self.x.type.rank} axes")
        if min(*self.low, *self.high, 0) < 0:
            raise self.fail("negative padding", hint="use slice")
        if self.mode not in ("constant", "reflect"):
            raise self.fail(f"unknown mode {self.mode!r}", hint="constant or reflect")
        shape = tuple(a + n + b for a, n, b in zip(self.low, self.x.shape, self.high, strict=True))
        return TensorType(shape, self.x.type.dtype)


@dataclass(frozen=True, eq=False)
class Gather(Op):
    """Rows of ``x`` along ``axis``, chosen by integer ``indices`` (any rank, whose shape replaces that axis)."""

    NAME = "gather"
    x: Op
    indices: Op
    axis: int

    def infer(self) -> TensorType:
        if not 0 <= self.axis < self.x.type.rank:
            raise self.fail(f"axis {self.axis} of rank {self.x.type.rank}")
        if not self.indices.type.dtype.is_integer:
            raise self.fail(f"indices are {self.indices.type.dtype.value}, not integers")
        shape = (*self.x.shape[: self.axis], *self.indices.shape, *self.x.shape[self.axis + 1 :])
        return TensorType(shape, self.x.type.dtype)


@dataclass(frozen=True, eq=False)
class Broadcast(Op):
    """``x`` repeated to a larger shape by numpy's broadcasting rules."""

    NAME = "broadcast"
    x: Op
    to: tuple[int, ...]

    def infer(self) -> TensorType:
        padded = (1,) * (len(self.to) - self.x.type.rank) + self.x.shape
        if len(padded) != len(self.to) or any(n not in (1, m) for n, m in zip(padded, self.to, strict=True)):
            raise self.fail(f"{list(self.x.shape)} does not broadcast to {list(self.to)}")
        return TensorType(self.to, self.x.type.dtype)


LAYOUT_OPS = (Reshape, Transpose, Concat, Slice, Pad, Gather, Broadcast)
"""Ops whose result holds only elements of their operands (and, for pad, one constant)."""


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]
