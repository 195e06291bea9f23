"""RepQ-ViT's equalization: channel ranges behind a normalization are made equal (Li et al. 2023; methods.md A8).

One grid for a whole tensor is poor where its channels have different ranges. A channel grid (s, z) is turned into one
grid (mean s, mean z) for all by scaling channel c by 1 / r1 and shifting it by s * r2, r1 = s / mean s and r2 = z -
mean z. The affine part of the normalization takes that up, and the linear layers behind it take it back: weight * r1,
bias - weight @ (s * r2). In real numbers nothing changes. The common zero point is rounded, because integer kernels
have integer ones.

The affine part is gamma and beta of a normalization, or constants of a multiplication with or without an addition
behind one that was written out. Without a term to take up a shift the ranges are made equal in magnitude only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from edgevit.ir.graph import Graph
from edgevit.ir.interp import run
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Const, L2Normalize, LayerNorm, Linear, Mul, RmsNorm
from edgevit.passes.base import Pass, Reject, Rejection
from edgevit.quant.arrays import Numbers
from edgevit.quant.config import QuantConfig
from edgevit.quant.grids import GridSpec
from edgevit.quant.observers import PerChannel
from edgevit.quant.rebuild import rebuild
from edgevit.quant.walk import as_input, live_bytes, slices, stack_images

NORMS = (LayerNorm, RmsNorm, L2Normalize)
FLOOR = 1 / 256
"""The narrowest channel grid, relative to the mean: dead channels are not blown up."""

_SLICE_BYTES = 1 << 28
Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Site:
    """A value that can be equalized: ``value`` is what the linear layers ``readers`` read.

    ``scale`` is the op that holds the factor, ``shift`` the one that holds the term, None where there is none.
    """

    value: Op
    scale: LayerNorm | RmsNorm | Mul
    shift: LayerNorm | RmsNorm | Add | None
    readers: tuple[Linear, ...]


@dataclass(frozen=True, eq=False)
class Change:
    """What a site undergoes: new value = (old + shift) / ratio, both (C)."""

    ratio: Doubles
    shift: Doubles


def find_site(graph: Graph, op: Op) -> Site | Reject | None:
    """Whether the value of ``op`` can be equalized; None where it is not behind a normalization."""
    scale: LayerNorm | RmsNorm | Mul
    shift: LayerNorm | RmsNorm | Add | None
    if isinstance(op, (LayerNorm, RmsNorm)):
        if op.gamma is None:
            return (
                None
                if any(_factor(user) is op for user in graph.users[op])
                else Reject("the affine part is folded away")
            )
        scale = shift = op
        constants = [op.gamma, op.beta]
    elif isinstance(op, Mul) and _is_norm(_factor(op)):
        if len(graph.users[op]) == 1 and isinstance(graph.users[op][0], Add) and _constant(graph.users[op][0]):
            return None
        scale, shift, constants = op, None, [_constant(op)]
    elif isinstance(op, Add) and isinstance(term := _factor(op), Mul) and _is_norm(_factor(term)):
        if len(graph.users[term]) != 1:
            return Reject("the product before the addition has other users")
        scale, shift, constants = term, op, [_constant(term), _constant(op)]
    else:
        return None
    if not all(isinstance(constant, Const) and constant.type.size in (1, op.shape[-1]) for constant in constants):
        return Reject("the affine part is not constant by channel: run `fold-constants`")
    if op in graph.outputs:
        return Reject("the value is an output of the graph")
    readers = []
    for user in graph.users[op]:
        if not isinstance(user, Linear) or user.x is not op:
            return Reject(f"a user is {user.NAME}, not linear")
        if not isinstance(user.weight, Const) or not (user.bias is None or isinstance(user.bias, Const)):
            return Reject("a linear user has a computed weight")
        readers.append(user)
    return Site(op, scale, shift, tuple(readers))


def channel_ranges(
    graph: Graph, batches: Iterable[Numbers], config: QuantConfig
) -> Mapping[Op, tuple[Doubles, Doubles]]:
    """(lo, hi) by channel of every value that can be equalized, on images (S, H, W, 3).

    By percentiles where the observer of the layer is ``percentile``, else by the extremes. Raises QuantError for
    images that do not fit and values that are not finite.
    """
    images = stack_images(graph, batches)
    observers: dict[Op, PerChannel] = {}
    for op in graph.ops:
        layer = config.layer(op.loc, op.NAME)
        if layer.equalize and isinstance(find_site(graph, op), Site):
            name = "percentile" if layer.observer == "percentile" else "minmax"
            observers[op] = PerChannel(name, percentile=layer.percentile)

    def observe(op: Op, array: Numbers) -> None:
        if op in observers:
            observers[op].update(array)

    if observers:
        for part in slices(len(images), live_bytes(graph), _SLICE_BYTES):
            run(graph, [as_input(graph, images[part])], observe)
    return {op: observer.ranges() for op, observer in observers.items()}


def plan_change(lo: Doubles, hi: Doubles, spec: GridSpec, *, shifted: bool) -> Change:
    """The change that gives channels of range [lo, hi] one grid of ``spec``; without ``shifted`` they only scale."""
    qmin, qmax = spec.limits
    if not shifted:
        scale = np.maximum(np.abs(lo), np.abs(hi)) / (qmax - spec.middle)
    elif spec.symmetric:
        scale = (hi - lo) / (2 * (qmax - spec.middle))
    else:
        scale = (hi - lo) / (qmax - qmin)
    if not scale.any():
        return Change(np.ones_like(scale), np.zeros_like(scale))
    scale = np.maximum(scale, scale.mean() * FLOOR)
    ratio = scale / scale.mean()
    if not shifted:
        return Change(ratio, np.zeros_like(scale))
    zero_point = spec.middle - (lo + hi) / 2 / scale if spec.symmetric else qmin - lo / scale
    common = spec.middle if spec.symmetric else int(np.clip(np.rint(zero_point.mean()), qmin, qmax))
    return Change(ratio, scale * (zero_point - common))


@dataclass(frozen=True)
class Equalize(Pass):
    """Equalize the channels of the values in ``ranges``, those of this very graph (:func:`channel_ranges`)."""

    NAME: ClassVar[str] = "equalize"

    ranges: Mapping[Op, tuple[Doubles, Doubles]]
    config: QuantConfig

    def run(self, graph: Graph) -> Graph:
        sites = [site for op in graph.ops if op in self.ranges and isinstance(site := find_site(graph, op), Site)]
        factors: dict[Op, Change] = {}
        terms: dict[Op, Change] = {}
        readers: dict[Op, Change] = {}
        for site in sites:
            spec = self.config.layer(site.value.loc, site.value.NAME).activation_spec()
            change = plan_change(*self.ranges[site.value], spec, shifted=site.shift is not None)
            factors[site.scale] = change
            if site.shift is not None:
                terms[site.shift] = change
            readers.update(dict.fromkeys(site.readers, change))

        def transform(old: Op, op: Op) -> Op:
            if old in readers:
                assert isinstance(op, Linear)
                op = _undo(op, readers[old])
            if isinstance(op, (LayerNorm, RmsNorm)) and old in factors:
                assert isinstance(op.gamma, Const)
                assert isinstance(op.beta, Const)
                return replace(op, gamma=_divided(op.gamma, factors[old]), beta=_moved(op.beta, factors[old]))
            if old in factors:
                return op.map_operands(lambda o: _divided(o, factors[old]) if isinstance(o, Const) else o)
            if old in terms:
                return op.map_operands(lambda o: _moved(o, terms[old]) if isinstance(o, Const) else o)
            return op

        return rebuild(graph, transform)

    def why(self, graph: Graph) -> tuple[Rejection, ...]:
        """Values behind a normalization that were left alone, and for which reason."""
        found = []
        for op in graph.ops:
            site = find_site(graph, op)
            if isinstance(site, Site) and not self.config.layer(op.loc, op.NAME).equalize:
                site = Reject("not asked for: equalize = false")
            if isinstance(site, Reject):
                found.append(Rejection(self.NAME, op.NAME, op.loc, site.reason))
        return tuple(found)

    def spec(self) -> str:
        """The name alone: the ranges are not for a pipeline spec."""
        return self.NAME


def _constant(op: Op) -> Const | None:
    """The constant operand of a binary op, if exactly one is constant."""
    constants = [operand for operand in op.operands if isinstance(operand, Const)]
    return constants[0] if len(constants) == 1 and len(op.operands) == 2 else None


def _factor(op: Op) -> Op | None:
    """The operand of a product or sum with a constant that is not the constant."""
    constant = _constant(op) if isinstance(op, (Mul, Add)) else None
    return None if constant is None else next(operand for operand in op.operands if operand is not constant)


def _is_norm(op: Op | None) -> bool:
    return isinstance(op, NORMS) and getattr(op, "gamma", None) is None


def _divided(const: Const, change: Change) -> Const:
    return _channels(const, const.data.astype(np.float64).ravel() / change.ratio)


def _moved(const: Const, change: Change) -> Const:
    return _channels(const, (const.data.astype(np.float64).ravel() + change.shift) / change.ratio)


def _channels(const: Const, values: Doubles) -> Const:
    """A constant (C) in place of ``const``, which had one element or C; leading axes of size 1 are kept."""
    shape = (*const.shape[:-1], len(values)) if const.shape else (len(values),)
    return Const(values.astype(np.float32).reshape(shape), loc=const.loc)


def _undo(op: Linear, change: Change) -> Linear:
    """``op`` on the changed value, with the result that it had on the old one."""
    assert isinstance(op.weight, Const)
    weight = op.weight.data.astype(np.float64)
    bias = op.bias.data.astype(np.float64) if isinstance(op.bias, Const) else np.zeros(len(weight))
    moved = bias - weight @ change.shift
    new_bias = Const(moved.astype(np.float32), loc=op.loc) if op.bias is not None or change.shift.any() else None
    return replace(op, weight=Const((weight * change.ratio).astype(np.float32), loc=op.weight.loc), bias=new_bias)
