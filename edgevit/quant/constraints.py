"""What a target demands of grids, and which values of a graph thereby share one.

Integer kernels that only move or select elements (reshape, concat, max pooling ...) have no multiplier: their result
lies on the grid of their operands. Others have one grid built in. Both are facts of the target, given as a
GridPolicy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edgevit.errors import QuantError
from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import (
    LAYOUT_OPS,
    Add,
    Attention,
    Const,
    Gather,
    Input,
    L2Normalize,
    MatMul,
    Maximum,
    MaxPool2d,
    Minimum,
    Pad,
    ReduceMax,
    ReduceMin,
    Resize,
    Sigmoid,
    Softmax,
    Tanh,
)
from edgevit.ir.types import DType, Quant
from edgevit.quant.config import QuantConfig
from edgevit.quant.grids import GridSpec, real_limits, settle_range

IMAGE_INPUT = "image"
"""The name of the graph input that holds raw pixels."""


@dataclass(frozen=True, eq=False)
class GridPolicy:
    """The demands of a target whose activations have element type ``dtype``.

    ``fixed`` gives the grid that an op class always produces; ``shared`` names the classes whose data operands and
    result lie on one grid; ``symmetric`` names, by class, the operands that need a zero point of zero.
    ``stream`` is the element type of the residual stream, that is of sums, of what is added, and of the outputs (None:
    as other activations). ``pixel_dtype`` is the element type of the image input (one step a pixel value),
    ``output_dtype`` that of the outputs (None: as other activations).
    """

    fixed: Mapping[type[Op], Quant]
    shared: tuple[type[Op], ...]
    symmetric: Mapping[type[Op], tuple[str, ...]]
    dtype: DType = DType.I8
    pixel_dtype: DType = DType.U8
    output_dtype: DType | None = None
    stream: DType | None = None

    @property
    def pixels(self) -> Quant:
        """The grid of the image input in ``dtype``: real = pixel value."""
        return pixel_grid(self.dtype)

    def fixed_grid(self, op: Op) -> Quant | None:
        """The grid that this op's result always has, or None."""
        if isinstance(op, Input) and op.name == IMAGE_INPUT:
            return self.pixels
        return self.fixed.get(type(op))

    def data_operands(self, op: Op) -> tuple[Op, ...]:
        """The operands that share the result's grid: none for most ops, all but indices for ``shared`` ones."""
        if not isinstance(op, self.shared):
            return ()
        return (op.x,) if isinstance(op, Gather) else op.operands

    def symmetric_operands(self, op: Op) -> tuple[Op, ...]:
        """The operands that need a zero point of zero."""
        names = next((names for cls, names in self.symmetric.items() if isinstance(op, cls)), ())
        return tuple(getattr(op, name) for name in names)


def pixel_grid(dtype: DType) -> Quant:
    """One step a pixel value 0 .. 255."""
    return Quant.per_tensor(1.0, dtype.limits[0])


_UNIT = Quant.per_tensor(1 / 256, -128)
_SIGNED_UNIT = Quant.per_tensor(1 / 128, 0)

INT8_POLICY = GridPolicy(
    fixed={Softmax: _UNIT, Sigmoid: _UNIT, Tanh: _SIGNED_UNIT, L2Normalize: _SIGNED_UNIT},
    shared=(*LAYOUT_OPS, MaxPool2d, Resize, Maximum, Minimum, ReduceMax, ReduceMin),
    symmetric={MatMul: ("rhs",), Attention: ("k", "v")},
)
"""The int8 kernels of TensorFlow Lite (its quantization specification), with matrix products as FULLY_CONNECTED."""


@dataclass(eq=False)
class Group:
    """Values on one grid. ``sources`` are those that compute new numbers; the others only pass numbers on.

    ``constants`` are constant operands that lie on the grid too, ``extra`` further real numbers that it has to hold,
    ``feeds`` values of other groups that are requantized onto it. ``wide`` ones have the policy's type of the stream.
    """

    members: list[Op]
    sources: list[Op] = field(default_factory=list)
    constants: list[Const] = field(default_factory=list)
    extra: list[float] = field(default_factory=list)
    feeds: list[Op] = field(default_factory=list)
    fixed: Quant | None = None
    symmetric: bool = False
    wide: bool = False


@dataclass(frozen=True, eq=False)
class Sharing:
    """Which grid group each real value that is no constant belongs to."""

    groups: tuple[Group, ...]
    group_of: Mapping[Op, Group]
    requantized: frozenset[tuple[Op, Op]]
    """(user, operand) pairs where the operand lies on another grid than ``user`` needs."""


def share_grids(graph: Graph, policy: GridPolicy) -> Sharing:
    """Group the values of ``graph`` by the demands of ``policy``.

    A value with a built-in grid that is joined with others (a concat of a softmax and a sum) stays in its own group:
    the pair is listed in ``requantized``. Raises QuantError where a value would need two grids.
    """
    sets = _Sets(graph, policy)
    joining = [(op, policy.data_operands(op)) for op in sets.parent]
    for op, operands in joining:
        if len(operands) == 1:
            sets.join(operands[0], op)
    requantized: set[tuple[Op, Op]] = set()
    for op, operands in joining:
        if len(operands) > 1:
            requantized.update(sets.join_many(op, operands))
    groups: dict[Op, Group] = {}
    group_of = {op: groups.setdefault(sets.root(op), Group([])) for op in sets.parent}
    for op, group in group_of.items():
        group.members.append(op)
        group.fixed = sets.fixed.get(sets.root(op))
        _describe(op, group, policy, requantized)
    for op in graph.ops:
        for operand in policy.symmetric_operands(op):
            _make_symmetric(op, operand, group_of)
    if policy.stream is not None:
        _widen(graph, group_of)
    return Sharing(tuple(groups.values()), group_of, frozenset(requantized))


