"""The models that all tests of the conformance matrix look at, compiled once in a process when a test asks for them."""

from __future__ import annotations

import pytest

from edgevit.export.options import ExportOptions
from tests.conformance.compiled import Exported, export


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The embedded model as `edgevit export` makes it, measured on the 1,000 images of the package."""
    folder = tmp_path_factory.mktemp("embedded")
    return export(ExportOptions(output=folder / "bundle"), folder)


def dry(name: str, factory: pytest.TempPathFactory) -> Exported:
    """A model of timm with random weights from four calibration images."""
    return export(ExportOptions(model=f"timm:{name}", calibration="embedded", dry_run=True), factory.mktemp(name))


@pytest.fixture(scope="session")
def deit_tiny(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """DeiT-Tiny for 224x224 pixels."""
    return dry("deit_tiny_patch16_224", tmp_path_factory)


@pytest.fixture(scope="session")
def deit_small(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """DeiT-Small for 224x224 pixels."""
    return dry("deit_small_patch16_224", tmp_path_factory)
