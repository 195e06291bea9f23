"""The figures of an exported bundle, from its manifest, its report and its artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edgevit.bundle import Manifest, file_hash, read_manifest
from edgevit.errors import BundleError
from edgevit.metrics.cost import Cost
from edgevit.metrics.eer import Figures
from edgevit.report import JSON
from edgevit.report.export import ExportReport

MAX_REPORT_BYTES = 1 << 26


@dataclass(frozen=True)
class Candidate:
    """A model to be compared. Top-1 and its 95 % interval are in percent, None without labels; ``images`` names what
    it was evaluated on.
    """

    name: str
    model: str
    target: str
    figures: Figures
    top1: float | None
    top1_interval: tuple[float, float] | None
    images: str


def read_candidates(folders: Sequence[Path]) -> list[Candidate]:
    """The candidates of bundles, each named by its folder, or by its path where two folders have one name.

    Raises BundleError for a folder that is no bundle, or whose report or artifact is missing or was changed.
    """
    names = [folder.resolve().name for folder in folders]
    return [
        read_candidate(folder, name if names.count(name) == 1 else str(folder))
        for folder, name in zip(folders, names, strict=True)
    ]


def read_candidate(folder: Path, name: str) -> Candidate:
    """The figures and the accuracy of one bundle. Raises BundleError as `read_candidates` does."""
    manifest = read_manifest(folder)
    report = _report(folder, manifest)
    cost = report.cost
    if cost is None:
        raise BundleError("holds no cost figures", where=str(folder), hint="export it again with this version")
    artifact = _unchanged(folder, manifest.artifact, manifest)
    counted = Cost(cost.parameters, cost.macs, cost.weight_bits, cost.activation_bits)
    accuracy = report.accuracy
    share = None if accuracy is None else accuracy.top1_int8
    interval = None
    if accuracy is not None and share is not None:
        bounds = accuracy.interval(share)
        interval = (100 * bounds.low, 100 * bounds.high)
    return Candidate(
        name=name,
        model=manifest.model.name,
        target=manifest.target,
        figures=counted.figures(artifact.stat().st_size),
        top1=None if share is None else 100 * share,
        top1_interval=interval,
        images="" if accuracy is None else f"{accuracy.images} images of {accuracy.source}",
    )


def _report(folder: Path, manifest: Manifest) -> ExportReport:
    path = _unchanged(folder, JSON, manifest)
    if path.stat().st_size > MAX_REPORT_BYTES:
        raise BundleError(f"is larger than {MAX_REPORT_BYTES} bytes", where=str(path), hint="export the bundle again")
    try:
        return ExportReport.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise BundleError(f"{place}: {first['msg']}", where=str(path), hint="export the bundle again") from None


def _unchanged(folder: Path, name: str, manifest: Manifest) -> Path:
    """The file of that name, which is as it was when the bundle was sealed."""
    path = folder / name
    try:
        if path.is_symlink() or file_hash(path) != manifest.files.get(name):
            what = "is not what was exported"
            raise BundleError(what, where=str(path), hint="`edgevit verify` shows what changed; export it again")
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise BundleError(what, where=str(path), hint="export the bundle again") from error
    return path
