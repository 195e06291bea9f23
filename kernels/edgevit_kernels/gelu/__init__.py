"""GELU in integers: the published forms, a repaired one and one of edgevit's own.

One folder a form, each with ``spec`` (normative, Python integers) and ``ref`` (numpy), and in both the same names:
``Params``, ``prepare(input_scale, output_scale, ...) -> Params`` and ``apply(x, params)``. ``spec.widths(params)``
is the interval of every intermediate value. docs/semantics/gelu.md compares the forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType

from edgevit_kernels.gelu.ibert import ref as ibert_ref
from edgevit_kernels.gelu.ibert import spec as ibert_spec
from edgevit_kernels.gelu.ivit import ref as ivit_ref
from edgevit_kernels.gelu.ivit import spec as ivit_spec
from edgevit_kernels.gelu.ivit_repaired import ref as ivit_repaired_ref
from edgevit_kernels.gelu.ivit_repaired import spec as ivit_repaired_spec
from edgevit_kernels.gelu.table import ref as table_ref
from edgevit_kernels.gelu.table import spec as table_spec


@dataclass(frozen=True)
class Form:
    """A form of the operator; the two modules have the names of the package's docstring."""

    name: str
    source: str
    spec: ModuleType
    ref: ModuleType


_FORMS = (
    Form("ivit", "I-ViT's ShiftGELU, as published", ivit_spec, ivit_ref),
    Form("ivit_repaired", "I-ViT's ShiftGELU, element by element in 32 bits", ivit_repaired_spec, ivit_repaired_ref),
    Form("ibert", "I-BERT's i-GELU, its input shifted to the scale it was made for", ibert_spec, ibert_ref),
    Form("table", "edgevit's own: a table, piecewise linear for 16-bit inputs", table_spec, table_ref),
)


def forms() -> Mapping[str, Form]:
    """Every form of the integer GELU by name, the published ones first."""
    return MappingProxyType({form.name: form for form in _FORMS})


__all__ = ["Form", "forms"]
