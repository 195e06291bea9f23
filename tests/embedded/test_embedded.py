"""The embedded model and its pictures: what the package says about them holds."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgevit import embedded
from edgevit.data import ImageSet, from_npz, open_images
from edgevit.data.arrays import read_arrays
from edgevit.data.opening import EMBEDDED_FILES
from edgevit.errors import FrontendError
from tests.tools import SHARED, requires

if TYPE_CHECKING:
    from torch import Tensor

PARAMETERS = 861_818
TOP1_EVALUATION = 0.804
"""Measured with torch 2.13 on the 1,000 pictures of evaluation.npz."""
TOP1_TEST = 0.79425
"""Measured on the 8,000 pictures of cifar10-test.npz; the model's own README says 79.43 %."""


def normalized(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Tensor:
    import torch

    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (embedded.MEAN, embedded.STD))
    return (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std


def top1(images: ImageSet) -> float:
    """Share of pictures that the embedded model classifies as labelled."""
    import torch

    model, right = embedded.load_model(), 0
    with torch.inference_mode():
        for batch in images.batches(250):
            assert batch.labels is not None
            right += int((model(normalized(batch.images)).argmax(1).numpy() == batch.labels).sum())
    return right / len(images)


def reference_definition() -> ModuleType:
    """The definition that the weights were published with."""
    spec = importlib.util.spec_from_file_location("reference_model", SHARED / "models" / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("images", "count", "most"), [(embedded.calibration, 256, 26), (embedded.evaluation, 1000, 100)]
)
def test_sets_are_whole_and_balanced(images: object, count: int, most: int) -> None:
    assert callable(images)
    found = images()
    (batch,) = found.batches(count + 1)
    assert batch.images.shape == (count, 32, 32, 3)
    assert found.skipped == []
    assert found.warnings("calibration") == []
    assert found.classes == embedded.CLASSES
    per_class = np.bincount(batch.labels, minlength=10)
    assert per_class.max() == most
    assert per_class.max() - per_class.min() <= 1


def test_no_picture_is_in_both_sets() -> None:
    def files(name: str) -> set[bytes]:
        arrays = read_arrays(EMBEDDED_FILES / name, ["jpeg", "offsets"])
        jpeg, offsets = arrays["jpeg"].tobytes(), arrays["offsets"].tolist()
        return {jpeg[start:end] for start, end in itertools.pairwise(offsets)}

    calibration, evaluation = files("calibration.npz"), files("evaluation.npz")
    assert (len(calibration), len(evaluation)) == (256, 1000)
    assert not calibration & evaluation


@pytest.mark.parametrize(("name", "count"), [("calibration.npz", 256), ("evaluation.npz", 1000)])
def test_files_stay_small(name: str, count: int) -> None:
    assert (EMBEDDED_FILES / name).stat().st_size <= 1000 * count


def test_the_specification_names_both_sets() -> None:
    size = embedded.PREPROCESS.size
    evaluation = open_images("embedded", size=size, purpose="evaluation")
    assert (len(open_images("embedded", size=size)), len(evaluation)) == (256, 1000)
    assert evaluation.sha256() == embedded.evaluation().sha256()
    assert len(open_images("embedded", size=(64, 64), limit=32)) == 32


def test_importing_the_package_imports_no_torch() -> None:
    program = "import sys, edgevit.embedded; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@requires("torch")
def test_the_model_has_the_parameters_of_its_description() -> None:
    model = embedded.load_model()
    assert not model.training
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS


@requires("torch")
def test_top1_on_the_embedded_pictures() -> None:
    assert top1(embedded.evaluation()) == pytest.approx(TOP1_EVALUATION, abs=0.002)


@requires("torch", "shared")
def test_top1_on_all_test_pictures(shared_data: Path) -> None:
    assert top1(from_npz(shared_data / "cifar10-test.npz")) == pytest.approx(TOP1_TEST, abs=0.0005)


@requires("torch", "shared")
def test_the_model_is_the_published_definition() -> None:
    import torch
    from safetensors.torch import load_file

    published = reference_definition()
    reference = published.ViT().eval()
    reference.load_state_dict(load_file(SHARED / "models" / "vit_cifar10.safetensors"), strict=False)
    batch = next(embedded.evaluation().batches(64))
    with torch.inference_mode():
        ours, theirs = (model(normalized(batch.images)) for model in (embedded.load_model(), reference))
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-5)
    assert (published.MEAN, published.STD, published.CLASSES) == (embedded.MEAN, embedded.STD, embedded.CLASSES)


@requires("torch")
@pytest.mark.parametrize("damage", ["missing", "truncated", "pickle", "renamed", "reshaped", "retyped"])
def test_other_weights_are_refused(tmp_path: Path, damage: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    from edgevit.embedded.model import SmallViT, load_weights

    path = tmp_path / "weights.safetensors"
    tensors = load_file(embedded.WEIGHTS)
    if damage == "truncated":
        shutil.copy(embedded.WEIGHTS, path)
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage == "pickle":
        torch.save(tensors, path)
    elif damage != "missing":
        bias = tensors.pop("head.bias")
        changed = {"renamed": ("head.offset", bias), "reshaped": ("head.bias", bias[:9].clone())}
        name, tensor = changed.get(damage, ("head.bias", bias.half()))
        save_file({**tensors, name: tensor}, path)
    with pytest.raises(FrontendError, match=r"weights\.safetensors: ") as caught:
        load_weights(SmallViT(), path)
    assert caught.value.exit_code == 3
    assert caught.value.hint
