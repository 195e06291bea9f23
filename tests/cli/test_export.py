"""`edgevit export`: what goes to stdout and what to stderr, and what each option does."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgevit.bundle import read_golden, read_manifest
from edgevit.cli.export import default_output
from edgevit.report.export import ExportReport
from tests.cli.invoke import invoke, succeed, tree
from tests.tools import requires

pytestmark = requires("torch", "litert")

STAGES = [
    "load and capture",
    "read images",
    "rewrite for the target",
    "choose weight scales",
    "calibrate",
    "quantize and lower",
    "compare layer by layer",
    "evaluate",
    "emit",
    "report",
]


def test_the_bundle_of_the_embedded_model(embedded: Path) -> None:
    """The main job, with fewer images than it takes by default."""
    names = {path.name for path in embedded.iterdir()}
    assert {"model.tflite", "mapping.json", "numerics.json", "manifest.json", "golden.npz", "report.json"} <= names
    report = ExportReport.model_validate_json((embedded / "report.json").read_bytes())
    assert report.model.name == "embedded"
    assert report.model.input_shape == (32, 32, 3)
    assert report.status == "predicted, not compiled"
    assert report.accuracy is not None
    assert report.accuracy.images == 50
    assert report.accuracy.agreement >= 0.9
    assert sum(row.images for row in report.accuracy.per_class) == 50
    assert report.accuracy.confusion is not None
    assert len(report.fixes) == 3
    assert report.mapping is not None
    assert report.mapping.mapped == report.mapping.total
    manifest = read_manifest(embedded)
    assert manifest.model.input == "uint8[1,32,32,3]"
    assert manifest.calibration.count == 8
    inputs, outputs = read_golden(embedded)
    assert inputs.shape == (8, 1, 32, 32, 3)
    assert outputs.shape[0] == 8


def test_stage_lines_and_summary(tiny: str, pictures: Path, tmp_path: Path) -> None:
    outcome = succeed("export", tiny, "--calib", pictures, "--eval", pictures, "-o", tmp_path / "b")
    stages = [line.split("✓")[1].rsplit(maxsplit=2)[0].strip() for line in outcome.err.splitlines() if "✓" in line]
    assert stages == STAGES
    for word in ("Ops mapped", "Subgraphs", "Float ops left  0", "Size", "Top-1 float", "Top-1 int8", "Agreement"):
        assert word in outcome.out
    assert "Verdict" in outcome.out
    assert outcome.out.count(str(tmp_path / "b")) == 1
    assert "✓" not in outcome.out


def test_quiet_prints_the_path_alone(tiny: str, pictures: Path, tmp_path: Path) -> None:
    outcome = succeed("export", tiny, "--calib", pictures, "-o", tmp_path / "b", "-q")
    assert outcome.out == f"{tmp_path / 'b'}\n"
    assert outcome.err == ""
    assert succeed("export", tiny, "--calib", pictures, "--dry-run", "-q").out == ""


def test_json_is_all_that_is_printed(tiny: str, pictures: Path, tmp_path: Path) -> None:
    outcome = succeed(
        "export", tiny, "--calib", pictures, "--max-drop", "1", "--eval", pictures, "-o", tmp_path / "b", "--json"
    )
    answer = json.loads(outcome.out, parse_constant=pytest.fail)
    assert answer["bundle"] == str(tmp_path / "b")
    assert list(answer["seconds"]) == STAGES
    assert outcome.err == ""
    report = ExportReport.model_validate(answer["report"])
    assert report == ExportReport.model_validate_json((tmp_path / "b" / "report.json").read_bytes())


def test_json_of_a_drop_that_nobody_can_know(tiny: str, pictures: Path, tmp_path: Path) -> None:
    outcome = invoke("export", tiny, "--calib", pictures / "ant", "--max-drop", "1", "--dry-run", "--json")
    assert outcome.code == 5
    answer = json.loads(outcome.out, parse_constant=pytest.fail)
    assert answer["bundle"] == ""
    assert answer["report"]["gates"][0]["value"] == "Infinity"


def test_a_dry_run_writes_nothing(tiny: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "scratch").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    before = tree(tmp_path)
    outcome = succeed("export", tiny, "--calib", pictures, "--dry-run")
    assert "Ops mapped" in outcome.out
    assert tree(tmp_path) == before


def test_the_default_folder(tiny: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert succeed("export", tiny, "--calib", pictures, "-q").out == "out/tiny-coral\n"
    assert (tmp_path / "out" / "tiny-coral" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("embedded", "embedded-coral"),
        ("timm:deit_tiny_patch16_224?pretrained=true", "deit_tiny_patch16_224-coral"),
        ("models/my net.pt2", "my_net-coral"),
        ("/x/net.py:build", "build-coral"),
        ("..:..", "model-coral"),
    ],
)
def test_names_of_default_folders(model: str, expected: str) -> None:
    assert default_output(model, "coral") == Path("out") / expected


def quantization(bundle: Path) -> Any:
    return read_manifest(bundle).options["quantization"]


@pytest.mark.parametrize("bits", ["6/8", "4"])
def test_fewer_bits(bits: str, tiny: str, pictures: Path, tmp_path: Path, exported: Path) -> None:
    """Weights of n bits use at most 2**n - 1 values, and the logits lose signal."""
    from edgevit_coral.reader import read

    bundle = tmp_path / "b"
    succeed("export", tiny, "--calib", pictures, "-o", bundle, "-q", "--bits", bits)
    width = int(bits[0])
    assert quantization(bundle)["weight_bits"] == width
    assert quantization(bundle)["activation_bits"] == int(bits[-1])
    model = read(bundle / "model.tflite")
    layers = [op for op in model.operators if op.name in ("FULLY_CONNECTED", "CONV_2D")]
    weights = [data for op in layers if (data := model.tensors[op.inputs[1]].data) is not None]
    assert len(weights) >= 5
    assert max(np.abs(data.astype(int)).max() for data in weights) == 2 ** (width - 1) - 1
    ratio, best = (
        json.loads((b / "numerics.json").read_text())["accuracy"]["logits_sqnr_db"] for b in (bundle, exported)
    )
    assert ratio < best
    succeed("verify", bundle)


@pytest.mark.parametrize("method", ["minmax", "moving-average", "percentile", "mse", "entropy", "repq"])
def test_methods(method: str, tiny: str, pictures: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "b"
    succeed("export", tiny, "--calib", pictures, "-o", bundle, "-q", "--method", method)
    chosen = quantization(bundle)
    if method == "repq":
        assert (chosen["equalize"], chosen["stream"]) == (True, "plain")
    else:
        assert chosen["observer"] == method
    numerics = json.loads((bundle / "numerics.json").read_text())
    assert numerics["accuracy"]["logits_sqnr_db"] > 15
    succeed("verify", bundle)


def test_int8_input_and_output(tiny: str, pictures: Path, tmp_path: Path, exported: Path) -> None:
    """Both kinds of file compute the same: bytes differ by 128, which the file's grids say. `verify` runs LiteRT."""
    from edgevit_coral.reader import read

    bundle = tmp_path / "b"
    succeed("export", tiny, "--calib", pictures, "-o", bundle, "-q", "--io", "int8")
    model = read(bundle / "model.tflite")
    assert {model.tensors[i].dtype for i in (*model.inputs, *model.outputs)} == {"int8"}
    answer = json.loads(succeed("verify", bundle, "--json").out)
    assert [check["ok"] for check in answer["checks"]] == [True, True, True]
    (signed, logits), (pixels, expected) = read_golden(bundle), read_golden(exported)
    assert signed.dtype == np.int8
    same = [int(np.flatnonzero((pixels == image + 128).all(axis=(1, 2, 3, 4)))[0]) for image in signed.astype(int)]
    np.testing.assert_array_equal(logits.astype(int) + 128, expected[same])


