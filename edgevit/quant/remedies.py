"""What to change in the configuration for the layers that lose most to quantization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgevit.ir.op import Op
from edgevit.ir.ops import (
    Add,
    Const,
    Conv2d,
    Gelu,
    L2Normalize,
    LayerNorm,
    Linear,
    RmsNorm,
    Rsqrt,
    Sigmoid,
    Tanh,
)
from edgevit.quant.config import LayerConfig, QuantConfig
from edgevit.quant.constraints import INT8_POLICY
from edgevit.quant.grids import MAX_BITS
from edgevit.quant.sqnr import Row

NORM_OPS = (LayerNorm, RmsNorm, L2Normalize, Rsqrt)
GELU_OPS = (Gelu, Sigmoid, Tanh)


@dataclass(frozen=True, eq=False)
class Advice:
    """A weak layer, and as ``remedy`` lines for the configuration file; empty where it offers nothing more."""

    row: Row
    remedy: str


def worst_layers(rows: Sequence[Row], config: QuantConfig, count: int = 3) -> tuple[Advice, ...]:
    """The ``count`` layers (module paths) that add most noise, worst first, each at its worst op, with a remedy.

    Judged by the local ratio where there is one, else by the ratio.
    """
    norms, gelus = _locs(rows, NORM_OPS), _locs(rows, GELU_OPS)
    weakest: dict[str, Row] = {}
    for row in sorted(rows, key=_ratio):
        weakest.setdefault(row.loc, row)
    return tuple(Advice(row, remedy(row, config, norms, gelus)) for row in list(weakest.values())[:count])


def remedy(
    row: Row, config: QuantConfig, norms: frozenset[str] = frozenset(), gelus: frozenset[str] = frozenset()
) -> str:
    """The first setting that can still be improved; ``norms`` and ``gelus`` are the module paths that hold such ops."""
    layer = config.layer(row.loc, row.reference.NAME)
    settings = _layer_settings(row, layer, row.loc in norms, row.loc in gelus) if row.loc else []
    if settings:
        key, value = settings[0]
        only = f'op = "{row.reference.NAME}"\n' if key == "observer" else ""
        return f'[[layers]]\nmatch = "{row.loc}"\n{only}{key} = {value}'
    if not config.sequential:
        return "sequential = true"
    if config.stream == "plain" and isinstance(row.reference, Add):
        return 'stream = "rotated"'
    return ""


def _layer_settings(row: Row, layer: LayerConfig, is_norm: bool, is_gelu: bool) -> list[tuple[str, str]]:
    """Settings for this layer that promise something, the most promising first."""
    found = []
    linear = isinstance(row.reference, (Linear, Conv2d))
    if linear and layer.weight_bits < MAX_BITS:
        found.append(("weight_bits", str(MAX_BITS)))
    if layer.activation_bits < MAX_BITS:
        found.append(("activation_bits", str(MAX_BITS)))
    if isinstance(row.reference, Linear) and _per_tensor(row.candidate):
        found.append(("weights", '"per-channel"'))
    if linear and not layer.bias_correction:
        found.append(("bias_correction", "true"))
    if is_norm and layer.norm in ("mean", "rms"):
        found.append(("norm", '"l2"'))
    if is_gelu and layer.gelu in ("relu6", "sigmoid"):
        found.append(("gelu", '"cubic"' if layer.gelu == "sigmoid" else '"sigmoid"'))
    if layer.observer_of(row.reference) in ("minmax", "moving-average") and not isinstance(
        row.reference, tuple(INT8_POLICY.fixed)
    ):
        found.append(("observer", '"mse"'))
    return found


def _per_tensor(op: Op) -> bool:
    """Whether the weight, the only constant matrix of the op, has one scale."""
    weights = [operand.type.quant for operand in op.operands if isinstance(operand, Const) and operand.type.rank >= 2]
    return any(quant is not None and quant.axis is None for quant in weights)


def _ratio(row: Row) -> float:
    return row.sqnr_db if row.local_db is None else row.local_db


def _locs(rows: Sequence[Row], classes: tuple[type[Op], ...]) -> frozenset[str]:
    return frozenset(row.loc for row in rows if isinstance(row.reference, classes))
