"""Two exports with the same inputs are equal byte for byte, whatever differs around them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.models import write_models
from tests.tools import requires

pytestmark = requires("torch", "litert")

PROGRAM = "import sys; from edgevit.cli import main; main(sys.argv[1:])"


def export(folder: Path, seed: str, *arguments: str | Path) -> dict[str, bytes]:
    """The files of a bundle made in a process of its own, from a folder and with a hash seed of its own."""
    folder.mkdir()
    environment = {
        **os.environ,
        "PYTHONHASHSEED": seed,
        "TMPDIR": str(folder),
        "HOME": str(folder),
        "TZ": f"UTC+{seed}",
    }
    command = [sys.executable, "-c", PROGRAM, "export", *map(str, arguments), "-o", f"{seed}/bundle", "-q"]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=300)
    return {path.name: path.read_bytes() for path in (folder / seed / "bundle").iterdir()}


@pytest.mark.parametrize("model", ["embedded", "tiny"])
def test_two_runs_give_the_same_bytes(model: str, tmp_path: Path) -> None:
    if model == "embedded":
        spec = ["embedded", "--calib-limit", "16", "--eval-limit", "50"]
    else:
        spec = [f"{write_models(tmp_path)}:tiny", "--calib", "embedded", "--calib-limit", "4", "--seed", "5"]
    first, second = (export(tmp_path / f"at{seed}", seed, *spec) for seed in ("1", "2"))
    assert {"model.tflite", "manifest.json", "golden.npz", "report.json", "report.html"} <= set(first)
    assert [name for name in sorted({*first, *second}) if first.get(name) != second.get(name)] == []


def test_the_place_of_model_and_images_does_not_matter(tmp_path: Path) -> None:
    """The same files in another folder give the same bundle: no path gets into it."""
    import numpy as np

    from edgevit.data.arrays import write_arrays
    from tests.cli.invoke import succeed

    contents = []
    for name in ("here", "a longer/there"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
        write_arrays(folder / "images.npz", {"images": pixels})
        model, images = f"{write_models(folder)}:tiny", folder / "images.npz"
        succeed("export", model, "--calib", images, "-o", folder / "bundle", "-q")
        contents.append({path.name: path.read_bytes() for path in (folder / "bundle").iterdir()})
    assert [name for name in contents[0] if contents[0][name] != contents[1][name]] == []
