"""The manifest, the hashes and the golden arrays of a bundle."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from edgevit import bundle
from edgevit.bundle import (
    ImagesRecord,
    Manifest,
    ModelRecord,
    check_files,
    file_hash,
    read_golden,
    read_manifest,
    seal,
    write_bundle,
    write_golden,
    write_json,
)
from edgevit.errors import BundleError, EdgevitError

EMPTY = hashlib.sha256(b"").hexdigest()


def manifest(**changes: object) -> Manifest:
    values: dict[str, object] = {
        "target": "coral",
        "artifact": "model.tflite",
        "status": "predicted, not compiled",
        "model": ModelRecord(
            name="m", source="m", weights_sha256=EMPTY, parameters=3, input="uint8[1,2,2,3]", classes=2
        ),
        "calibration": ImagesRecord(source="pictures", sha256=EMPTY, count=1),
        "evaluation": None,
        "versions": {"edgevit": "0"},
        "options": {"io": "uint8"},
        "seed": 0,
        "files": {},
    }
    return Manifest.model_validate(values | changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sealed bundle of two files."""
    path = tmp_path / "bundle"
    with write_bundle(path) as temporary:
        (temporary / "model.tflite").write_bytes(b"model")
        (temporary / "report.json").write_bytes(b"")
        seal(temporary, manifest())
    return path


def test_seal_hashes_every_file(folder: Path) -> None:
    found = read_manifest(folder)
    assert found.files == {"model.tflite": hashlib.sha256(b"model").hexdigest(), "report.json": EMPTY}
    assert found.model_copy(update={"files": {}}) == manifest()
    assert check_files(folder, found) == []


def test_a_manifest_is_readable_and_the_same_each_time(folder: Path) -> None:
    text = (folder / "manifest.json").read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text)) == sorted(json.loads(text))
    seal_again = read_manifest(folder).model_copy(update={"files": {}})
    (folder / "manifest.json").unlink()
    seal(folder, seal_again)
    assert (folder / "manifest.json").read_text() == text


def test_damage_is_listed(folder: Path) -> None:
    (folder / "model.tflite").write_bytes(b"other")
    (folder / "report.json").unlink()
    (folder / "extra").touch()
    assert check_files(folder, read_manifest(folder)) == [
        "model.tflite: changed since the export",
        "report.json: missing",
        "extra: not in the manifest",
    ]


@pytest.mark.parametrize("name", ["../x", "a/b", "/x", ".x", "", "x" * 101, "a\nb"])
def test_file_names_stay_in_the_folder(name: str) -> None:
    with pytest.raises(ValidationError):
        manifest(files={name: EMPTY})
    with pytest.raises(ValidationError):
        manifest(artifact=name)


@pytest.mark.parametrize("value", ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64])
def test_hashes_are_hashes(value: str) -> None:
    with pytest.raises(ValidationError):
        manifest(files={"x": value})


def test_a_large_file_is_not_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    monkeypatch.setattr(bundle, "MAX_FILE_BYTES", 5)
    assert file_hash(path) == hashlib.sha256(b"12345").hexdigest()
    path.write_bytes(b"123456")
    with pytest.raises(BundleError, match="larger than 5 bytes"):
        file_hash(path)


def test_json_refuses_what_json_lacks(tmp_path: Path) -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            write_json(tmp_path / "x.json", {"value": value})


def test_golden_arrays_come_back(tmp_path: Path) -> None:
    inputs, outputs = np.arange(24, dtype=np.uint8).reshape(2, 12), np.array([[-1], [2]], np.int8)
    write_golden(tmp_path, inputs, outputs)
    first = (tmp_path / "golden.npz").read_bytes()
    found = read_golden(tmp_path)
    for array, expected in zip(found, (inputs, outputs), strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == expected.dtype
    write_golden(tmp_path, inputs, outputs)
    assert (tmp_path / "golden.npz").read_bytes() == first


def test_golden_arrays_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(EdgevitError, match="cannot be read"):
        read_golden(tmp_path)
    np.savez(tmp_path / "golden.npz", outputs=np.zeros(1))
    with pytest.raises(BundleError, match="holds outputs of inputs and outputs"):
        read_golden(tmp_path)
