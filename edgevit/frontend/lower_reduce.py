"""Lowerings of reductions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgevit.frontend.registry import Node, axes_of, lowers
from edgevit.ir.op import Op
from edgevit.ir.ops import Reduce, ReduceMax, ReduceMean, ReduceMin, ReduceSum

Axes = int | Sequence[int] | None


@lowers("mean.dim")
def mean(node: Node, x: Any, dim: Axes, keepdim: bool, dtype: Any) -> Op:
    """The arithmetic mean over some axes."""
    return _reduced(node, ReduceMean, x, dim, keepdim)


@lowers("mean.default")
def mean_all(node: Node, x: Any, dtype: Any) -> Op:
    """The arithmetic mean of all elements."""
    return _reduced(node, ReduceMean, x, None, False)


@lowers("sum.dim_IntList")
def sum_(node: Node, x: Any, dim: Axes, keepdim: bool, dtype: Any) -> Op:
    """The sum over some axes."""
    return _reduced(node, ReduceSum, x, dim, keepdim)


@lowers("sum.default")
def sum_all(node: Node, x: Any, dtype: Any) -> Op:
    """The sum of all elements."""
    return _reduced(node, ReduceSum, x, None, False)


@lowers("amax.default")
def amax(node: Node, x: Any, dim: Axes, keepdim: bool) -> Op:
    """The largest element over some axes."""
    return _reduced(node, ReduceMax, x, dim, keepdim)


@lowers("amin.default")
def amin(node: Node, x: Any, dim: Axes, keepdim: bool) -> Op:
    """The smallest element over some axes."""
    return _reduced(node, ReduceMin, x, dim, keepdim)


@lowers("max.default")
def max_all(node: Node, x: Any) -> Op:
    """The largest element."""
    return _reduced(node, ReduceMax, x, None, False)


@lowers("min.default")
def min_all(node: Node, x: Any) -> Op:
    """The smallest element."""
    return _reduced(node, ReduceMin, x, None, False)


@lowers("max.dim")
def max_dim(node: Node, x: Any, dim: int, keepdim: bool) -> tuple[Op, None]:
    """The largest element of one axis; its position is not computed."""
    return _reduced(node, ReduceMax, x, dim, keepdim), None


@lowers("min.dim")
def min_dim(node: Node, x: Any, dim: int, keepdim: bool) -> tuple[Op, None]:
    """The smallest element of one axis; its position is not computed."""
    return _reduced(node, ReduceMin, x, dim, keepdim), None


def _reduced(node: Node, cls: type[Reduce], x: Any, dim: Axes, keepdim: bool) -> Op:
    operand = node.op(x)
    axes = axes_of(dim, operand.type.rank)
    return cls(operand, axes, keepdim, loc=node.loc) if axes else operand
