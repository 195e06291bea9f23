"""Ranges and biases chosen in execution order, each behind the quantized layers before it.

Every op is evaluated on all images at once, in float arithmetic between values that are rounded onto their grids
(weights and constants too). A layer is thus calibrated on what it will really be given, and the biases take up the
mean error that has built up to their layer (methods.md A5, with the input-error twin).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgevit.errors import QuantError
from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import LAYOUT_OPS, Const, Conv2d, Input, Linear
from edgevit.ir.types import DType, Quant
from edgevit.quant.arrays import Numbers
from edgevit.quant.config import QuantConfig
from edgevit.quant.constants import ConstantGrids
from edgevit.quant.constraints import GridPolicy, Group, Sharing, group_range, group_spec
from edgevit.quant.grids import GridSpec, fake_quantize, range_grid
from edgevit.quant.matching import find_cone, match_range
from edgevit.quant.observers import make_observer
from edgevit.quant.walk import Progress, channel_mean, evaluate_all, walk
from edgevit.quant.weights import Decision, granularities


@dataclass(eq=False)
class Refined:
    """The outcome: the range of each group, and the float biases that changed."""

    ranges: dict[Group, tuple[float, float]]
    biases: dict[Op, Numbers] = field(default_factory=dict)


def refine(
    graph: Graph,
    images: Numbers,
    config: QuantConfig,
    policy: GridPolicy,
    sharing: Sharing,
    ranges: Mapping[Group, tuple[float, float]],
    means: Mapping[Op, Numbers],
    decisions: Sequence[Decision] = (),
    progress: Progress | None = None,
) -> Refined:
    """Choose again, on ``images`` (S, *input shape), the ranges of groups with a single source, and correct the biases.

    ``ranges`` and ``means`` (by output channel of Linear and Conv2d) come from the float graph. A group of several
    sources keeps its range: its first value is needed before the last is known.
    """
    walker = _Refiner(graph, config, policy, sharing, Refined(dict(ranges)), means, decisions, len(images))
    walk(graph, images.astype(np.float32), walker.visit, progress)
    return walker.refined


class _Refiner:
    def __init__(
        self,
        graph: Graph,
        config: QuantConfig,
        policy: GridPolicy,
        sharing: Sharing,
        refined: Refined,
        means: Mapping[Op, Numbers],
        decisions: Sequence[Decision],
        samples: int,
    ) -> None:
        self.graph, self.config, self.policy, self.sharing = graph, config, policy, sharing
        self.refined, self.means, self.samples = refined, means, samples
        self.constants = ConstantGrids(config, policy, granularities(graph, decisions, config), self.grid)

    def grid(self, op: Op) -> tuple[Quant, GridSpec]:
        group = self.sharing.group_of[op]
        spec = group_spec(group, self.policy, self.config)
        return group.fixed or range_grid(*self.refined.ranges[group], spec), spec

    def visit(self, op: Op, arrays: list[Numbers]) -> Numbers:
        if isinstance(op, Input):
            value = arrays[0]
        else:
            given = [self.operand(op, operand, array) for operand, array in zip(op.operands, arrays, strict=True)]
            value = evaluate_all(op, op.operands, given, self.samples)
        if op.type.dtype is not DType.F32 or isinstance(op, LAYOUT_OPS):
            return value
        if op in self.means and self.config.layer(op.loc, op.NAME).bias_correction:
            value = self.correct(op, value)
        group = self.sharing.group_of[op]
        if group.fixed is None and group.sources == [op]:
            self.refined.ranges[group] = self.choose(op, group, value)
        return fake_quantize(value, *self.grid(op))

    def operand(self, op: Op, operand: Op, array: Numbers) -> Numbers:
        """The operand's value as ``op`` gets it: constants and requantized values go onto their grid here."""
        if isinstance(operand, Const):
            grid = self.constants.grid(op, operand)
            return array if grid is None else fake_quantize(array, *grid)
        return fake_quantize(array, *self.grid(op)) if (op, operand) in self.sharing.requantized else array

    def correct(self, op: Op, value: Numbers) -> Numbers:
        """Add what the mean of each output channel lacks to the value and to the layer's bias."""
        assert isinstance(op, (Linear, Conv2d))
        lacking = (self.means[op] - channel_mean(value)).astype(np.float32)
        bias: Numbers = op.bias.data if isinstance(op.bias, Const) else np.zeros(op.weight.shape[0], np.float32)
        self.refined.biases[op] = (bias + lacking).astype(np.float32)
        return value + lacking

    def choose(self, op: Op, group: Group, value: Numbers) -> tuple[float, float]:
        if np.isinf(value).any():
            # A small operand rounded to zero before rsqrt, log or a division: the grid saturates there, and the range
            # that the
            # float graph has is the one to keep.
            return self.refined.ranges[group]
        layer = self.config.layer(op.loc, op.NAME)
        spec = group_spec(group, self.policy, self.config)
        observer = make_observer(
            layer.observer_of(op), spec, percentile=layer.percentile, momentum=self.config.momentum
        )
        try:
            observer.update(value)
        except QuantError as error:
            raise QuantError(f"{op.NAME}: {error.what}", where=op.loc, hint=error.hint) from None
        seen = observer.range()
        cone = find_cone(self.graph, op) if self.config.match_results else None
        if cone is not None:
            seen = match_range(cone, value, *seen, spec)
        return group_range(group, {op: seen}, spec)
