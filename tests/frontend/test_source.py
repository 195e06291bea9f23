"""Models by name: Python files, weights files, timm, and what does not name a model."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from edgevit.data.preprocess import IMAGENET_MEAN, Preprocess
from edgevit.errors import EdgevitError, FrontendError, UsageError
from edgevit.frontend import load_model, lower
from tests.frontend.compare import PREPROCESS, SIZE, assert_same
from tests.tools import requires

torch_test = requires("torch")
timm_test = requires("torch", "timm")

PLAIN = """
import torch

class Net(torch.nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, 2, 1)
        self.head = torch.nn.Linear(4, classes)

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))
"""


def write(path: Path, text: str) -> Path:
    path.write_text(PLAIN + text)
    return path


def failure(spec: Any, kind: type[EdgevitError] = FrontendError, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        load_model(spec, **options)
    assert caught.value.hint
    return str(caught.value)


@torch_test
@pytest.mark.parametrize("size", [None, (32, 48)])
def test_class_in_a_file(tmp_path: Path, size: tuple[int, int] | None) -> None:
    loaded = load_model(f"{write(tmp_path / 'net.py', '')}:Net", input_size=size)
    assert loaded.name == "Net"
    assert loaded.preprocess.size == (size or (224, 224))
    assert loaded.preprocess.mean == IMAGENET_MEAN
    assert loaded.num_classes == 3
    assert loaded.classes is None
    graph = lower(loaded)
    assert loaded.module is not None
    assert_same(graph, loaded.module, loaded.preprocess)


@torch_test
def test_function_in_a_file_may_give_its_preprocessing(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("CLASSES = 7\n")
    build = """
from neighbour import CLASSES
from edgevit.data import Preprocess

def build():
    return Net(CLASSES), Preprocess(size=(16, 8), mean=(0, 0, 0), std=(1, 1, 1))
"""
    loaded = load_model(f"{write(tmp_path / 'net.py', build)}:build")
    assert loaded.num_classes == 7
    assert loaded.preprocess.size == (16, 8)
    assert loaded.preprocess.std == (1, 1, 1)
    assert str(tmp_path) not in sys.path
    sys.modules.pop("neighbour")


@torch_test
def test_random_weights_follow_the_seed(tmp_path: Path) -> None:
    import torch

    spec = f"{write(tmp_path / 'net.py', '')}:Net"
    state = torch.random.get_rng_state()
    hashes = [load_model(spec, input_size=SIZE, seed=seed).weights_sha256 for seed in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert torch.equal(torch.random.get_rng_state(), state)


@torch_test
@pytest.mark.parametrize(
    ("text", "attribute", "expected"),
    [
        ("", "build", "'build' is not a callable of that file"),
        ("build = 3", "build", "it defines Net"),
        ("raise ValueError('bad day')", "Net", "importing it raised ValueError: bad day"),
        ("import missing_neighbour", "Net", "ModuleNotFoundError"),
        ("def broken(:", "Net", "SyntaxError"),
        ("raise SystemExit(3)", "Net", "SystemExit"),
        ("def build():\n    return 1 / 0", "build", "build() raised ZeroDivisionError: division by zero at"),
        ("def build():\n    return 'net'", "build", "build() returned str"),
        ("def build(size):\n    return Net()", "build", "missing 1 required positional argument"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, attribute: str, expected: str) -> None:
    path = write(tmp_path / "net.py", text)
    message = failure(f"{path}:{attribute}")
    assert expected in message
    assert str(path) in message


@torch_test
def test_missing_file(tmp_path: Path) -> None:
    assert "no such file" in failure(f"{tmp_path / 'none.py'}:Net")


@torch_test
@pytest.mark.parametrize(
    ("spec", "kind", "expected"),
    [
        ("resnet", UsageError, "no such model"),
        ("net.py", UsageError, "net.py:build_model"),
        ("net.onnx", FrontendError, "torch.export.save"),
        ("weights.safetensors", UsageError, "--weights"),
        ("weights.pth", UsageError, "--weights"),
        ("", UsageError, "no such model"),
        ("timm:", UsageError, "timm:NAME"),
        ("timm:deit_tiny_patch16_224?size=3", UsageError, "pretrained=true"),
    ],
)
def test_what_names_no_model(spec: str, kind: type[EdgevitError], expected: str) -> None:
    assert expected in failure(spec, kind)


@torch_test
def test_weights_from_safetensors_and_torch(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    spec = f"{write(tmp_path / 'net.py', '')}:Net"
    source = load_model(spec, input_size=SIZE, seed=9)
    assert source.module is not None
    state = source.module.state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pth")
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "c.pth")
    for name in ("a.safetensors", "b.pth", "c.pth"):
        loaded = load_model(spec, input_size=SIZE, weights=tmp_path / name)
        assert loaded.weights_sha256 == source.weights_sha256
    assert load_model(spec, input_size=SIZE).weights_sha256 != source.weights_sha256


@torch_test
def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    import torch

    spec = f"{write(tmp_path / 'net.py', '')}:Net"
    torch.save({"conv.weight": torch.zeros(2, 2), "tail.bias": torch.zeros(3)}, tmp_path / "w.pth")
    text = failure(spec, input_size=SIZE, weights=tmp_path / "w.pth")
    assert "3 missing: conv.bias, head.weight, head.bias" in text
    assert "1 unknown: tail.bias" in text
    assert "conv.weight is [2, 2], wanted [4, 3, 3, 3]" in text


class Bomb:
    """Unpickling this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@torch_test
