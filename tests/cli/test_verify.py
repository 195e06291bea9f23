"""`edgevit verify`: every kind of damage to a bundle is found and named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit.bundle import file_hash, read_golden, write_golden
from edgevit.data.arrays import write_arrays
from tests.cli.invoke import fail, invoke, succeed
from tests.tools import requires

pytestmark = requires("torch", "litert")

FILES = ("golden.npz", "mapping.json", "model.tflite", "numerics.json", "report.html", "report.json")


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    """A bundle to be damaged."""
    return Path(shutil.copytree(exported, tmp_path / "bundle"))


def change_manifest(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def reseal(bundle: Path, name: str) -> None:
    """Make the manifest agree with a changed file, as someone would who hides a change."""
    change_manifest(bundle, lambda manifest: manifest["files"].update({name: file_hash(bundle / name)}))


def test_a_good_bundle(exported: Path) -> None:
    outcome = succeed("verify", exported)
    assert outcome.out.count("✓") == 3
    assert "equal bit for bit" in outcome.out
    assert "✗" not in outcome.out
    answer = json.loads(succeed("verify", exported, "--json").out)
    assert answer["ok"] is True
    names = ["files", "golden outputs, reference", "golden outputs, host"]
    assert [(check["name"], check["ok"]) for check in answer["checks"]] == [(name, True) for name in names]


def test_the_embedded_bundle_moved_elsewhere(embedded: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(embedded, tmp_path / "elsewhere")
    succeed("verify", moved)


def test_the_bundle_has_the_files_of_this_test(bundle: Path) -> None:
    assert {path.name for path in bundle.iterdir()} == {*FILES, "manifest.json"}


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte(name: str, bundle: Path) -> None:
    path = bundle / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    outcome = fail(2, str(bundle), "does not verify: files", arguments=("verify", bundle), watched=bundle)
    assert f"{name}: changed" in outcome.out


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(name: str, bundle: Path) -> None:
    (bundle / name).unlink()
    outcome = fail(2, "does not verify: files", arguments=("verify", bundle), watched=bundle)
    assert f"{name}: missing" in outcome.out


def test_a_link_is_no_file_of_the_bundle(bundle: Path, tmp_path: Path) -> None:
    (bundle / "model.tflite").rename(tmp_path / "model.tflite")
    (bundle / "model.tflite").symlink_to(tmp_path / "model.tflite")
    assert "model.tflite: missing" in invoke("verify", bundle).out


def test_an_extra_file(bundle: Path) -> None:
    (bundle / "notes.txt").write_text("mine")
    outcome = fail(2, "does not verify: files", arguments=("verify", bundle), watched=bundle)
    assert "notes.txt: not in the manifest" in outcome.out


def test_all_damage_is_named_at_once(bundle: Path) -> None:
    (bundle / "golden.npz").unlink()
    (bundle / "report.json").write_text("{}")
    (bundle / "x").mkdir()
    answer = json.loads(invoke("verify", bundle, "--json").out)
    assert answer["ok"] is False
    (files,) = answer["checks"]
    assert files["detail"] == "golden.npz: missing; report.json: changed since the export; x: not in the manifest"


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", ".hidden", "a/b", ""])
def test_names_that_lead_out_of_the_bundle(name: str, bundle: Path) -> None:
    (bundle.parent / "x").write_text("outside")
    change_manifest(bundle, lambda manifest: manifest["files"].update({name: "0" * 64}))
    fail(2, "manifest.json", "files", arguments=("verify", bundle), watched=bundle.parent)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "cannot be read"),
        (b"", "the file"),
        (b"{", "the file"),
        (b"[]", "the file"),
        (b'{"format": 2}', "format"),
        (b"\xff\xfe", "the file"),
        (b" " * (1 << 21), "is larger than"),
    ],
)
def test_a_manifest_that_is_none(content: bytes | None, word: str, bundle: Path) -> None:
    path = bundle / "manifest.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    fail(2, str(path), word, arguments=("verify", bundle), watched=bundle)


def test_unknown_keys_and_targets_of_a_manifest(bundle: Path) -> None:
    change_manifest(bundle, lambda manifest: manifest.update(target="corall"))
    fail(2, "no target 'corall'", "did you mean 'coral'", arguments=("verify", bundle), watched=bundle)
    change_manifest(bundle, lambda manifest: manifest.update(more=1))
    fail(2, "manifest.json: more", arguments=("verify", bundle), watched=bundle)


def test_an_artifact_that_is_not_listed(bundle: Path) -> None:
    change_manifest(bundle, lambda manifest: manifest.update(artifact="other.tflite"))
    assert "other.tflite: the artifact is not listed" in invoke("verify", bundle).out


def test_what_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        fail(2, str(path), "edgevit export", arguments=("verify", path), watched=tmp_path)


def test_wrong_golden_outputs(bundle: Path) -> None:
    """The hashes are made to fit: only running the model shows it."""
    inputs, outputs = read_golden(bundle)
    wrong = outputs.copy()
    wrong[2, ..., 0] ^= 4
    write_golden(bundle, inputs, wrong)
    reseal(bundle, "golden.npz")
    outcome = fail(2, "golden outputs, reference", "host", arguments=("verify", bundle), watched=bundle)
    assert outcome.out.count("1 of 6 differ, by up to 4") == 2


def test_golden_outputs_of_another_type(bundle: Path) -> None:
    inputs, outputs = read_golden(bundle)
    write_golden(bundle, inputs, outputs.astype(np.int16))
    reseal(bundle, "golden.npz")
    outcome = fail(2, "golden outputs", arguments=("verify", bundle), watched=bundle)
    assert "uint8[6, 1, 3] instead of int16[6, 1, 3]" in outcome.out


def test_a_truncated_golden_file(bundle: Path) -> None:
    path = bundle / "golden.npz"
    path.write_bytes(path.read_bytes()[:-100])
    reseal(bundle, "golden.npz")
    fail(2, str(path), "not an intact .npz", arguments=("verify", bundle), watched=bundle)


def test_golden_files_without_what_they_are_for(bundle: Path) -> None:
    inputs, outputs = read_golden(bundle)
    for arrays, words in (
        ({"inputs": inputs}, ("golden.npz", "holds inputs of inputs and outputs")),
        ({}, ("holds neither of inputs and outputs",)),
        ({"inputs": inputs[:0], "outputs": outputs[:0]}, ("0 golden inputs",)),
        ({"inputs": inputs, "outputs": outputs[:2]}, ("6 golden inputs and 2 outputs",)),
    ):
        write_arrays(bundle / "golden.npz", arrays)
        reseal(bundle, "golden.npz")
        fail(2, *words, arguments=("verify", bundle), watched=bundle)


def test_golden_inputs_that_do_not_fit_the_model(bundle: Path) -> None:
    inputs, outputs = read_golden(bundle)
    write_golden(bundle, inputs[:, :, :8], outputs)
    reseal(bundle, "golden.npz")
    fail(3, "leading sample axis", arguments=("verify", bundle), watched=bundle)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x1c\0\0\0TFL3" + b"\xff" * 64])
def test_a_model_that_is_none(content: bytes, bundle: Path) -> None:
    (bundle / "model.tflite").write_bytes(content)
    reseal(bundle, "model.tflite")
    fail(3, "model.tflite", arguments=("verify", bundle), watched=bundle)
