"""The pass from the calibrated to the quantized form: every value becomes integers on a grid.

Activations get one grid each or share one where the target demands it. Weights of Linear and Conv2d are int8 on
symmetric grids (per tensor, or per output channel on axis 0), biases int32 on the product of input and weight scale;
its zero point is 0. That product is kept in double precision: kernels multiply the two scales themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from edgevit.errors import PassError, QuantError
from edgevit.ir.graph import Form, Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import LAYOUT_OPS, Clip, Const, Conv2d, Input, Linear, Quantize
from edgevit.ir.types import DType, Quant, TensorType
from edgevit.passes.base import Pass
from edgevit.quant.arrays import Numbers
from edgevit.quant.config import QuantConfig
from edgevit.quant.constants import ConstantGrids
from edgevit.quant.constraints import IMAGE_INPUT, INT8_POLICY, GridPolicy, Sharing, group_spec, pixel_grid, share_grids
from edgevit.quant.grids import GridSpec, range_grid, real_limits, to_grid, widened
from edgevit.quant.rebuild import rebuild
from edgevit.quant.weights import Decision, granularities

BIAS_LIMIT = 2**30
"""The largest bias: half of int32, the other half is left to the sum of products (up to 2**16 terms of 127 * 128)."""

DEAD_BIAS = 2**24
"""What a bias becomes whose weights are all zero: their grid is free, and this makes the bias exact to 24 bits."""


@dataclass(frozen=True)
class QuantizeGraph(Pass):
    """Give every value of a calibrated graph integers on a grid, by ``config``, ``policy`` and ``decisions``."""

    NAME: ClassVar[str] = "quantize"
    NEEDS: ClassVar[tuple[Form, ...]] = (Form.CALIBRATED,)
    GIVES: ClassVar[Form | None] = Form.QUANTIZED

    config: QuantConfig = field(default_factory=QuantConfig)
    policy: GridPolicy = INT8_POLICY
    decisions: tuple[Decision, ...] = ()

    def run(self, graph: Graph) -> Graph:
        if graph.form is not Form.CALIBRATED:
            raise PassError(f"a graph in the {graph.form.value} form", where=self.NAME, hint="run `calibrate` first")
        builder = _Builder(graph, self.config, self.policy, self.decisions)
        quantized = rebuild(graph, builder.quantized).with_form(Form.QUANTIZED)
        return _with_output_type(quantized, self.policy)

    def spec(self) -> str:
        """The name alone: the options are a file of their own."""
        return self.NAME


class _Builder:
    def __init__(self, graph: Graph, config: QuantConfig, policy: GridPolicy, decisions: tuple[Decision, ...]) -> None:
        self.config, self.policy = config, policy
        self.sharing: Sharing = share_grids(graph, policy)
        self.chosen = granularities(graph, decisions, config)
        self.constants = ConstantGrids(config, policy, self.chosen, self.grid)
        self._new: dict[tuple[Op, Quant], Op] = {}

    def grid(self, op: Op) -> tuple[Quant, GridSpec]:
        """The grid of an activation of the calibrated graph."""
        group = self.sharing.group_of[op]
        spec = group_spec(group, self.policy, self.config)
        if group.fixed is not None:
            return group.fixed, spec
        assert op.type.range is not None
        return range_grid(*op.type.range, spec), spec

    def quantized(self, old: Op, op: Op) -> Op:
        """The quantized op: ``old`` is calibrated, ``op`` the same on quantized activations and float constants."""
        if isinstance(op, Const):
            return op
        if old.type.dtype is not DType.F32:
            return op
        quant, spec = self.grid(old)
        type = TensorType(op.shape, spec.dtype, quant=quant)
        if isinstance(op, Input):
            return self.input(op, type)
        if isinstance(op, (Linear, Conv2d)) and isinstance(old, (Linear, Conv2d)):
            op = self.linear(old, op)
        replaced = {operand: self.operand(old, operand, op.operands[i]) for i, operand in enumerate(old.operands)}
        by_new = {op.operands[i]: replaced[operand] for i, operand in enumerate(old.operands)}
        op = op.map_operands(lambda operand: by_new.get(operand, operand)).with_type(type)
        if spec.limits != spec.dtype.limits and not spec.narrow and not isinstance(op, LAYOUT_OPS):
            low, high = real_limits(quant, spec)
            return Clip(op, low, high, type=type, loc=op.loc)
        return op

    def input(self, op: Input, type: TensorType) -> Op:
        if op.name != IMAGE_INPUT or self.policy.pixel_dtype is self.policy.dtype:
            return op.with_type(type)
        pixels = op.with_type(TensorType(op.shape, self.policy.pixel_dtype, quant=pixel_grid(self.policy.pixel_dtype)))
        return Quantize(pixels, type=type, loc=op.loc)

    def operand(self, old: Op, old_operand: Op, operand: Op) -> Op:
        """``operand`` on the grid that ``old`` needs it on."""
        if isinstance(old_operand, Const) and isinstance(operand, Const) and operand.type.dtype is DType.F32:
            grid = self.constants.grid(old, old_operand)
            return operand if grid is None else self.constant(operand, *grid)
        if (old, old_operand) in self.sharing.requantized:
            quant, spec = self.grid(old)
            type = TensorType(operand.shape, spec.dtype, quant=quant)
            return self._new.setdefault((operand, quant), Quantize(operand, type=type, loc=operand.loc))
        return operand

    def constant(self, const: Const, quant: Quant, spec: GridSpec) -> Op:
        """A float constant on a per-tensor grid."""
        type = TensorType(const.shape, spec.dtype, quant=quant)
        return self._new.setdefault((const, quant), Const(to_grid(const.data, quant, spec), type=type, loc=const.loc))

    def linear(self, old: Linear | Conv2d, op: Linear | Conv2d) -> Linear | Conv2d:
        """``op`` with integer weight and bias. Raises QuantError for a computed weight."""
        weight = old.weight
        if not isinstance(weight, Const) or not (old.bias is None or isinstance(old.bias, Const)):
            raise QuantError(
                f"{op.NAME}: weight or bias is computed", where=op.loc, hint="run `fold-constants`, or use matmul"
            )
        if op.x.type.quant is None:
            raise QuantError(f"{op.NAME} of a constant", where=op.loc, hint="run `fold-constants`")
        found = self.constants.grid(old, weight)
        assert found is not None
        quant, spec = found
        input_scale = float(op.x.type.quant.scale[0])
        bias = None if old.bias is None else old.bias.data.astype(np.float64)
        if bias is not None:
            if not np.isfinite(bias).all():
                raise QuantError(
                    f"{op.NAME}: the bias is not finite",
                    where=op.loc,
                    hint="the checkpoint is damaged or was trained to NaN",
                )
            quant = _fit_bias(quant, weight.data, bias, input_scale)
        stored = Const(
            to_grid(weight.data, quant, spec), type=TensorType(weight.shape, spec.dtype, quant=quant), loc=weight.loc
        )
        return replace(
            op, weight=stored, bias=None if bias is None else bias_constant(bias, input_scale, quant, op.loc)
        )


def bias_constant(bias: Numbers, input_scale: float, weight: Quant, loc: str) -> Const:
    """A real bias (out) as int32 on the grid input scale * weight scale, limited to +-BIAS_LIMIT."""
    scales = np.array([input_scale * float(s) for s in weight.scale])
    quant = Quant(tuple(scales.tolist()), (0,) * len(scales), None if weight.axis is None else 0)
    q = np.clip(np.rint(bias.astype(np.float64) / scales), -BIAS_LIMIT, BIAS_LIMIT).astype(np.int32)
    return Const(q, type=TensorType(tuple(bias.shape), DType.I32, quant=quant), loc=loc)


def _fit_bias(quant: Quant, weight: Numbers, bias: Numbers, input_scale: float) -> Quant:
    """The weight grid, widened where the bias would not fit int32, and free of the weights where those are all zero."""
    per_channel = quant.axis is not None
    magnitude = np.abs(bias) if per_channel else np.abs(bias).max(keepdims=True)
    needed = magnitude / (input_scale * BIAS_LIMIT)
    scale = np.array([float(s) for s in quant.scale])
    if not weight.any() and magnitude.any():
        scale = np.maximum(magnitude, magnitude.max() * 2.0**-16) / (input_scale * DEAD_BIAS)
    return replace(quant, scale=widened(scale, needed))


def _with_output_type(graph: Graph, policy: GridPolicy) -> Graph:
    """Outputs in the element type that the target's interface has; the step from one to the other is exact."""
    if policy.output_dtype in (None, policy.dtype):
        return graph
    dtype = policy.output_dtype
    shift = dtype.limits[0] - policy.dtype.limits[0]
    outputs: dict[Op, Op] = {}
    for op in graph.outputs:
        quant = op.type.quant
        assert quant is not None
        moved = replace(quant, zero_point=tuple(z + shift for z in quant.zero_point))
        outputs[op] = Quantize(op, type=TensorType(op.shape, dtype, quant=moved), loc=op.loc)
    return replace(graph, ops=(*graph.ops, *outputs.values()), outputs=tuple(outputs[op] for op in graph.outputs))
