"""What a person may say about an export, and who is told how it goes."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edgevit.data.opening import EMBEDDED
from edgevit.data.preprocess import Preprocess
from edgevit.errors import UsageError
from edgevit.quant.config import QuantConfig

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

CALIBRATION_LIMIT = 256
"""Calibration images that are used unless a person says otherwise."""


@dataclass(frozen=True)
class ExportOptions:
    """Everything that a person may say about an export.

    ``model`` is a name as `load_model` takes it, a module or a program. ``calibration`` and ``evaluation`` name images
    (``embedded``, a folder, an .npz); None is the embedded set for the embedded model.
    """

    model: str | torch.nn.Module | ExportedProgram = EMBEDDED
    target: str = "coral"
    output: Path = Path("out")
    weights: str | None = None
    calibration: str | None = None
    calibration_limit: int = CALIBRATION_LIMIT
    evaluation: str | None = None
    evaluation_limit: int | None = None
    input_size: tuple[int, int] | None = None
    preprocess: Preprocess | None = None
    config: QuantConfig = field(default_factory=QuantConfig)
    io: Literal["uint8", "int8"] = "uint8"
    seed: int = 0
    min_mapped: float | None = None
    max_drop: float | None = None
    min_sqnr: float | None = None
    force: bool = False
    dry_run: bool = False

    @property
    def source(self) -> str:
        """What the model was named as, without the folders that it lies in; the class of one that was given itself."""
        return source_name(self.model) if isinstance(self.model, str) else type(self.model).__name__

    @property
    def target_options(self) -> dict[str, Any]:
        """What the backend is told."""
        return {"io": self.io}


def source_name(spec: str) -> str:
    """What a person named, without the folders that it lies in."""
    return Path(spec).name if "/" in spec or "\\" in spec else spec


class Monitor(Protocol):
    """Who is told how the export goes: a terminal, or nobody."""

    def stage(self, name: str) -> AbstractContextManager[Callable[[int, int], None]]:
        """A stage begins; the context gives a function for progress (done, total)."""
        ...

    def note(self, text: str) -> None:
        """Something worth a warning."""
        ...


class StageNames:
    """A monitor that passes everything on and keeps the names of the stages for the report."""

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.names: list[str] = []

    def stage(self, name: str) -> AbstractContextManager[Callable[[int, int], None]]:
        self.names.append(name)
        return self.monitor.stage(name)

    def note(self, text: str) -> None:
        self.monitor.note(text)


def check_options(options: ExportOptions) -> None:
    """Raise UsageError for values that make no sense, before any work is done."""
    if options.min_mapped is not None and not 0 <= options.min_mapped <= 100:
        raise UsageError(f"--min-mapped {options.min_mapped:g}", hint="a percentage of the ops, 0 to 100")
    if options.max_drop is not None and not 0 <= options.max_drop <= 100:
        raise UsageError(f"--max-drop {options.max_drop:g}", hint="points of top-1 accuracy, 0 to 100")
    if options.min_sqnr is not None and not math.isfinite(options.min_sqnr):
        raise UsageError(f"--min-sqnr {options.min_sqnr:g}", hint="a ratio in dB, such as 20")
    if options.calibration_limit < 1 or (options.evaluation_limit is not None and options.evaluation_limit < 1):
        raise UsageError("a limit of images below 1", hint="give at least one image")