class _Sets:
    """Disjoint sets of activations (union-find), each with at most one built-in grid."""

    def __init__(self, graph: Graph, policy: GridPolicy) -> None:
        self.parent: dict[Op, Op] = {
            op: op for op in graph.ops if op.type.dtype is DType.F32 and not isinstance(op, Const)
        }
        self.fixed: dict[Op, Quant] = {op: quant for op in self.parent if (quant := policy.fixed_grid(op)) is not None}

    def root(self, op: Op) -> Op:
        while self.parent[op] is not op:
            self.parent[op] = self.parent[self.parent[op]]
            op = self.parent[op]
        return op

    def grid(self, op: Op) -> Quant | None:
        return self.fixed.get(self.root(op))

    def join(self, operand: Op, op: Op) -> None:
        if operand not in self.parent:
            return
        a, b = self.root(operand), self.root(op)
        if a is not b:
            self.parent[b] = a
            if b in self.fixed:
                self.fixed[a] = self.fixed.pop(b)

    def join_many(self, op: Op, operands: Iterable[Op]) -> set[tuple[Op, Op]]:
        """Join ``op`` with its operands except those on another built-in grid, which are returned as pairs."""
        operands = tuple(dict.fromkeys(operands))
        grids = {self.grid(operand) if operand in self.parent else None for operand in operands}
        if len(grids) == 1:
            for operand in operands:
                self.join(operand, op)
            return set()
        apart = set()
        for operand in operands:
            if operand in self.parent and self.grid(operand) is not None:
                apart.add((op, operand))
            else:
                self.join(operand, op)
        return apart


def _describe(op: Op, group: Group, policy: GridPolicy, requantized: set[tuple[Op, Op]]) -> None:
    """Enter what ``op`` adds to its group."""
    operands = policy.data_operands(op)
    if not operands:
        group.sources.append(op)
    for operand in operands:
        if isinstance(operand, Const):
            group.constants.append(operand)
        elif (op, operand) in requantized:
            group.feeds.append(operand)
    if isinstance(op, Pad) and op.mode == "constant":
        group.extra.append(op.value)


def _make_symmetric(op: Op, operand: Op, group_of: Mapping[Op, Group]) -> None:
    group = group_of.get(operand)
    if group is None:
        return
    if group.fixed is not None and group.fixed.zero_point != (0,):
        raise QuantError(
            f"{op.NAME} needs an operand with zero point 0, but the grid of {operand.NAME} is built in",
            where=op.loc,
            hint="exchange the operands of the product by transposing it",
        )
    group.symmetric = True


def _widen(graph: Graph, group_of: Mapping[Op, Group]) -> None:
    """Mark the groups of the residual stream. What is added to a value with a built-in grid, such as pixels, is not."""
    for op in graph.ops:
        groups = [group_of[value] for value in (op, *op.operands) if value in group_of] if isinstance(op, Add) else []
        if all(group.fixed is None for group in groups):
            for group in groups:
                group.wide = True
    for op in graph.outputs:
        if op in group_of and group_of[op].fixed is None:
            group_of[op].wide = True


def group_spec(group: Group, policy: GridPolicy, config: QuantConfig) -> GridSpec:
    """The grid that a group gets: the finest that a source asks for, symmetric where a source or a user does."""
    if group.fixed is not None:
        return GridSpec(policy.dtype)
    layers = [config.layer(op.loc, op.NAME) for op in group.sources or group.members]
    symmetric = group.symmetric or any(layer.symmetric_activations for layer in layers)
    if group.wide and policy.stream is not None:
        return GridSpec(policy.stream, policy.stream.bits, symmetric=symmetric)
    return GridSpec(policy.dtype, max(layer.activation_bits for layer in layers), symmetric=symmetric)


def group_range(group: Group, ranges: Mapping[Op, tuple[float, float]], spec: GridSpec) -> tuple[float, float]:
    """The range that the grid of ``group`` has to cover; ``ranges`` has those of its sources and feeds."""
    if group.fixed is not None:
        _check_fit(group, spec)
        return real_limits(group.fixed, spec)
    bounds = [ranges[op] for op in (*group.sources, *group.feeds)]
    bounds += [(float(const.data.min()), float(const.data.max())) for const in group.constants]
    bounds += [(value, value) for value in group.extra]
    return settle_range(min(lo for lo, _ in bounds), max(hi for _, hi in bounds))


def _check_fit(group: Group, spec: GridSpec) -> None:
    """Raise QuantError where a constant of the group, or its padding, lies outside its built-in grid."""
    assert group.fixed is not None
    low, high = real_limits(group.fixed, spec)
    half = 0.51 * float(group.fixed.scale[0])
    needed = [
        *group.extra,
        *(float(bound) for const in group.constants for bound in (const.data.min(), const.data.max())),
    ]
    for value in needed:
        if not low - half <= value <= high + half:
            what = f"{value:g} does not fit the grid [{low:g}, {high:g}] that is built into the target"
            raise QuantError(
                what, where=group.members[-1].loc, hint="move the constant or the padding to another value"
            )
