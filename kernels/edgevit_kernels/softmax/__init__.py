"""Integer softmax over the last axis, in the published forms, their repaired variants and a form of edgevit's own.

One folder a form, each with ``spec`` (normative, Python integers) and ``ref`` (numpy), and in both the same names:
``Params``, ``prepare(scale, length, ...) -> Params`` and ``apply(x, params)``. What forms share stands beside them:
``contract`` (parameters, accepted ranges, widths), ``exponential`` (i-exp in 32 bits) and ``normalize`` (division by
the sum). docs/semantics/softmax.md compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgevit_kernels.softmax.contract import Bounds, SoftmaxParams, Trace
from edgevit_kernels.softmax.fqvit import ref as fqvit_ref
from edgevit_kernels.softmax.fqvit import spec as fqvit_spec
from edgevit_kernels.softmax.fqvit_repaired import ref as fqvit_repaired_ref
from edgevit_kernels.softmax.fqvit_repaired import spec as fqvit_repaired_spec
from edgevit_kernels.softmax.ibert import ref as ibert_ref
from edgevit_kernels.softmax.ibert import spec as ibert_spec
from edgevit_kernels.softmax.ibert_repaired import ref as ibert_repaired_ref
from edgevit_kernels.softmax.ibert_repaired import spec as ibert_repaired_spec
from edgevit_kernels.softmax.ivit import ref as ivit_ref
from edgevit_kernels.softmax.ivit import spec as ivit_spec
from edgevit_kernels.softmax.ivit_repaired import ref as ivit_repaired_ref
from edgevit_kernels.softmax.ivit_repaired import spec as ivit_repaired_spec
from edgevit_kernels.softmax.table import ref as table_ref
from edgevit_kernels.softmax.table import spec as table_spec


class Spec(Protocol):
    """The names of a form's ``spec``; the parameters are those of its own ``prepare``."""

    @property
    def prepare(self) -> Callable[..., Any]:
        """Parameters from the real scale of the scores, the longest row and the form's own options."""

    def apply(self, x: Sequence[int], p: Any, /) -> list[int]:
        """Softmax of one row."""

    def trace(self, x: Sequence[int], p: Any, /) -> Trace:
        """Every stage of one row."""

    def bounds(self, p: Any, /) -> Bounds:
        """Interval and type of every stage."""


class Ref(Protocol):
    """The names of a form's ``ref``."""

    @property
    def prepare(self) -> Callable[..., Any]:
        """Parameters, the same as the specification's."""

    def apply(self, x: ArrayLike, p: Any, /) -> NDArray[np.int64]:
        """Softmax over the last axis."""


@dataclass(frozen=True)
class Form:
    """A form of the operator."""

    name: str
    source: str
    """Where it comes from, and what it is."""
    spec: Spec
    ref: Ref


_FORMS = (
    Form("ivit", "I-ViT's Shiftmax, as published", ivit_spec, ivit_ref),
    Form("ivit_repaired", "I-ViT's exponential, normalised without loss", ivit_repaired_spec, ivit_repaired_ref),
    Form("ibert", "I-BERT's i-softmax, as published", ibert_spec, ibert_ref),
    Form("ibert_repaired", "I-BERT's i-softmax in 32 bits, rounded", ibert_repaired_spec, ibert_repaired_ref),
    Form("fqvit", "FQ-ViT's log-int-softmax, as published", fqvit_spec, fqvit_ref),
    Form("fqvit_repaired", "FQ-ViT's log-int-softmax in 32 bits", fqvit_repaired_spec, fqvit_repaired_ref),
    Form("table", "edgevit's own: tables of exponentials", table_spec, table_ref),
)


def forms() -> Mapping[str, Form]:
    """Every form of the integer softmax by name, the published ones first."""
    return MappingProxyType({form.name: form for form in _FORMS})


__all__ = ["Form", "SoftmaxParams", "forms"]