def test_a_saved_configuration_gives_the_same_bundle(tiny: str, pictures: Path, tmp_path: Path) -> None:
    arguments = ("export", tiny, "--calib", pictures, "-q", "-o")
    config = tmp_path / "q.toml"
    succeed(*arguments, tmp_path / "a", "--method", "percentile", "--bits", "7/8", "--save-config", config)
    assert 'observer = "percentile"' in config.read_text()
    succeed(*arguments, tmp_path / "b", "--config", config)
    succeed(*arguments, tmp_path / "c", "--config", config, "--bits", "8")
    contents = [{p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in "abc"]
    assert contents[0] == contents[1]
    assert contents[0]["model.tflite"] != contents[2]["model.tflite"]
    assert quantization(tmp_path / "c")["observer"] == "percentile"


def test_normalization_and_size(tiny: str, pictures: Path, tmp_path: Path) -> None:
    """Options beat what the model's file says; this model has a position for each of four patches."""
    bundle = tmp_path / "b"
    succeed("export", tiny, "--calib", pictures, "-o", bundle, "-q", "--input-size", "16", "--std", "0.5,0.25,1")
    preprocess = read_manifest(bundle).options["preprocess"]
    assert isinstance(preprocess, dict)
    assert preprocess["std"] == [0.5, 0.25, 1.0]
    assert preprocess["size"] == [16, 16]


def test_limits_of_images(tiny: str, pictures: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "b"
    limits = ("--calib-limit", "3", "--eval", pictures, "--eval-limit", "2")
    succeed("export", tiny, "--calib", pictures, "-o", bundle, "-q", *limits)
    manifest = read_manifest(bundle)
    assert manifest.evaluation is not None
    assert (manifest.calibration.count, manifest.evaluation.count) == (3, 2)


def test_the_seed_draws_weights_and_images(tiny: str, pictures: Path, tmp_path: Path) -> None:
    hashes = set()
    for seed in ("0", "1"):
        succeed("export", tiny, "--calib", pictures, "--calib-limit", "3", "-o", tmp_path / seed, "-q", "--seed", seed)
        manifest = read_manifest(tmp_path / seed)
        assert manifest.seed == int(seed)
        hashes |= {manifest.model.weights_sha256, manifest.calibration.sha256}
    assert len(hashes) == 4


def test_nothing_of_this_machine_is_in_the_bundle(exported: Path, pictures: Path) -> None:
    """No folder that the model and the images lie in, and none of the user's own."""
    for path in exported.iterdir():
        if path.suffix != ".html":
            content = path.read_bytes()
            assert str(pictures.parent).encode() not in content, path.name
            assert str(Path.home()).encode() not in content, path.name
