"""The programs that made the embedded files: the pictures come out byte by byte, the training learns and resumes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgevit import embedded
from edgevit.data.opening import EMBEDDED_FILES
from edgevit.errors import UsageError
from examples import make_embedded_data
from tests.tools import requires

if TYPE_CHECKING:
    from torch import Generator, Tensor


@pytest.fixture
def tiny_data(tmp_path: Path) -> Path:
    """A data folder whose training and test sets are the 256 calibration pictures."""
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("cifar10-train.npz", "cifar10-test.npz"):
        (folder / name).symlink_to(EMBEDDED_FILES / "calibration.npz")
    return folder


@requires("shared")
def test_the_embedded_pictures_are_reproduced_byte_by_byte(shared_data: Path, tmp_path: Path) -> None:
    make_embedded_data.main(["--data", str(shared_data), "--out", str(tmp_path)])
    for name in ("calibration.npz", "evaluation.npz"):
        assert (tmp_path / name).read_bytes() == (EMBEDDED_FILES / name).read_bytes()


def test_a_balanced_choice_needs_enough_of_each_class() -> None:
    labels = np.array([0] * 10 + [1] * 2)
    chosen = make_embedded_data.balanced(labels, 5, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [3, 2]
    with pytest.raises(ValueError, match="1 of 6 pictures are missing"):
        make_embedded_data.balanced(labels, 6, seed=0)


@requires("torch")
def test_training_learns() -> None:
    """The mean loss of 8 epochs over 256 pictures falls from chance (2.3) or above to clearly below it."""
    import torch

    from examples.train_embedded import Recipe, Training, load_pictures

    images, labels = load_pictures(EMBEDDED_FILES / "calibration.npz", torch.device("cpu"))
    training = Training(Recipe(epochs=8, batch=64, warmup_steps=4), images, labels)
    losses = [float(np.mean(list(training.epoch()))) for _ in range(8)]
    assert losses[0] > 2.2
    assert losses[-1] < losses[0] - 0.1


@requires("torch")
def test_the_program_writes_weights_of_the_embedded_names_and_shapes(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file

    from examples import train_embedded

    out = tmp_path / "out"
    arguments = ["--data", str(tiny_data), "--out", str(out), "--epochs", "1", "--batch", "128", "--threads", "1"]
    train_embedded.main(arguments)
    found, shipped = load_file(out / "weights.safetensors"), load_file(embedded.WEIGHTS)
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in found.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in shipped.items()
    }
    assert sorted(path.name for path in out.iterdir()) == ["checkpoint.safetensors", "weights.safetensors"]
    assert "of 256 test images" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        train_embedded.main([*arguments, "--seed", "1"])
    assert caught.value.code == 2
    assert "belongs to a run with other options" in capsys.readouterr().err


@requires("torch")
def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    import torch

    from edgevit.embedded.model import saved_state
    from examples.train_embedded import Recipe, Training, load_checkpoint, load_pictures, save_checkpoint

    images, labels = load_pictures(EMBEDDED_FILES / "calibration.npz", torch.device("cpu"))
    recipe = Recipe(epochs=2, batch=128, warmup_steps=1)
    whole, interrupted, resumed = (Training(recipe, images, labels) for _ in range(3))
    for _ in range(2):
        list(whole.epoch())
    list(interrupted.epoch())
    save_checkpoint(interrupted, tmp_path / "checkpoint.safetensors")
    load_checkpoint(resumed, tmp_path / "checkpoint.safetensors")
    list(resumed.epoch())
    for model in ("model", "average"):
        first, second = (saved_state(getattr(training, model)) for training in (whole, resumed))
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(whole.model.head.weight, interrupted.model.head.weight)


@requires("torch")
def test_a_damaged_checkpoint_is_a_usage_error(tmp_path: Path) -> None:
    import torch

    from examples.train_embedded import Recipe, Training, load_checkpoint

    images, labels = torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"torn")
    with pytest.raises(UsageError, match="is damaged"):
        load_checkpoint(Training(Recipe(batch=2), images, labels), path)
    with pytest.raises(UsageError, match="2 images do not fill a batch of 3"):
        Training(Recipe(batch=3), images, labels)


@requires("torch")
def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    from examples.train_embedded import Recipe, learning_rate

    recipe = Recipe(learning_rate=1.0, warmup_steps=4)
    rates = [learning_rate(step, 12, recipe) for step in range(13)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[8] == pytest.approx(0.5)
    assert rates[12] == pytest.approx(0.0)


def numbered(count: int) -> Tensor:
    """Pictures (count, 3, 32, 32) in [0, 1] in which every pixel is different."""
    import torch

    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(9))


@requires("torch")
def test_a_shift_moves_the_picture_and_reflects_its_edge() -> None:
    import torch
    from torch.nn.functional import pad

    from examples.augmentation import shift

    pictures = numbered(40)
    moved = shift(pictures, 4, torch.Generator().manual_seed(0))
    corners = set()
    for before, after in zip(pad(pictures, (4,) * 4, mode="reflect"), moved, strict=True):
        windows = {
            (row, column)
            for row in range(9)
            for column in range(9)
            if torch.equal(before[:, row : row + 32, column : column + 32], after)
        }
        assert len(windows) == 1
        corners |= windows
    assert len(corners) > 20


@requires("torch")
def test_a_hole_is_a_square_of_zeros_in_half_of_the_pictures() -> None:
    import torch

    from examples.augmentation import punch_hole

    pictures = numbered(200) + 1
    zeros = (punch_hole(pictures, 12, 0.5, torch.Generator().manual_seed(0)) == 0).all(1)
    assert set(zeros.sum((1, 2)).tolist()) == {0, 144}
    assert 70 <= int(zeros.any(2).any(1).sum()) <= 130
    assert set(zeros.any(1).sum(1).tolist()) == {0, 12}


@requires("torch")
def test_colours_vary_within_their_strength() -> None:
    import torch

    from examples.augmentation import luma, vary_colours

    pictures = numbered(100) * 0.5 + 0.1
    varied = vary_colours(pictures, 0.4, torch.Generator().manual_seed(0))
    assert float(varied.min()) >= 0
    assert float(varied.max()) <= 1
    # Contrast and saturation keep the mean brightness where nothing is clipped.
    ratio = luma(varied).mean((1, 2, 3)) / luma(pictures).mean((1, 2, 3))
    assert 0.59 <= float(ratio.min()) < 0.75
    assert 1.25 < float(ratio.max()) <= 1.41
    assert torch.allclose(vary_colours(pictures, 0.0, torch.Generator()), pictures, atol=1e-6)


@requires("torch")
@pytest.mark.parametrize("name", ["augment", "mirror"])
def test_augmentation_repeats_with_its_generator(name: str) -> None:
    import torch

    from examples import augmentation

    change: Callable[[Tensor, Generator], Tensor] = getattr(augmentation, name)
    pictures = numbered(50)
    first, again, other = (change(pictures, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == pictures.shape
