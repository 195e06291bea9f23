"""A small model, a folder of pictures and finished bundles, shared by the tests of the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.invoke import succeed
from tests.cli.models import write_models


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of ``models.py``, to be named with a callable of it."""
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def tiny(models: Path) -> str:
    """A Vision Transformer of one block for 16x16 pictures and three classes."""
    return f"{models}:tiny"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures in folders of three classes."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(7)
    for name in ("ant", "bee", "cat"):
        (folder / name).mkdir()
        for number in range(2):
            pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def exported(tiny: str, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the small model; not to be changed."""
    folder = tmp_path_factory.mktemp("exported") / "bundle"
    succeed("export", tiny, "--calib", pictures, "--eval", pictures, "-o", folder, "-q")
    return folder


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the embedded model from few images; not to be changed."""
    folder = tmp_path_factory.mktemp("embedded") / "bundle"
    succeed("export", "-o", folder, "--calib-limit", "8", "--eval-limit", "50", "-q")
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder for input and output; what a failing command leaves in it beyond the input is a fault."""
    return tmp_path


@pytest.fixture
def output(place: Path) -> Path:
    """A bundle to be, in a folder that is not there either."""
    return place / "new" / "bundle"
