"""Input that cannot be exported: each kind has its exit code, a message with place and remedy, and leaves nothing."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgevit.data.arrays import write_arrays
from tests.cli.invoke import fail, succeed
from tests.tools import require, requires

pytestmark = requires("torch", "litert")


def cut(path: Path, share: float = 0.5) -> Path:
    """Keep only the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


# --- models and weights ---


@pytest.mark.parametrize(
    ("model", "code", "word"),
    [
        ("no_such_model", 2, "no such model"),
        ("timm:vit_tiny_patch16_225", 3, "vit_tiny_patch16_224"),
        ("nowhere/model.pt2", 3, "no such file"),
        ("nowhere/net.py:build", 3, "no such file"),
        ("net.py", 2, "name of a callable"),
        ("weights.safetensors", 2, "weights alone are no model"),
        ("model.onnx", 3, "ONNX"),
    ],
)
def test_a_model_that_is_not_there(model: str, code: int, word: str, pictures: Path, output: Path, place: Path) -> None:
    if model.startswith("timm:"):
        require("timm")
    fail(
        code, model.split(":")[-1], word, arguments=("export", model, "--calib", pictures, "-o", output), watched=place
    )


def test_a_truncated_program(models: Path, pictures: Path, output: Path, place: Path) -> None:
    import torch

    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8, 8), torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval()
    path = place / "model.pt2"
    torch.export.save(torch.export.export(module, (torch.zeros(1, 3, 16, 16),)), path)
    arguments = ("export", path, "--calib", pictures, "-o", output, "-q")
    succeed(*arguments)
    shutil.rmtree(output.parent)
    cut(path)
    fail(3, str(path), "is no readable program", arguments=arguments, watched=place)


def test_truncated_and_missing_weights(tiny: str, pictures: Path, output: Path, place: Path) -> None:
    from safetensors.torch import save_file

    from edgevit.frontend import load_model

    module = load_model(tiny, seed=3).module
    assert module is not None
    path = place / "weights.safetensors"
    save_file(module.state_dict(), path)
    arguments = ("export", tiny, "--weights", path, "--calib", pictures, "-o", output, "-q")
    succeed(*arguments)
    shutil.rmtree(output.parent)
    cut(path)
    fail(3, str(path), "weights cannot be read", arguments=arguments, watched=place)
    path.unlink()
    fail(3, str(path), "No such file", arguments=arguments, watched=place)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_a_pickle_for_weights_is_not_executed(name: str, tiny: str, pictures: Path, output: Path, place: Path) -> None:
    sign = place / "executed"
    path = place / name
    path.write_bytes(pickle.dumps({"weight": Bomb(sign)}, protocol=2))
    arguments = ("export", tiny, "--weights", path, "--calib", pictures, "-o", output)
    fail(3, str(path), arguments=arguments, watched=place)
    assert not sign.exists()
    pickle.loads(path.read_bytes())
    assert sign.is_dir()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unsupported", ("2 operators", "linalg_det", "middle.first", "aten.sort", "middle.second")),
        ("dynamic", ("dynamic batch", "static shapes")),
        ("nan", ("NaN", "block.fc1.weight")),
        ("raises", ("KeyError", "width", "net.py")),
        ("missing", ("'missing'", "tiny")),
    ],
)
def test_a_model_that_cannot_be_compiled(
    name: str, words: tuple[str, ...], models: Path, pictures: Path, output: Path, place: Path
) -> None:
    arguments = ("export", f"{models}:{name}", "--calib", pictures, "-o", output)
    fail(3, *words, arguments=arguments, watched=place)


def test_an_op_that_the_target_lacks_is_named(tiny: str, pictures: Path, output: Path, place: Path) -> None:
    """The frontend knows these ops, the Edge TPU does not: every one is listed, with its place."""
    path = place / "more.py"
    path.write_text(
        Path(tiny.rpartition(":")[0]).read_text(encoding="utf-8")
        + "\nclass Odd(torch.nn.Module):\n"
        + "    def forward(self, x):\n        return torch.erf(torch.exp(-torch.abs(x)))\n"
        + "def odd():\n    return Tiny(Odd()), SIZE\n",
        encoding="utf-8",
    )
    arguments = ("export", f"{path}:odd", "--calib", pictures, "-o", output)
    fail(3, "ops have no lowering for coral", "middle: erf", "middle: exp", arguments=arguments, watched=place)


# --- images ---


def test_no_calibration_data(tiny: str, output: Path, place: Path) -> None:
    fail(2, "no calibration data", "--calib", arguments=("export", tiny, "-o", output), watched=place)


def test_missing_and_empty_image_folders(tiny: str, output: Path, place: Path) -> None:
    empty = place / "empty"
    empty.mkdir()
    for folder, word in ((place / "nowhere", "does not exist"), (empty, "holds no images")):
        fail(2, str(folder), word, arguments=("export", tiny, "--calib", folder, "-o", output), watched=place)


def test_a_truncated_npz(tiny: str, pictures: Path, output: Path, place: Path) -> None:
    path = place / "images.npz"
    write_arrays(path, {"images": np.zeros((4, 16, 16, 3), np.uint8)})
    cut(path)
    for option in ("--calib", "--eval"):
        arguments = ("export", tiny, "--calib", pictures, option, path, "-o", output)
        fail(2, str(path), "not an intact .npz", arguments=arguments, watched=place)


