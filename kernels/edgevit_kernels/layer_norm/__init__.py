"""LayerNorm in integers over the last axis: the published forms, a repaired one and one of edgevit's own.

One folder a form, each with ``spec`` (normative, Python integers) and ``ref`` (numpy), and in both the same names:
``Params``, ``prepare(gamma, beta, output_scale, ...) -> Params`` and ``apply(x, params)``. ``spec.widths(params)``
is the interval of every intermediate value. What forms share stands beside them: ``affine`` (gamma and beta),
``rows`` (ranges), ``vectorized`` (numpy). docs/semantics/layer_norm.md compares the forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType

from edgevit_kernels.layer_norm.exact import ref as exact_ref
from edgevit_kernels.layer_norm.exact import spec as exact_spec
from edgevit_kernels.layer_norm.fqvit import ref as fqvit_ref
from edgevit_kernels.layer_norm.fqvit import spec as fqvit_spec
from edgevit_kernels.layer_norm.ibert import ref as ibert_ref
from edgevit_kernels.layer_norm.ibert import spec as ibert_spec
from edgevit_kernels.layer_norm.ivit import ref as ivit_ref
from edgevit_kernels.layer_norm.ivit import spec as ivit_spec
from edgevit_kernels.layer_norm.ivit_repaired import ref as ivit_repaired_ref
from edgevit_kernels.layer_norm.ivit_repaired import spec as ivit_repaired_spec


@dataclass(frozen=True)
class Form:
    """A form of the operator; the two modules have the names of the package's docstring."""

    name: str
    source: str
    spec: ModuleType
    ref: ModuleType


_FORMS = (
    Form("ivit", "I-ViT's I-LayerNorm, as published", ivit_spec, ivit_ref),
    Form("ivit_repaired", "I-ViT's I-LayerNorm with a root that converges", ivit_repaired_spec, ivit_repaired_ref),
    Form("ibert", "I-BERT's LayerNorm, as published", ibert_spec, ibert_ref),
    Form("fqvit", "FQ-ViT's LayerNorm on power-of-two-factor inputs", fqvit_spec, fqvit_ref),
    Form("exact", "edgevit's own: exact sums, one rounding", exact_spec, exact_ref),
)


def forms() -> Mapping[str, Form]:
    """Every form of the integer LayerNorm by name, the published ones first."""
    return MappingProxyType({form.name: form for form in _FORMS})


__all__ = ["Form", "forms"]
