"""The float passes that bring a model into ops that the Edge TPU has."""

from __future__ import annotations

from collections.abc import Mapping

from edgevit.ir.graph import Graph
from edgevit.ir.op import Op
from edgevit.ir.ops import Add, Conv2d, Linear, Mul, Relu, Sub
from edgevit.passes.base import Pass
from edgevit.passes.canonicalize_views import CanonicalizeViews
from edgevit.passes.center_residual import CenterResidual
from edgevit.passes.class_token import ClassToken
from edgevit.passes.common_subexpressions import CommonSubexpressions
from edgevit.passes.dead_code import DeadCode
from edgevit.passes.fold_constants import FoldConstants
from edgevit.passes.fold_scales import FoldScales
from edgevit.passes.gelu_forms import GeluForms
from edgevit.passes.hoist_slices import HoistSlices
from edgevit.passes.norm_affine import NormAffine
from edgevit.passes.norm_forms import NormForms
from edgevit.passes.pipeline import STANDARD, Pipeline
from edgevit.passes.rotate_residual import RotateResidual
from edgevit.passes.sink_transposes import SinkTransposes
from edgevit.passes.split_heads import SplitAttentionHeads
from edgevit.quant.config import QuantConfig

from .image_affine import ImageAffine

Forms = Mapping[str, str]
"""Forms chosen for single layers, by module path."""


def clean_up() -> Pipeline:
    """What every configuration shares: canonical ops, no rows that nobody reads, constant tokens as constants."""
    return Pipeline((*STANDARD.passes, SinkTransposes(), CanonicalizeViews(), HoistSlices(), ClassToken()))


def change_of_basis(config: QuantConfig) -> Pipeline:
    """Affine parts of normalizations, and the basis of the residual stream.

    With equalization (RepQ-ViT) the affine part is what makes channels equal, so it stays where it is.
    """
    stream: tuple[Pass, ...] = {
        "plain": (),
        "centred": (CenterResidual(),),
        "rotated": (CenterResidual(), RotateResidual(config.stream_seed)),
    }[config.stream]
    return Pipeline((NormAffine(), *_folding(config), FoldConstants(), *stream))


def expansion(config: QuantConfig, norms: Forms, gelus: Forms) -> Pipeline:
    """Every normalization, GELU and attention written out in mapped ops, with the forms given by module path."""
    return Pipeline(
        (
            NormForms(per_layer=tuple(norms.items())),
            *_folding(config),
            SplitAttentionHeads(),
            GeluForms(per_layer=tuple(gelus.items())),
            ImageAffine(),
            *_folding(config),
            FoldConstants(),
            CanonicalizeViews(),
            CommonSubexpressions(),
            DeadCode(),
        )
    )


def equalizes(config: QuantConfig) -> bool:
    """Whether any layer asks for equalization."""
    return config.equalize or any(layer.equalize for layer in config.layers)


def _folding(config: QuantConfig) -> tuple[Pass, ...]:
    return () if equalizes(config) else (FoldScales(),)


def fuse_relu_ranges(graph: Graph) -> Graph:
    """A calibrated graph in which a value that only a relu reads has the relu's range, so that the target can fuse the
    relu: its grid then ends at zero and saturation does what the relu would.
    """
    only_reader = {op.x: op for op in graph.ops if isinstance(op, Relu) and graph.uses[op.x] == 1}
    originals = iter(graph.ops)

    def transform(op: Op) -> Op:
        relu = only_reader.get(next(originals))
        if relu is None or relu.type.range is None or not isinstance(op, (Linear, Conv2d, Add, Sub, Mul)):
            return op
        return op.with_type(op.type.with_range(*relu.type.range))

    return graph.map(transform)
