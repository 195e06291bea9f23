"""The classifier that runs on the device's host gives the classes that the compiler evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgevit.embedded
from edgevit.cli.main import run
from edgevit_coral.execute import run_model
from edgevit_coral.reader import read
from edgevit_coral.runner import main
from tests.tools import requires

PICTURES = 12


@requires("litert", "torch")
@pytest.mark.parametrize("io", ["uint8", "int8"])
def test_an_exported_model_classifies_pictures(io: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = tmp_path / "bundle"
    assert run(["export", "--io", io, "-o", str(bundle), "-q", "--calib-limit", "32", "--eval-limit", "20"]) == 0
    images = next(edgevit.embedded.evaluation().batches(PICTURES)).images
    stored = images[:, None] if io == "uint8" else (images[:, None].astype(np.int16) - 128).astype(np.int8)
    expected = run_model(read(bundle / "model.tflite"), [stored])[0].reshape(PICTURES, -1).argmax(axis=1)
    assert len(set(expected.tolist())) > 3
    for image, answer in zip(images, expected.tolist(), strict=True):
        Image.fromarray(image).save(tmp_path / "picture.png")
        capsys.readouterr()
        arguments = [
            str(bundle / "model.tflite"),
            str(tmp_path / "picture.png"),
            "--labels",
            str(bundle / "labels.txt"),
        ]
        assert main([*arguments, "--device", "cpu", "--reference", "--repeat", "1", "--top", "1", "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["top"][0]["index"] == answer
        assert result["top"][0]["label"] == edgevit.embedded.CLASSES[answer]
        assert not [note for note in result["notes"] if "plain bytes" in note]
