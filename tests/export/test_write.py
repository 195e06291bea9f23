"""Exports from Python: modules and programs as models, results, gates, and what the bundle records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgevit.bundle import read_golden, read_manifest
from edgevit.data.arrays import write_arrays
from edgevit.data.preprocess import Preprocess
from edgevit.errors import AccuracyGate, BackendError, BundleError
from edgevit.export import ExportOptions, export_bundle
from edgevit.export.trace import Silent
from edgevit.frontend import load_model
from tests.cli.models import write_models
from tests.tools import requires

if TYPE_CHECKING:
    import torch

pytestmark = requires("torch", "litert")


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> torch.nn.Module:
    """The small Vision Transformer itself."""
    found = load_model(f"{write_models(tmp_path_factory.mktemp('models'))}:tiny").module
    assert found is not None
    return found


@pytest.fixture
def options(module: torch.nn.Module, tmp_path: Path) -> ExportOptions:
    """An export of that module from five pictures without labels."""
    images = tmp_path / "images.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    write_arrays(images, {"images": pixels})
    how = Preprocess(size=(16, 16))
    return ExportOptions(model=module, preprocess=how, calibration=str(images), output=tmp_path / "bundle")


def test_a_module_and_its_program_give_the_same_model(
    module: torch.nn.Module, options: ExportOptions, tmp_path: Path
) -> None:
    import torch

    program = torch.export.export(module.eval(), (torch.zeros(1, 3, 16, 16),))
    first = export_bundle(options, Silent())
    second = export_bundle(replace(options, model=program, output=tmp_path / "other"), Silent())
    for name in ("mapping.json", "numerics.json"):
        assert Path(first.path, name).read_bytes() == Path(second.path, name).read_bytes()
    for before, after in zip(read_golden(tmp_path / "bundle"), read_golden(tmp_path / "other"), strict=True):
        np.testing.assert_array_equal(before, after)
    assert read_manifest(tmp_path / "bundle").model.name == "Tiny"


def test_the_result_lists_the_files(options: ExportOptions) -> None:
    result = export_bundle(options, Silent())
    assert result.failure is None
    assert result.path == str(options.output)
    assert dict(result.files) == {path.name: path.stat().st_size for path in options.output.iterdir()}
    assert result.report.stages[0] == "load and capture"
    assert result.report.stages[-1] == "report"


def test_a_failed_gate_is_in_the_result(options: ExportOptions) -> None:
    result = export_bundle(replace(options, min_sqnr=90.0), Silent())
    assert isinstance(result.failure, AccuracyGate)
    assert (result.path, result.files) == ("", ())
    assert not options.output.exists()
    result = export_bundle(replace(options, min_sqnr=90.0, force=True), Silent())
    assert isinstance(result.failure, AccuracyGate)
    assert (options.output / "manifest.json").is_file()
    with pytest.raises(BundleError, match="holds a bundle already"):
        export_bundle(options, Silent())


def test_parameters_are_counted_as_torch_counts(module: torch.nn.Module, options: ExportOptions) -> None:
    count = sum(parameter.numel() for parameter in module.parameters())
    result = export_bundle(replace(options, dry_run=True), Silent())
    assert result.report.model.parameters == result.report.size.parameters == count
    assert result.report.size.float_bytes == 4 * count


def test_an_artifact_that_disagrees_is_not_written(options: ExportOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read back and run before it becomes a bundle."""
    from edgevit_coral.backend import CoralBackend

    original = CoralBackend.run

    def wrong(self: CoralBackend, folder: Path, inputs: np.ndarray, device: str) -> np.ndarray:
        return original(self, folder, inputs, device) ^ 1

    monkeypatch.setattr(CoralBackend, "run", wrong)
    with pytest.raises(BackendError, match="does not compute what the interpreter does"):
        export_bundle(options, Silent())
    assert sorted(path.name for path in options.output.parent.iterdir()) == ["images.npz"]


def test_a_monitor_hears_of_stages_notes_and_progress(options: ExportOptions) -> None:
    import contextlib
    from collections.abc import Callable, Iterator

    heard: list[str] = []
    progress: dict[str, list[tuple[int, int]]] = {}

    class Listener:
        @contextlib.contextmanager
        def stage(self, name: str) -> Iterator[Callable[[int, int], None]]:
            heard.append(name)
            yield lambda done, total: progress.setdefault(name, []).append((done, total))

        def note(self, text: str) -> None:
            heard.append(f"note: {text}")

    result = export_bundle(replace(options, dry_run=True, calibration_limit=4), Listener())
    assert [each for each in heard if not each.startswith("note: ")] == list(result.report.stages)
    assert any("no evaluation images" in each for each in heard)
    for name in ("calibrate", "evaluate", "compare layer by layer"):
        assert progress[name][-1][0] == progress[name][-1][1] > 0, name
        assert progress[name] == sorted(progress[name])
