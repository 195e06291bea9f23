"""Which form each operator takes in the integer form, and the sets of them that go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal


@dataclass(frozen=True)
class Forms:
    """Names of forms in ``edgevit_kernels``. The defaults are edgevit's own, the most accurate for their cost."""

    softmax: str = "table"
    gelu: str = "table"
    layer_norm: str = "exact"
    add: Literal["separate", "common"] = "common"
    softmax_bits: Literal[8, 16] = 8
    """Width of probabilities, where the form leaves a choice."""
    wide: bool = False
    """Whether exponentials may take 64 bits, to follow published forms that 32 do not hold. For the host only."""

    def softmax_options(self) -> dict[str, Any]:
        """What ``prepare`` of the softmax form is told of the widths."""
        options: dict[str, Any] = {}
        if self.softmax in ("ivit", "ibert"):
            options["output_bits"] = self.softmax_bits
        elif not self.softmax.startswith("fqvit"):
            options["unit"] = 255 if self.softmax_bits == 8 else 2**15 - 1
        if self.softmax in ("ibert", "fqvit"):
            options["exponential_bits"] = 64 if self.wide else 32
        return options


SETS: Mapping[str, Forms] = MappingProxyType(
    {
        "ivit": Forms("ivit", "ivit", "ivit", "separate", softmax_bits=16),
        "ivit_repaired": Forms("ivit_repaired", "ivit_repaired", "ivit_repaired", "separate"),
        "ibert": Forms("ibert", "ibert", "ibert", "separate", wide=True),
        "ibert_repaired": Forms("ibert_repaired", "ibert", "ivit_repaired", "separate"),
        "fqvit": Forms("fqvit", "table", "fqvit", "separate", wide=True),
        "fqvit_repaired": Forms("fqvit_repaired", "table", "fqvit", "separate"),
        "edgevit": Forms(),
    }
)
"""The published sets, as published and repaired, and edgevit's own.

FQ-ViT publishes no GELU, and I-BERT's has nothing to repair; where a set has no form of its own, edgevit's table or the
repaired form next to it stands in.
"""