@pytest.mark.parametrize("how", ["pickle", "torch", "inside"])
def test_pickles_are_not_opened(tmp_path: Path, how: str) -> None:
    import torch

    spec, path, bomb = f"{write(tmp_path / 'net.py', '')}:Net", tmp_path / "w.pth", Bomb(tmp_path / "exploded")
    if how == "pickle":
        path.write_bytes(pickle.dumps(bomb))
    else:
        torch.save(bomb if how == "torch" else {"conv.weight": torch.zeros(4), "x": bomb}, path)
    text = failure(spec, input_size=SIZE, weights=path)
    assert "is a pickle, not weights" in text
    assert "safetensors" in text
    assert not (tmp_path / "exploded").exists()


@torch_test
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("keep", [0, 5, 60, 400])
def test_truncated_weights(tmp_path: Path, suffix: str, keep: int) -> None:
    import torch
    from safetensors.torch import save_file

    path = tmp_path / f"w{suffix}"
    tensors = {"conv.weight": torch.zeros(4, 3, 3, 3)}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    path.write_bytes(path.read_bytes()[:keep])
    spec = f"{write(tmp_path / 'net.py', '')}:Net"
    text = failure(spec, input_size=SIZE, weights=path)
    assert str(path) in text


@torch_test
def test_weights_that_are_missing_or_no_tensors(tmp_path: Path) -> None:
    import torch

    spec = f"{write(tmp_path / 'net.py', '')}:Net"
    assert "cannot be read (No such file" in failure(spec, input_size=SIZE, weights=tmp_path / "none.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    assert "something else than tensors" in failure(spec, input_size=SIZE, weights=tmp_path / "list.pth")


@torch_test
def test_program_takes_no_weights_and_no_other_size(tmp_path: Path) -> None:
    program = load_model(f"{write(tmp_path / 'net.py', '')}:Net", input_size=SIZE).program
    assert "has its weights inside" in failure(program, UsageError, weights=tmp_path / "w.pth")
    assert "exported for 8x8 pixels, not 9x9" in failure(program, UsageError, input_size=(9, 9))
    assert load_model(program, preprocess=PREPROCESS).preprocess == PREPROCESS
    assert load_model(program).preprocess == Preprocess(size=SIZE)


@torch_test
def test_embedded_model_knows_its_classes() -> None:
    loaded = load_model("embedded")
    assert loaded.classes is not None
    assert loaded.classes[0] == "airplane"
    assert loaded.preprocess.size == (32, 32)
    assert len(loaded.weights_sha256) == 64


@timm_test
def test_timm_configuration_is_taken() -> None:
    loaded = load_model("timm:deit_tiny_patch16_224")
    assert loaded.preprocess.crop_pct == 0.9
    assert loaded.preprocess.interpolation == "bicubic"
    assert loaded.preprocess.mean == IMAGENET_MEAN
    vit = load_model("timm:vit_tiny_patch16_224")
    assert vit.preprocess.mean == (0.5, 0.5, 0.5)


@timm_test
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "poolformer_s12"])
def test_timm_at_another_size(name: str) -> None:
    loaded = load_model(f"timm:{name}", input_size=(64, 96))
    assert lower(loaded).inputs[0].shape == (1, 64, 96, 3)


@timm_test
def test_timm_does_not_leave_its_settings_behind() -> None:
    from edgevit.frontend.timm_zoo import import_timm

    import_timm()
    import timm.layers.config as config

    before = (config._USE_FUSED_ATTN, config._SCRIPTABLE, config._EXPORTABLE)
    load_model("timm:vit_tiny_patch16_224", input_size=(32, 32))
    assert before == (config._USE_FUSED_ATTN, config._SCRIPTABLE, config._EXPORTABLE)


@timm_test
def test_unknown_timm_model_suggests_others() -> None:
    assert "deit_tiny_patch16_224" in failure("timm:deit_tiny_patch16")


@timm_test
def test_timm_model_that_cannot_be_built() -> None:
    assert "timm could not build it" in failure("timm:swin_tiny_patch4_window7_224", input_size=(-7, 224))


@timm_test
def test_stand_ins_are_gone_after_the_import() -> None:
    import importlib.util

    from edgevit.frontend.timm_zoo import STAND_INS, import_timm, torchvision_stand_ins

    import_timm()
    if importlib.util.find_spec("torchvision") is not None:
        # Where the real one is installed, it is the one that is imported.
        assert all(getattr(sys.modules[name], "__file__", None) for name in STAND_INS if name in sys.modules)
        return
    assert not any(name in sys.modules for name in STAND_INS)
    with torchvision_stand_ins():
        import torchvision
        from torchvision.transforms import functional

        assert torchvision.__spec__ is not None
        assert issubclass(type("Derived", (torchvision.transforms.ToTensor,), {}), object)
        assert functional.InterpolationMode.BICUBIC.value == "bicubic"
    assert not any(name in sys.modules for name in STAND_INS)