def test_an_npz_of_objects_is_not_unpickled(tiny: str, output: Path, place: Path) -> None:
    sign, path = place / "executed", place / "images.npz"
    np.savez(path, images=np.array([Bomb(sign)], dtype=object))
    fail(2, str(path), "Python objects", arguments=("export", tiny, "--calib", path, "-o", output), watched=place)
    assert not sign.exists()


def test_one_image_is_enough(tiny: str, pictures: Path, output: Path) -> None:
    outcome = succeed("export", tiny, "--calib", pictures / "ant" / "0.png", "-o", output)
    assert "1 calibration image" in outcome.err
    succeed("verify", output)


def test_images_of_one_colour(tiny: str, output: Path, place: Path) -> None:
    """The range of every pixel is zero wide."""
    folder = place / "black"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (16, 16)).save(folder / f"{number}.png")
    succeed("export", tiny, "--calib", folder, "-o", output, "-q")
    succeed("verify", output)


def test_a_branch_that_is_always_zero(models: Path, pictures: Path, output: Path) -> None:
    outcome = succeed("export", f"{models}:dead", "--calib", pictures, "--eval", pictures, "-o", output)
    assert "middle: relu is constant (0)" in outcome.err
    accuracy = json.loads((output / "numerics.json").read_text())["accuracy"]
    assert accuracy["agreement"] == 1.0
    succeed("verify", output)


def test_corrupt_images_among_good_ones(tiny: str, pictures: Path, output: Path, place: Path) -> None:
    folder = Path(shutil.copytree(pictures, place / "mixed"))
    cut(folder / "ant" / "0.png", 0.6)
    (folder / "bee" / "1.png").write_bytes(b"no picture")
    outcome = succeed("export", tiny, "--calib", folder, "-o", output)
    assert "ant/0.png" in outcome.err
    calibration = json.loads((output / "report.json").read_text())["calibration"]
    assert calibration["images"] == 4
    assert {skipped["name"] for skipped in calibration["skipped"]} == {"ant/0.png", "bee/1.png"}


def test_only_corrupt_images(tiny: str, pictures: Path, output: Path, place: Path) -> None:
    folder = Path(shutil.copytree(pictures, place / "bad"))
    for path in folder.rglob("*.png"):
        cut(path, 0.6)
    words = (str(folder), "none of its 6 images can be read", "ant/0.png")
    fail(2, *words, arguments=("export", tiny, "--calib", folder, "-o", output), watched=place)


def test_one_truncated_image(tiny: str, pictures: Path, output: Path, place: Path) -> None:
    path = cut(Path(shutil.copy(pictures / "ant" / "0.png", place)))
    words = (str(path), "none of its 1 image can be read", "damaged")
    fail(2, *words, arguments=("export", tiny, "--calib", path, "-o", output), watched=place)


def test_labels_of_other_classes(tiny: str, pictures: Path, output: Path, place: Path) -> None:
    """CIFAR-10 has ten classes, the small model three."""
    arguments = ("export", tiny, "--calib", pictures, "--eval", "embedded", "--eval-limit", "30", "-o", output)
    fail(3, "evaluation", "for a model of 3 classes", arguments=arguments, watched=place)


# --- options and configuration ---


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--io", "int4"), "uint8 or int8"),
        (("--bits", "9"), "activation_bits"),
        (("--bits", "eight"), "--bits 'eight'"),
        (("--method", "entrpy"), "did you mean 'entropy'"),
        (("--input-size", "0"), "--input-size"),
        (("--mean", "1,2"), "three numbers"),
        (("--std", "1,1,0"), "positive"),
        (("--min-mapped", "101"), "0 to 100"),
        (("--max-drop", "nan"), "points of top-1"),
        (("--min-sqnr", "inf"), "a ratio in dB"),
        (("--calib-limit", "0"), "at least one image"),
        (("--target", "corl"), "did you mean 'coral'"),
        (("--save-config", "nowhere/q.toml"), "choose a folder that exists"),
    ],
)
def test_options_that_make_no_sense(
    options: tuple[str, ...], word: str, tiny: str, pictures: Path, output: Path, place: Path
) -> None:
    fail(2, word, arguments=("export", tiny, "--calib", pictures, "-o", output, *options), watched=place)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ("cannot be read", "--save-config")),
        ('observer = "ms', ("is no TOML",)),
        ('observr = "mse"', ("unknown key 'observr'", "did you mean observer")),
        ("weight_bits = 12", ("weight_bits = 12",)),
        ('[[layers]]\nmatch = "block.fc3"\nobserver = "mse"', ("no layer matches 'block.fc3'", "block.fc1")),
    ],
)
def test_a_configuration_that_cannot_be_used(
    text: str | None, words: tuple[str, ...], tiny: str, pictures: Path, output: Path, place: Path
) -> None:
    path = place / "q.toml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    arguments = ("export", tiny, "--calib", pictures, "--config", path, "-o", output)
    fail(2, *words, arguments=arguments, watched=place)
