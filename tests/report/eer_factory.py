"""Made-up models to compare."""

from __future__ import annotations

from edgevit.metrics.eer import Figure
from edgevit.report.eer_source import Candidate


def candidate(name: str, parameters: float, top1: float | None) -> Candidate:
    """An 8-bit model of ``parameters`` million, with a tenth as many GMAC and as many MB."""
    return Candidate(
        name=name,
        model="deit",
        target="coral",
        figures={
            "params": Figure(parameters, "M", "measured"),
            "flops": Figure(parameters / 10, "GMAC", "measured"),
            "bits": Figure(8, "bit", "measured"),
            "size": Figure(parameters, "MB", "measured"),
        },
        top1=top1,
        top1_interval=None if top1 is None else (top1 - 1, top1 + 1),
        images="1000 images of val",
    )
