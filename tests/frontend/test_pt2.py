"""Programs from .pt2 files: they come back as they were saved, and a hostile or damaged file does no harm."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevit.errors import FrontendError
from edgevit.frontend import load_model, lower
from edgevit.ir.ops import Linear
from tests.frontend.compare import SIZE, assert_same, decomposed_of, export
from tests.tools import requires

pytestmark = requires("torch")

Edit = Callable[[str, bytes], bytes | None]


def model() -> Any:
    import torch
    from torch import nn

    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, norm_first=True)
    return nn.Sequential(nn.Conv2d(3, 8, 2, 2), nn.Flatten(2), _swap(), encoder, nn.Flatten(), nn.Linear(128, 5)).eval()


def _swap() -> Any:
    import torch

    class Swap(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.transpose(1, 2)

    return Swap()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    import torch

    path = tmp_path / "net.pt2"
    torch.export.save(export(model()), path)
    return path


def rewrite(path: Path, edit: Edit) -> None:
    """Replace members of an archive; None drops one."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            new = edit(name, data)
            if new is not None:
                archive.writestr(name, new)


def edit_json(suffix: str, change: Callable[[Any], None]) -> Edit:
    def edit(name: str, data: bytes) -> bytes:
        if not name.endswith(suffix):
            return data
        value = json.loads(data)
        change(value)
        return json.dumps(value).encode()

    return edit


def failure(path: Path) -> str:
    with pytest.raises(FrontendError) as caught:
        load_model(path)
    assert caught.value.hint
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("decomposed", [False, True])
def test_round_trip(tmp_path: Path, decomposed: bool) -> None:
    import torch

    original = model()
    program = export(original)
    if decomposed:
        program = decomposed_of(program)
    path = tmp_path / "net.pt2"
    torch.export.save(program, path)
    loaded = load_model(path)
    assert loaded.name == "net"
    assert loaded.module is None
    assert loaded.preprocess.size == SIZE
    assert loaded.weights_sha256 == load_model(original, input_size=SIZE).weights_sha256
    graph = lower(loaded)
    assert_same(graph, original, loaded.preprocess)
    assert {"3.linear1", "3.linear2", "5"} <= {op.loc for op in graph.ops if isinstance(op, Linear)}


def test_missing_file(tmp_path: Path) -> None:
    assert "no such file" in failure(tmp_path / "none.pt2")


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9, 0.999])
def test_truncated_file(saved: Path, part: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * part)])
    assert "torch.export.save" in failure(saved)


def test_damaged_weights(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[len(data) // 3] ^= 0xFF
    saved.write_bytes(bytes(data))
    assert "damaged" in failure(saved) or "no readable program" in failure(saved)


def test_other_archive(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello/world.txt", "hello")
    assert "is not an archive of torch.export.save" in failure(path)


def test_dynamic_shape_is_named(tmp_path: Path) -> None:
    import torch

    path, batch = tmp_path / "net.pt2", torch.export.Dim("batch", max=16)
    flat = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten())
    torch.export.save(torch.export.export(flat, (torch.zeros(4, 3, 8, 8),), dynamic_shapes=({0: batch},)), path)
    text = failure(path)
    assert "dynamic in dimension 0 (batch)" in text
    assert "static shapes" in text


class Bomb:
    """Unpickling this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def bomb(path: Path) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save((Bomb(path),), buffer)
    return buffer.getvalue()


def test_pickled_inputs_are_not_opened(saved: Path, tmp_path: Path) -> None:
    rewrite(saved, lambda name, data: bomb(tmp_path / "exploded") if "sample_inputs" in name else data)
    assert "is a pickle of something else than tensors" in failure(saved)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("change", [{"use_pickle": True}, {"path_name": "opaque_obj_0"}, {"path_name": "../weight_0"}])
def test_pickled_weights_are_not_opened(saved: Path, change: dict[str, Any]) -> None:
    rewrite(saved, edit_json("weights_config.json", lambda value: value["config"]["0.weight"].update(change)))
    assert "0.weight is a pickled object" in failure(saved)


def test_legacy_pickled_weights_are_not_opened(saved: Path, tmp_path: Path) -> None:
    def edit(name: str, data: bytes) -> bytes:
        return bomb(tmp_path / "exploded") if name.endswith("weight_0") else data

    rewrite(saved, edit)
    with zipfile.ZipFile(saved) as archive:
        members = {
            name.replace("weights/weight_0", "weights/model.pt"): archive.read(name) for name in archive.namelist()
        }
    with zipfile.ZipFile(saved, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert "is a pickle of something else than tensors" in failure(saved)
    assert not (tmp_path / "exploded").exists()


def test_symbolic_expressions_are_not_evaluated(saved: Path, tmp_path: Path) -> None:
    expression = {"as_expr": {"expr_str": f"__import__('os').mkdir('{tmp_path}/exploded')", "hint": {"as_int": 1}}}

    def change(value: Any) -> None:
        name = value["graph_module"]["graph"]["nodes"][0]["outputs"][0]["as_tensor"]["name"]
        value["graph_module"]["graph"]["tensor_values"][name]["sizes"][0] = expression

    rewrite(saved, edit_json("models/model.json", change))
    assert "dynamic shapes" in failure(saved)
    assert not (tmp_path / "exploded").exists()


def test_foreign_functions_are_refused(saved: Path) -> None:
    def change(value: Any) -> None:
        value["graph_module"]["graph"]["nodes"][0]["target"] = "torch.hub.load"

    rewrite(saved, edit_json("models/model.json", change))
    assert "calls torch.hub.load" in failure(saved)


def test_regions_of_another_mode_are_entered(tmp_path: Path) -> None:
    import torch

    class Careful(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(192, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.autocast("cpu", enabled=False):
                return self.linear(x.flatten(1).float())

    original, path = Careful(), tmp_path / "net.pt2"
    program = export(original)
    assert any("autocast" in str(node.target) for node in program.graph.nodes)
    torch.export.save(program, path)
    loaded = load_model(path)
    assert_same(lower(loaded), original, loaded.preprocess)

    def change(value: Any) -> None:
        nodes = value["graph_module"]["graph"]["nodes"]
        (inner,) = (each["arg"] for node in nodes for each in node["inputs"] if "as_graph" in each["arg"])
        inner["as_graph"]["graph"]["nodes"][0]["target"] = "torch.hub.load"

    rewrite(path, edit_json("models/model.json", change))
    assert "calls torch.hub.load" in failure(path)


def test_native_code_is_refused(saved: Path) -> None:
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("net/data/aotinductor/model/code.so", b"\x7fELF")
    assert "holds native code" in failure(saved)


@pytest.mark.parametrize("missing", ["graph_module", "tensor_values", "input_specs"])
def test_incomplete_program(saved: Path, missing: str) -> None:
    def change(value: Any) -> None:
        for holder in (value, value["graph_module"]["graph"], value["graph_module"]["signature"]):
            holder.pop(missing, None)

    rewrite(saved, edit_json("models/model.json", change))
    assert missing in failure(saved)


def test_program_that_is_no_json(saved: Path) -> None:
    rewrite(saved, lambda name, data: b"{" * 100 if name.endswith("models/model.json") else data)
    assert "is no JSON" in failure(saved)
