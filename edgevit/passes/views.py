"""Reshapes and transposes as what they are together: one row-major array whose factors are put in another order.

The operand is taken as one flat axis. A transpose splits it into factors and permutes them, a reshape only draws other
boundaries. So a chain of them is an order of factors and a result shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgevit.ir.op import Op
from edgevit.ir.ops import Reshape, Transpose

Shape = tuple[int, ...]
Cost = tuple[int, int]
"""Number of transposes, and of transposes and reshapes: a transpose moves memory, a reshape is free on most targets."""


@dataclass(frozen=True)
class Layout:
    """A chain of reshapes and transposes of one operand.

    ``factors`` are the sizes, outermost first, into which the operand's flat axis falls; ``order`` lists them as the
    result has them, whose shape is ``shape``.
    """

    factors: Shape
    order: tuple[int, ...]
    shape: Shape

    @staticmethod
    def of(shape: Shape) -> Layout:
        """The operand itself."""
        return Layout((math.prod(shape),), (0,), shape)

    @property
    def is_reshape(self) -> bool:
        """Whether the elements stay in their order."""
        return self.order == tuple(range(len(self.order)))

    def then(self, view: Reshape | Transpose) -> Layout | None:
        """The layout after one more view, or None when an axis ends inside a factor that it does not divide."""
        if isinstance(view, Reshape):
            return Layout(self.factors, self.order, view.to)
        split = self.split(self.shape, self.order)
        if split is None:
            return None
        axes = _group(split, split.order, self.shape)
        order = tuple(factor for axis in view.perm for factor in axes[axis])
        return Layout(split.factors, order, tuple(self.shape[p] for p in view.perm)).merged()

    def split(self, shape: Shape, sequence: Sequence[int]) -> Layout | None:
        """The same layout, its factors split where an axis of ``shape`` ends; None where an end does not divide one.

        ``sequence`` says in which order ``shape`` holds the factors: ``order`` for a shape of the result, ascending for
        one of the operand.
        """
        ends = {math.prod(shape[:axis]) for axis in range(len(shape))}
        pieces: dict[int, list[int]] = {}
        start = 1
        for factor in sequence:
            stop = start * self.factors[factor]
            cuts = [start, *sorted(end for end in ends if start < end < stop), stop]
            steps = list(pairwise(cuts))
            if any(b % a for a, b in steps):
                return None
            pieces[factor] = [b // a for a, b in steps]
            start = stop
        sizes: list[int] = []
        renamed: dict[int, range] = {}
        for factor in range(len(self.factors)):
            renamed[factor] = range(len(sizes), len(sizes) + len(pieces[factor]))
            sizes += pieces[factor]
        return Layout(tuple(sizes), tuple(new for factor in self.order for new in renamed[factor]), self.shape)

    def merged(self) -> Layout:
        """The same layout with the fewest factors: those that are neighbours in operand and result become one."""
        runs: list[list[int]] = []
        for factor in self.order:
            if runs and runs[-1][-1] + 1 == factor:
                runs[-1].append(factor)
            else:
                runs.append([factor])
        ranked = sorted(runs)
        sizes = tuple(math.prod(self.factors[factor] for factor in run) for run in ranked)
        return Layout(sizes, tuple(ranked.index(run) for run in runs), self.shape)


def build(x: Op, layout: Layout, loc: str) -> Op:
    """The cheapest views that give ``x`` that layout: at most a reshape, a transpose and a reshape."""
    if layout.is_reshape:
        return reshape(x, layout.shape, loc)
    candidates = [_transpose_first(x, layout, loc), _transpose_last(x, layout, loc), _by_factors(x, layout, loc)]
    return min((op for op in candidates if op is not None), key=lambda op: cost(op, x))


def cost(op: Op, x: Op) -> Cost:
    """The cost of the views between ``x`` and ``op``."""
    transposes = views = 0
    while op is not x:
        transposes += isinstance(op, Transpose)
        views += 1
        (op,) = op.operands
    return transposes, views


def reshape(x: Op, shape: Shape, loc: str) -> Op:
    """``x`` in another shape; itself where that is its shape. Range and grid are kept."""
    return x if x.shape == shape else Reshape(x, shape, type=x.type.with_shape(shape), loc=loc)


def transpose(x: Op, perm: tuple[int, ...], loc: str) -> Op:
    """``x`` with permuted axes; itself where none moves. Range and grid are kept."""
    if perm == tuple(range(len(perm))):
        return x
    return Transpose(x, perm, type=x.type.with_shape(tuple(x.shape[p] for p in perm)), loc=loc)


def inverse(perm: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes ``perm``."""
    return tuple(perm.index(axis) for axis in range(len(perm)))


def _transpose_first(x: Op, layout: Layout, loc: str) -> Op | None:
    """Transpose, then reshape: possible when every axis of ``x`` stays in one piece."""
    split = layout.split(x.shape, range(len(layout.factors)))
    if split is None:
        return None
    place = {factor: i for i, factor in enumerate(split.order)}
    axes = _group(split, range(len(split.factors)), x.shape)
    if any(place[b] != place[a] + 1 for axis in axes for a, b in pairwise(axis)):
        return None
    moved = sorted((axis for axis in range(len(axes)) if axes[axis]), key=lambda axis: place[axes[axis][0]])
    units = [axis for axis in range(len(axes)) if not axes[axis]]
    perm = (*units, *moved)
    if len(layout.shape) == len(x.shape) and [n for n in layout.shape if n > 1] == [x.shape[axis] for axis in moved]:
        perm = tuple(units.pop(0) if size == 1 else moved.pop(0) for size in layout.shape)
    return reshape(transpose(x, perm, loc), layout.shape, loc)


def _transpose_last(x: Op, layout: Layout, loc: str) -> Op | None:
    """Reshape, then transpose: possible when every axis of the result lies in one piece in ``x``."""
    split = layout.split(layout.shape, layout.order)
    if split is None:
        return None
    axes = _group(split, split.order, layout.shape)
    if any(b != a + 1 for axis in axes for a, b in pairwise(axis)):
        return None
    ranked = sorted(range(len(axes)), key=lambda axis: axes[axis])
    shaped = reshape(x, tuple(layout.shape[axis] for axis in ranked), loc)
    return transpose(shaped, tuple(ranked.index(axis) for axis in range(len(axes))), loc)


def _by_factors(x: Op, layout: Layout, loc: str) -> Op:
    return reshape(transpose(reshape(x, layout.factors, loc), layout.order, loc), layout.shape, loc)


def _group(layout: Layout, sequence: Sequence[int], shape: Shape) -> list[tuple[int, ...]]:
    """The factors of each axis of ``shape``, which holds them in the order ``sequence`` and ends no axis inside one.

    An axis of size 1 has none.
    """
    rest = list(sequence)
    found: list[tuple[int, ...]] = []
    for size in shape:
        axis: list[int] = []
        while size > 1:
            size //= layout.factors[rest[0]]
            axis.append(rest.pop(0))
        found.append(tuple(axis))
    return found
